"""The two checks, in the seed phase and for everything that grows later."""

import time
from collections.abc import Mapping, Sequence
from functools import partial

from looptool.artifacts import ArtifactRef
from looptool.config import ValidateConfig
from looptool.records import Rejection, Sample
from looptool.validate import Violation, cut_parts, find_violations, review_part, summarise
from looptool.validate.review import group_conversations
from tasks.parts import AT_ONCE, Parts, Tables, make_parts
from tasks.policies import stage_task
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage, run_async
from tasks.teacher import open_teacher

Found = Mapping[int, list[Violation]]


@stage_task("validate")
def validate(scope: Scope, candidates: ArtifactRef) -> ArtifactRef:
    """Check samples by rules and by review; tables `samples` and `rejections`.

    In parts of half of `validate.shard_size` dialogues, of which two are under way: that is what a
    killed run repeats. Candidates whose manifest says `reviewed` are checked by the rules alone, and
    against each other.
    """
    stage = Stage("validate", scope, {"candidates": candidates})
    if done := stage.committed():
        return done
    samples = stage.store.read(candidates, "samples", Sample)
    config = scope.config.validate_
    if stage.store.manifest_of(candidates).stats.get("reviewed"):
        config = config.model_copy(update={"review": False})
    began = time.monotonic()
    found = find_violations(samples, config)
    parts = run_async(_review(stage, scope, samples, found, config))
    kept, rejected = parts.rows("samples", Sample), parts.rows("rejections", Rejection)
    logger().info("%d of %d samples accepted", len(kept), len(samples))
    left = [sample for number, sample in enumerate(samples) if number not in found]
    asked = len(group_conversations(left)[0]) if config.review else 0
    report = summarise(kept, rejected, asked)
    checked = len(samples) * parts.fresh / max(1, len(parts.tables))
    return stage.commit(
        {
            "report": report,
            "rejected": report.by_rule,
            "failures": parts.failures(),
            "teacher": parts.usage,
            "per_second": checked / max(1e-9, time.monotonic() - began),
        }
    )


async def _review(
    stage: Stage, scope: Scope, samples: Sequence[Sample], found: Found, config: ValidateConfig
) -> Parts:
    ranges = cut_parts(samples, max(1, config.shard_size // AT_ONCE))
    async with open_teacher(scope) as teacher:
        with Progress("validate", scope.iteration, "samples") as progress:
            kept, checked = 0, 0

            def show(rows: Tables) -> None:
                nonlocal kept, checked
                kept += len(rows["samples"])
                checked += sum(map(len, rows.values()))
                cost = teacher.total().cost_usd
                progress(checked, len(samples), accepted=kept, cost_usd=cost or None)

            async def review(places: range) -> Tables:
                outcome = await review_part(
                    [samples[number] for number in places],
                    {number - places.start: found[number] for number in places if number in found},
                    config,
                    teacher,
                    stage="validate" if scope.iteration == 0 else f"validate-{scope.iteration}",
                    proven=scope.round > 1 or scope.iteration > 0,
                )
                rows: Tables = {"samples": outcome.kept, "rejections": outcome.rejected}
                show(rows)
                return rows

            return await make_parts(
                stage,
                {"samples": Sample, "rejections": Rejection},
                [partial(review, places) for places in ranges],
                teacher,
                show,
            )
