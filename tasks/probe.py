"""GCP: what M_j can and cannot do."""

import time

from looptool.artifacts import ArtifactRef, CheckpointRef, shards
from looptool.probe import probe_samples, summarise_probes
from looptool.records import ProbeResult, RolloutStat, Sample
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
    results: list[ProbeResult] = []
    began, fresh = time.monotonic(), 0
    with Progress("probe", scope.iteration, "samples") as progress:

        def show(done: int, total: int) -> None:
            progress(len(results) + done, len(samples))

        for number, rows in shards(samples, scope.config.probe.shard_size):
            found = stage.writer.load_part("probes", "probes", number, ProbeResult)
            if found is None:
                with open_policy(scope, policy) as engine:
                    found, _ = probe_samples(
                        rows,
                        scope.config.probe,
                        engine,
                        rollouts=rollouts,
                        on_progress=show,
                    )
                fresh += len(found)
                stage.writer.write("probes", "probes", found, number)
            results += found
    report = summarise_probes(results, time.monotonic() - began, fresh)
    logger().info("%d matched, %d mismatched", report.matched, report.mismatched)
    return stage.commit(
        {"report": report, "mismatched": report.mismatched, "per_second": report.samples_per_s}
    )
