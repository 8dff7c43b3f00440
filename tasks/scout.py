"""What M_j gets right sometimes, among what could enter D_{j+1}."""

from collections.abc import Sequence

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.records import Sample, Split
from looptool.scout import Candidates, choose_candidates, scout_parts
from tasks.policies import stage_task
from tasks.policy import open_policy
from tasks.progress import Progress, logger
from tasks.scope import Input, Scope, Stage

WAITING = "waiting"
"""Table of a merge with the samples that found no place in its dataset."""


@stage_task("scout")
def scout(
    scope: Scope,
    policy: CheckpointRef,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef],
    expansions: ArtifactRef,
) -> ArtifactRef:
    """Draw answers of M_j to what could enter D_{j+1}, part by part; table `rollouts`.

    That are validated expansions, what has been waiting beside D_j (the last of `history`), and seeds
    that no dataset has used.
    """
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
    with Progress("scout", scope.iteration, "samples") as progress:
        _, report = scout_parts(
            find_candidates(stage, pool, history, expansions),
            config.scout,
            config.train,
            stage.writer,
            lambda: open_policy(scope, policy),
            random_seed=config.random_seed + scope.iteration,
            at_once=config.policy.at_once,
            on_progress=progress,
        )
    for name in ("expansions", "waiting", "new_seeds"):
        found = getattr(report, name)
        logger().info("%s: %d of %d carry signal", name, found.mixed, found.asked)
    return stage.commit({"report": report, "per_second": report.samples_per_s})


def find_candidates(
    stage: Stage, pool: ArtifactRef, history: Sequence[ArtifactRef], expansions: ArtifactRef
) -> Candidates:
    """What is to be scouted."""
    config, store, last = stage.scope.config, stage.store, history[-1]
    used = {s.sample_id for ref in history for s in store.read(ref, "samples", Sample)}
    offered = Candidates(
        expansions=store.read(expansions, "samples", Sample),
        waiting=store.read(last, WAITING, Sample) if WAITING in last.rows else (),
        new_seeds=[
            sample
            for sample in store.read(pool, "samples", Sample)
            if sample.split is Split.TRAIN and sample.sample_id not in used
        ],
    )
    return choose_candidates(
        offered,
        config.scout,
        config.merge.dataset_size,
        random_seed=config.random_seed,
        iteration=stage.scope.iteration,
    )
