"""Tools in, dialogues out."""

import time

from looptool.artifacts import ArtifactRef
from looptool.records import Sample, Split, ToolSpec
from looptool.seed import collect_tools, simulate_dialogues, split_tools
from tasks.policies import stage_task
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage, run_async
from tasks.teacher import open_teacher


@stage_task("tools")
def collect(scope: Scope) -> ArtifactRef:
    """Import the tools of every source; tables `tools` and `rejections`."""
    stage = Stage("tools", scope, {})
    if done := stage.committed():
        return done
    found = collect_tools(scope.config.seed.sources)
    logger().info("%d tools, %d rejected", len(found.tools), len(found.rejections))
    stage.writer.write("tools", "tools", found.tools)
    stage.writer.write("rejections", "rejections", found.rejections)
    return stage.commit({"tools": len(found.tools), "rejected": len(found.rejections)})


@stage_task("seed")
def seed(scope: Scope, tools: ArtifactRef) -> ArtifactRef:
    """Simulate dialogues and cut them into samples; tables `samples` and `rejections`."""
    stage = Stage("seed", scope, {"tools": tools})
    if done := stage.committed():
        return done
    return run_async(_seed(stage, scope, stage.store.read(tools, "tools", ToolSpec)))


async def _seed(stage: Stage, scope: Scope, tools: list[ToolSpec]) -> ArtifactRef:
    config = scope.config.seed
    seen, unseen = split_tools(tools, config.unseen_tool_rate, scope.config.random_seed)
    plan = {
        Split.TRAIN: (seen, config.train_samples, ""),
        Split.HELDOUT_SEEN: (seen, config.heldout_samples, config.heldout_model),
        Split.HELDOUT_UNSEEN: (unseen, config.heldout_unseen_samples, config.heldout_model),
    }
    total = sum(target for _, target, _ in plan.values())
    began = time.monotonic()
    samples: list[Sample] = []
    stats: dict[str, object] = {"tools_seen": len(seen), "tools_unseen": len(unseen)}
    async with open_teacher(scope) as teacher:
        with Progress("seed", scope.iteration, "samples") as progress:
            for number, (split, (some, target, model)) in enumerate(plan.items()):
                if target == 0 or not some:
                    continue
                before = len(samples)

                def show(done: int, before: int = before) -> None:
                    progress(before + done, total)

                made = await simulate_dialogues(
                    config,
                    some,
                    teacher,
                    split=split,
                    target_samples=target,
                    random_seed=scope.config.random_seed,
                    model=model,
                    on_progress=show,
                )
                samples += made.samples
                stats[split] = made.report
                stage.writer.write("rejections", "rejections", made.rejections, number)
        stats["teacher"] = teacher.usage_report()
    stage.writer.write("samples", "samples", samples)
    rate = len(samples) / max(1e-9, time.monotonic() - began)
    return stage.commit(stats | {"per_second": rate})
