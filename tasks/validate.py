"""The two checks, in the seed phase and for everything that grows later."""

import time

from looptool.artifacts import ArtifactRef
from looptool.records import JsonObject, Sample
from looptool.validate import ValidationOutcome, validate_samples
from tasks.policies import stage_task
from tasks.progress import logger
from tasks.scope import Scope, Stage, run_async
from tasks.teacher import open_teacher


@stage_task("validate")
def validate(scope: Scope, candidates: ArtifactRef) -> ArtifactRef:
    """Check samples by rules and by review; tables `samples` and `rejections`."""
    stage = Stage("validate", scope, {"candidates": candidates})
    if done := stage.committed():
        return done
    samples = stage.store.read(candidates, "samples", Sample)
    began = time.monotonic()
    outcome, usage = run_async(_check(scope, samples))
    stage.writer.write("samples", "samples", outcome.kept)
    stage.writer.write("rejections", "rejections", outcome.rejected)
    logger().info("%d of %d samples accepted", len(outcome.kept), len(samples))
    rate = len(samples) / max(1e-9, time.monotonic() - began)
    return stage.commit({"report": outcome.report, "teacher": usage, "per_second": rate})


async def _check(scope: Scope, samples: list[Sample]) -> tuple[ValidationOutcome, JsonObject]:
    async with open_teacher(scope) as teacher:
        outcome = await validate_samples(
            samples,
            scope.config.validate_,
            teacher,
            stage="validate" if scope.iteration == 0 else f"validate-{scope.iteration}",
        )
        return outcome, teacher.usage_report()
