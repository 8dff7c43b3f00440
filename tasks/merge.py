"""The first dataset and the next one."""

from collections import Counter
from collections.abc import Sequence

from looptool.artifacts import ArtifactRef
from looptool.merge import (
    MergeInputs,
    MergeOutcome,
    merge_round,
    unused,
)
from looptool.merge import (
    first_dataset as draw_first,
)
from looptool.records import Judgement, ProbeResult, Sample, Split
from tasks.policies import stage_task
from tasks.progress import logger
from tasks.scope import Input, Scope, Stage


@stage_task("dataset")
def first_dataset(scope: Scope, pool: ArtifactRef) -> ArtifactRef:
    """D_1: seeds drawn from the validated pool; table `samples`."""
    stage = Stage("dataset", scope, {"pool": pool})
    if done := stage.committed():
        return done
    seeds, heldout = read_pool(stage, pool)
    merging, random_seed = scope.config.merge, scope.config.random_seed
    return _commit(stage, draw_first(seeds, merging, random_seed, heldout))


@stage_task("merge")
def merge(
    scope: Scope,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef],
    probes: ArtifactRef,
    verdicts: ArtifactRef,
    expansions: ArtifactRef,
) -> ArtifactRef:
    """D_{j+1} from D_j (the last of `history`) and what was found out about it."""
    inputs: dict[str, Input] = {
        "pool": pool,
        "history": history,
        "probes": probes,
        "verdicts": verdicts,
        "expansions": expansions,
    }
    stage = Stage("merge", scope, inputs)
    if done := stage.committed():
        return done
    store = stage.store
    seeds, heldout = read_pool(stage, pool)
    earlier = [store.read(ref, "samples", Sample) for ref in history]
    used = {sample.sample_id for dataset in earlier for sample in dataset}
    outcome = merge_round(
        MergeInputs(
            pool=unused(seeds, used),
            current=earlier[-1],
            probes=store.read(probes, "probes", ProbeResult),
            judgements=store.read(verdicts, "judgements", Judgement),
            expansions=store.read(expansions, "samples", Sample),
            heldout=heldout,
            iteration=scope.iteration,
        ),
        scope.config.merge,
        scope.config.random_seed,
    )
    return _commit(stage, outcome)


def read_pool(stage: Stage, pool: ArtifactRef) -> tuple[list[Sample], list[Sample]]:
    """The validated seeds, and the held-out samples that no dataset may hold."""
    samples = stage.store.read(pool, "samples", Sample)
    return (
        [sample for sample in samples if sample.split is Split.TRAIN],
        [sample for sample in samples if sample.split is not Split.TRAIN],
    )


def _commit(stage: Stage, outcome: MergeOutcome) -> ArtifactRef:
    stage.writer.write("samples", "samples", outcome.dataset)
    stage.writer.write("fates", "fates", outcome.fates)
    origins = Counter(sample.origin.value for sample in outcome.dataset)
    kinds = Counter(sample.kind.value for sample in outcome.dataset)
    logger().info("%d samples: %s", len(outcome.dataset), dict(origins))
    return stage.commit(
        {"by_origin": dict(origins), "by_kind": dict(kinds), "report": outcome.report}
    )
