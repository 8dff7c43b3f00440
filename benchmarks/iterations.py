"""Iteration records by hand, for campaigns that tests and benchmarks write without running them."""

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.campaign import IterationRecord, Standing
from looptool.records import JsonObject, Promotion


def make_record(
    number: int,
    *,
    dataset: ArtifactRef,
    merged: ArtifactRef,
    checkpoint: CheckpointRef,
    scores: ArtifactRef,
    verdicts: ArtifactRef,
    before: IterationRecord | None = None,
    start: Standing | None = None,
    promoted: bool = True,
    summary: JsonObject | None = None,
) -> IterationRecord:
    """The record of an iteration that follows `before`, or of the first one.

    It starts from `start`; by default from the best policy of `before`, and the first one from its own.
    """
    trained = Standing(iteration=number, checkpoint=checkpoint, scores=scores)
    started = start or (before.best if before else trained)
    return IterationRecord(
        iteration=number,
        previous=before.state if before else "",
        start=started,
        dataset=dataset,
        checkpoint=checkpoint,
        next_dataset=merged,
        scores=scores,
        promotion=Promotion(promoted=promoted, against=number - 1, changes=(), reason=""),
        best=trained if promoted else started,
        verdicts=verdicts,
        finished_at="2026-01-01T00:00:00+00:00",
        summary=summary or {},
    )
