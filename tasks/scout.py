"""What M_j gets right sometimes, among what could enter D_{j+1}."""

from collections.abc import Sequence

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.records import Sample, Split
from looptool.scout import choose_candidates, scout_parts
from tasks.policies import stage_task
from tasks.policy import open_policy
from tasks.progress import Progress, logger
from tasks.scope import Input, Scope, Stage


@stage_task("scout")
def scout(
    scope: Scope,
    policy: CheckpointRef,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef],
    expansions: ArtifactRef,
) -> ArtifactRef:
    """Draw answers of M_j to validated expansions and unused seeds, part by part; table `rollouts`."""
    inputs: dict[str, Input] = {
        "policy": policy,
        "pool": pool,
        "history": history,
        "expansions": expansions,
    }
    stage = Stage("scout", scope, inputs)
    if done := stage.committed():
        return done
    config = scope.config
    candidates = find_candidates(stage, pool, history, expansions)
    with Progress("scout", scope.iteration, "samples") as progress:
        _, report = scout_parts(
            candidates,
            config.scout,
            config.train,
            stage.writer,
            lambda: open_policy(scope, policy),
            random_seed=config.random_seed + scope.iteration,
            on_progress=progress,
        )
    for name, found in (("expansions", report.expansions), ("unused seeds", report.new_seeds)):
        logger().info("%d of %d %s carry signal", found.mixed, found.asked, name)
    return stage.commit({"report": report, "per_second": report.samples_per_s})


def find_candidates(
    stage: Stage, pool: ArtifactRef, history: Sequence[ArtifactRef], expansions: ArtifactRef
) -> list[Sample]:
    """What is to be scouted: of the expansions, and of the seeds that no dataset has used yet."""
    config, store = stage.scope.config, stage.store
    used = {s.sample_id for ref in history for s in store.read(ref, "samples", Sample)}
    unused = [
        sample
        for sample in store.read(pool, "samples", Sample)
        if sample.split is Split.TRAIN and sample.sample_id not in used
    ]
    return choose_candidates(
        store.read(expansions, "samples", Sample),
        unused,
        config.scout,
        config.merge.dataset_size,
        random_seed=config.random_seed,
        iteration=stage.scope.iteration,
    )
