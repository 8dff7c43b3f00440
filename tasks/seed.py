"""Tools in, dialogues out."""

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from looptool.artifacts import ArtifactRef, shards
from looptool.records import Cast, JsonObject, Play, Rejection, Sample, ToolSpec
from looptool.seed import Duplicate, Simulation, ToolCollection, collect_tools, split_sides
from looptool.seed.backends import open_servers
from looptool.seed.normalise import make_names_unique
from looptool.seed.synthetic import SyntheticOutcome, synthesise_tools
from tasks.parts import AT_ONCE, Parts, Tables, make_parts
from tasks.policies import stage_task
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage, run_async
from tasks.teacher import open_teacher


@stage_task("tools")
def collect(scope: Scope) -> ArtifactRef:
    """Import the tools of every source and make the synthetic ones; tables `tools`, `rejections`."""
    stage = Stage("tools", scope, {})
    if done := stage.committed():
        return done
    config = scope.config.seed
    alone = config.synthetic.count and not config.sources
    found = ToolCollection((), ()) if alone else collect_tools(config.sources)
    tools, rejections = list(found.tools), list(found.rejections)
    rejections += map(_reject_duplicate, found.duplicates)
    stats: dict[str, Any] = {"duplicates": len(found.duplicates)}
    if config.synthetic.count:
        made, usage = run_async(_synthesise(scope, tools))
        tools = list(make_names_unique([*tools, *made.tools]))
        rejections += made.rejections
        stats |= {"synthetic": made.report, "teacher": usage}
    logger().info("%d tools, %d rejected", len(tools), len(rejections))
    stage.writer.write("tools", "tools", tools)
    stage.writer.write("rejections", "rejections", rejections)
    return stage.commit({"tools": len(tools), "rejected": len(rejections)} | stats)


def _reject_duplicate(twin: Duplicate) -> Rejection:
    return Rejection(
        stage="tools",
        row_id=twin.dropped.name,
        rule="duplicate_tool",
        detail=f"same {twin.why} as {twin.kept.name} of {twin.kept.source}",
        row=twin.dropped.model_dump(mode="json"),
    )


async def _synthesise(
    scope: Scope, existing: Sequence[ToolSpec]
) -> tuple[SyntheticOutcome, JsonObject]:
    config = scope.config.seed.synthetic
    async with open_teacher(scope) as teacher:
        made = await synthesise_tools(
            config,
            teacher,
            count=config.count,
            random_seed=scope.config.random_seed,
            existing=existing,
        )
        return made, teacher.usage_report()


@stage_task("seed")
def seed(scope: Scope, tools: ArtifactRef, plan: ArtifactRef) -> ArtifactRef:
    """Play the dialogues of a plan and cut them into samples.

    Tables `samples`, `plays` (one row per dialogue) and `rejections`, in parts of half of
    `seed.shard_size` dialogues, of which two are under way: that is what a killed run repeats.
    """
    stage = Stage("seed", scope, {"tools": tools, "plan": plan})
    if done := stage.committed():
        return done
    specs = stage.store.read(tools, "tools", ToolSpec)
    casts = stage.store.read(plan, "casts", Cast)
    began = time.monotonic()
    parts = run_async(_play(stage, scope, specs, casts))
    stats = _count(parts)
    logger().info(
        "%d samples from %d dialogues, %d without any",
        stats["samples"],
        stats["dialogues"],
        sum(stats["rejected"].values()),
    )
    played = len(casts) * parts.fresh / max(1, len(parts.tables))
    return stage.commit(stats | {"per_second": played / max(1e-9, time.monotonic() - began)})


async def _play(
    stage: Stage, scope: Scope, specs: Sequence[ToolSpec], casts: Sequence[Cast]
) -> Parts:
    config, random_seed = scope.config.seed, scope.config.random_seed
    wanted = {cast.split for cast in casts}
    sides = split_sides(specs, config.unseen_tool_rate, random_seed)
    batches = [some for _, some in shards(casts, max(1, config.shard_size // AT_ONCE))]
    async with open_teacher(scope) as teacher, open_servers(config) as servers:
        with Progress("seed", scope.iteration, "dialogues") as progress:
            ended = 0

            def show(more: int) -> None:
                nonlocal ended
                ended += more
                cost = teacher.total().cost_usd
                progress(ended, len(casts), cost_usd=cost or None)

            simulation = Simulation(
                config,
                {split: some for split, some in sides.items() if split in wanted},
                teacher,
                random_seed=random_seed,
                servers=servers,
                # A later round is planned only after the endpoint has answered in an earlier one.
                proven=len(casts) if scope.round > 1 else 0,
                on_played=show,
            )

            async def play(some: Sequence[Cast]) -> Tables:
                made = await simulation.play(some)
                return {
                    "samples": made.samples,
                    "plays": made.plays,
                    "rejections": made.rejections,
                }

            return await make_parts(
                stage,
                {"samples": Sample, "plays": Play, "rejections": Rejection},
                [partial(play, some) for some in batches],
                teacher,
                lambda rows: show(len(rows["plays"])),
            )


def _count(parts: Parts) -> dict[str, Any]:
    """The figures of the manifest."""
    plays = parts.rows("plays", Play)
    samples = parts.rows("samples", Sample)
    return {
        "dialogues": len(plays),
        "samples": len(samples),
        "rejected": dict(sorted(Counter(play.rule for play in plays if play.rule).items())),
        "marked_turns": sum(play.marked_turns for play in plays),
        "by_kind": dict(sorted(Counter(sample.kind.value for sample in samples).items())),
        "failures": parts.failures(),
        "teacher": parts.usage,
    }
