"""Held-out accuracy of a checkpoint."""

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.evaluate import evaluate_heldout
from looptool.records import Sample, Split
from tasks.policies import stage_task
from tasks.policy import open_policy
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage


@stage_task("evaluate")
def evaluate(scope: Scope, policy: CheckpointRef, pool: ArtifactRef) -> ArtifactRef:
    """Score M_j on the held-out samples of the pool; tables `scores` and `probes`."""
    stage = Stage("evaluate", scope, {"policy": policy, "pool": pool})
    if done := stage.committed():
        return done
    samples = [s for s in stage.store.read(pool, "samples", Sample) if s.split is not Split.TRAIN]
    with (
        open_policy(scope, policy) as engine,
        Progress("evaluate", scope.iteration, "samples") as progress,
    ):
        scores, results, report = evaluate_heldout(
            samples,
            scope.config.evaluate,
            engine,
            iteration=scope.iteration,
            on_progress=progress,
        )
    stage.writer.write("scores", "scores", scores)
    stage.writer.write("probes", "probes", results)
    for score in scores:
        if score.slice in ("seen", "unseen"):
            logger().info("%s tools: %.1f%% of %d", score.slice, 100 * score.accuracy, score.n)
    return stage.commit({"report": report, "per_second": report.samples_per_s})
