"""The first dataset and the next one."""

from collections.abc import Sequence
from pathlib import Path

from looptool.artifacts import ArtifactRef
from looptool.decontaminate import BenchmarkIndex, load_index
from looptool.merge import (
    NOTHING_RETRACTED,
    Merged,
    MergeReport,
    MergeSources,
    Source,
    heldout_rows,
    merge_sources,
    nothing,
    training_rows,
)
from looptool.records import Retracted
from looptool.schema import Fate
from tasks.policies import stage_task
from tasks.progress import logger
from tasks.scope import Input, Scope, Stage
from tasks.scout import WAITING

RETRACTED_PART = 99999
"""Number of the part of `fates` that is about retracted samples; there is none without them."""


@stage_task("dataset")
def first_dataset(
    scope: Scope, pool: ArtifactRef, retracted: Retracted = NOTHING_RETRACTED
) -> ArtifactRef:
    """D_1: seeds drawn from the validated pool; tables `samples`, `fates`, `contaminated`."""
    stage = Stage("dataset", scope, {"pool": pool, "retracted": retracted})
    if done := stage.committed():
        return done
    seeds = _source(stage, pool, "samples")
    sources = MergeSources(
        pool=training_rows(seeds),
        current=nothing("samples"),
        probes=nothing("probes"),
        judgements=nothing("judgements"),
        expansions=nothing("samples"),
        heldout=heldout_rows(seeds),
        iteration=0,
        retracted=retracted,
    )
    return _write(stage, sources, {"pool": [pool]})


@stage_task("merge")
def merge(
    scope: Scope,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef],
    probes: ArtifactRef,
    verdicts: ArtifactRef,
    expansions: ArtifactRef,
    scouted: ArtifactRef | None = None,
    retracted: Retracted = NOTHING_RETRACTED,
) -> ArtifactRef:
    """D_{j+1} from D_j (the last of `history`) and what was found out about it.

    Tables as those of the first dataset, and `waiting`.
    """
    inputs: dict[str, Input] = {
        "pool": pool,
        "history": history,
        "probes": probes,
        "verdicts": verdicts,
        "expansions": expansions,
        "retracted": retracted,
    }
    if scouted is not None:
        inputs["scouted"] = scouted
    stage = Stage("merge", scope, inputs)
    if done := stage.committed():
        return done
    seeds = _source(stage, pool, "samples")
    earlier = [_source(stage, ref, "samples") for ref in history]
    sources = MergeSources(
        pool=training_rows(seeds),
        current=earlier[-1],
        probes=_source(stage, probes, "probes"),
        judgements=_source(stage, verdicts, "judgements"),
        expansions=_source(stage, expansions, "samples"),
        heldout=heldout_rows(seeds),
        iteration=scope.iteration,
        earlier=earlier[:-1],
        waiting=_source(stage, history[-1], "samples", WAITING),
        scouted=nothing("rollouts") if scouted is None else _source(stage, scouted, "rollouts"),
        retracted=retracted,
    )
    parents = {
        "pool": [pool],
        "datasets": list(history),
        "probes": [probes],
        "verdicts": [verdicts],
        "expansions": [expansions],
        "scouted": [] if scouted is None else [scouted],
    }
    return _write(stage, sources, parents)


def _source(stage: Stage, ref: ArtifactRef, kind: str, table: str = "") -> Source:
    """A table of an artifact, named like its kind if not otherwise; one that is not there is empty."""
    name = table or kind
    if name == WAITING and name not in ref.rows:
        return nothing(kind)
    return Source(kind, lambda: stage.store.scan(ref, name))


def _write(
    stage: Stage, sources: MergeSources, parents: dict[str, list[ArtifactRef]]
) -> ArtifactRef:
    config = stage.scope.config
    indexes = _load_indexes(config.merge.decontaminate)
    with merge_sources(sources, config.merge, config.random_seed, indexes) as merged:
        _log(merged.report)
        _write_tables(stage, merged)
    if fates := _retracted_fates(sources):
        stage.writer.write("fates", "fates", fates, RETRACTED_PART)
    return stage.commit(
        {
            "by_origin": merged.report.by_origin,
            "by_kind": merged.report.by_kind,
            "report": merged.report,
            "parents": {name: [ref.uri for ref in refs] for name, refs in parents.items()},
            "retracted": sources.retracted,
        }
    )


def _retracted_fates(sources: MergeSources) -> list[Fate]:
    """The merge never saw these samples; that they were left out is on record all the same.

    Seeds that nothing has drawn yet, and what left before D_j, have no fate in this merge: a retraction
    of them alone does not change the artifact's digest.
    """
    gone = sources.retracted.samples
    if not gone:
        return []
    elsewhere = _ids(sources.pool).union(*map(_ids, sources.earlier)) - _ids(sources.current)
    return [
        Fate(sample_id=name, fate="retracted", reason=why)
        for name, why in sorted(gone.items())
        if name not in elsewhere
    ]


def _ids(source: Source) -> set[str]:
    return {name for batch in source.read() for name in batch["sample_id"].to_pylist()}


def _write_tables(stage: Stage, merged: Merged) -> None:
    for number, part in enumerate(merged.samples):
        stage.writer.write_table("samples", "samples", part, number)
    for number, part in enumerate(merged.waiting):
        stage.writer.write_table(WAITING, "samples", part, number)
    for number, part in enumerate(merged.fates):
        stage.writer.write_table("fates", "fates", part, number)
    stage.writer.write("contaminated", "contaminated", merged.contaminated)


def _load_indexes(paths: Sequence[str]) -> list[BenchmarkIndex]:
    return [load_index(Path(path)) for path in paths]


def _log(report: MergeReport) -> None:
    logger().info("%d samples: %s", report.size, report.by_origin)
    for name, found in report.benchmarks.items():
        logger().info("%s: %d overlap, %d flagged", name, found.dropped, found.flagged)
