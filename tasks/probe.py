"""GCP: what M_j can and cannot do."""

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.probe import probe_parts
from looptool.records import RolloutStat, Sample
from tasks.policies import stage_task
from tasks.policy import open_policy
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage


@stage_task("probe")
def probe(
    scope: Scope, policy: CheckpointRef, dataset: ArtifactRef, trained: ArtifactRef
) -> ArtifactRef:
    """Probe M_j on every sample of D_j, part by part; table `probes`."""
    stage = Stage("probe", scope, {"policy": policy, "dataset": dataset, "trained": trained})
    if done := stage.committed():
        return done
    samples = stage.store.read(dataset, "samples", Sample)
    rollouts = stage.store.read(trained, "rollouts", RolloutStat)
    with Progress("probe", scope.iteration, "samples") as progress:
        _, report = probe_parts(
            samples,
            scope.config.probe,
            stage.writer,
            lambda: open_policy(scope, policy),
            rollouts=rollouts,
            on_progress=progress,
        )
    logger().info("%d matched, %d mismatched", report.matched, report.mismatched)
    return stage.commit(
        {"report": report, "mismatched": report.mismatched, "per_second": report.samples_per_s}
    )
