"""GCP: what M_j can and cannot do, and what it has forgotten."""

from collections.abc import Sequence

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.probe import draw_retired, probe_parts, reprobe
from looptool.records import RolloutStat, Sample
from looptool.schema import Fate
from tasks.policies import stage_task
from tasks.policy import open_policy
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage


@stage_task("probe")
def probe(
    scope: Scope, policy: CheckpointRef, history: Sequence[ArtifactRef], trained: ArtifactRef
) -> ArtifactRef:
    """Probe M_j on every sample of D_j (the last of `history`), part by part; table `probes`.

    Table `reprobes`: a sample of what was mastered and dropped in earlier rounds.
    """
    stage = Stage("probe", scope, {"policy": policy, "history": history, "trained": trained})
    if done := stage.committed():
        return done
    config, store = scope.config.probe, stage.store
    datasets = [store.read(ref, "samples", Sample) for ref in history]
    with Progress("probe", scope.iteration, "samples") as progress:
        _, report = probe_parts(
            datasets[-1],
            config,
            stage.writer,
            lambda: open_policy(scope, policy),
            rollouts=store.read(trained, "rollouts", RolloutStat),
            on_progress=progress,
        )
    retired = draw_retired(
        datasets,
        [store.read(ref, "fates", Fate) for ref in history[1:]],
        config.reprobe_samples,
        random_seed=scope.config.random_seed,
        iteration=scope.iteration,
    )
    _, memory = reprobe(retired, config, stage.writer, lambda: open_policy(scope, policy))
    logger().info("%d matched, %d mismatched", report.matched, report.mismatched)
    logger().info("%d of %d retired samples are forgotten", memory.forgotten, memory.asked)
    return stage.commit(
        {
            "report": report,
            "mismatched": report.mismatched,
            "reprobes": memory,
            "per_second": report.samples_per_s,
        }
    )
