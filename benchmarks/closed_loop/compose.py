"""The datasets of the arms, made of the library's pieces.

Each function writes an artifact of the kind that the pipeline's own stage writes, under a key of its own, so
that the stages after it cannot tell the difference.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from looptool.artifacts import ArtifactRef
from looptool.config import MergeConfig
from looptool.decontaminate import load_index
from looptool.judge import report_judgements
from looptool.merge import first_dataset
from looptool.records import (
    Judgement,
    Planted,
    ProbeResult,
    Rejection,
    RolloutStat,
    Sample,
    Split,
    draw,
)
from looptool.schema import Contamination, Fate
from tasks.judge import find_pairs
from tasks.scope import Input, Scope, Stage
from tasks.scout import WAITING


def keep_labels(scope: Scope, dataset: ArtifactRef, probes: ArtifactRef) -> ArtifactRef:
    """Verdicts of nobody: every mismatch is PRED_WRONG, without an analysis; tables as the judge's."""
    stage = Stage("judge", scope, {"dataset": dataset, "probes": probes, "arm": "labels kept"})
    if done := stage.committed():
        return done
    samples = stage.store.read(dataset, "samples", Sample)
    pairs = find_pairs(samples, stage.store.read(probes, "probes", ProbeResult))
    rows = [
        Judgement(
            sample_id=pair.sample.sample_id,
            verdict="PRED_WRONG",
            votes=(),
            predicted=pair.predicted,
            marked=pair.marked,
            sound=not pair.trouble,
        )
        for pair in pairs
    ]
    stage.writer.write("judgements", "judgements", rows)
    nobody: list[Planted] = []
    stage.writer.write("planted", "planted", nobody)
    return stage.commit({"report": report_judgements(rows), "teacher": {}})


def grow_nothing(scope: Scope) -> ArtifactRef:
    """An expansion without a sample; tables as the expansion's."""
    stage = Stage("expand", scope, {"arm": "nothing"})
    if done := stage.committed():
        return done
    samples: list[Sample] = []
    rejections: list[Rejection] = []
    stage.writer.write("samples", "samples", samples)
    stage.writer.write("rejections", "rejections", rejections)
    return stage.commit({"teacher": {}})


def shuffle_ranks(scope: Scope, probes: ArtifactRef) -> ArtifactRef:
    """The probes with random numbers for perplexities, so that the merge ranks by chance."""
    if scope.config.merge.ppl != "ppl_output":
        raise ValueError(f"the ranking is by {scope.config.merge.ppl}, not by ppl_output")
    stage = Stage("probe", scope, {"probes": probes, "arm": "random ranks"})
    if done := stage.committed():
        return done
    seed = scope.config.random_seed
    rows = [
        row.model_copy(update={"ppl_output": _number(seed, scope.iteration, row.sample_id)})
        for row in stage.store.read(probes, "probes", ProbeResult)
    ]
    stage.writer.write("probes", "probes", rows)
    return stage.commit({})


def _number(seed: int, iteration: int, sample_id: str) -> float:
    """A perplexity from 1 to 2 that says nothing."""
    return 1.0 + int(draw(seed, "rank", iteration, sample_id)[:13], 16) / 16**13


def draw_from_pool(
    scope: Scope,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef],
    scouted: ArtifactRef | None = None,
) -> ArtifactRef:
    """The next dataset without a refresh: seeds, those used least often first; table `samples`.

    Of what was `scouted`, those of mixed outcome come before all others, and those always right last.
    """
    inputs: dict[str, Input] = {"pool": pool, "history": list(history), "arm": "whole pool"}
    if scouted is not None:
        inputs["scouted"] = scouted
    stage = Stage("dataset", scope, inputs)
    if done := stage.committed():
        return done
    stats = [] if scouted is None else stage.store.read(scouted, "rollouts", RolloutStat)
    ranks = {row.sample_id: rank_outcome(row) for row in stats}
    config = scope.config.merge
    ranked = rank_seeds(stage, pool, history)
    ranked.sort(key=lambda sample: ranks.get(sample.sample_id, UNKNOWN))
    stage.writer.write("samples", "samples", choose_seeds(ranked, config))
    return stage.commit({})


MIXED, UNKNOWN, NEVER, ALWAYS = range(4)


def rank_outcome(row: RolloutStat) -> int:
    """Where a scouted seed stands: mixed outcome first, then unknown, never and always right."""
    if not row.rollouts:
        return UNKNOWN
    if row.passed == 0:
        return NEVER
    return ALWAYS if row.passed == row.rollouts else MIXED


def find_eligible(pool: Sequence[Sample], config: MergeConfig, seed: int) -> list[Sample]:
    """All training seeds that the merge would let in: none repeated, none near a held-out context."""
    training = [sample for sample in pool if sample.split is Split.TRAIN]
    heldout = [sample for sample in pool if sample.split is not Split.TRAIN]
    everything = config.model_copy(
        update={
            "dataset_size": max(1, len(training)),
            "no_call_rate_min": 0.0,
            "no_call_rate_max": 1.0,
        }
    )
    indexes = [load_index(Path(path)) for path in config.decontaminate]
    return list(first_dataset(training, everything, seed, heldout, indexes).dataset)


def rank_seeds(stage: Stage, pool: ArtifactRef, history: Sequence[ArtifactRef]) -> list[Sample]:
    """All eligible seeds, the least used first, drawn among equals."""
    config, seed = stage.scope.config.merge, stage.scope.config.random_seed
    store = stage.store
    used = Counter(s.sample_id for ref in history for s in store.read(ref, "samples", Sample))
    eligible = find_eligible(store.read(pool, "samples", Sample), config, seed)
    return order_by_use(eligible, used, seed)


def order_by_use(eligible: Sequence[Sample], used: Mapping[str, int], seed: int) -> list[Sample]:
    """The least used first, drawn among equals."""
    return sorted(
        eligible,
        key=lambda s: (
            used.get(s.sample_id, 0),
            draw(seed, "static", used.get(s.sample_id, 0), s.sample_id),
        ),
    )


def choose_seeds(ranked: Sequence[Sample], config: MergeConfig) -> list[Sample]:
    """The first `dataset_size` seeds; `no_call_rate_max` holds.

    So no seed of its sort comes a second time before all were used once, if the least used come first.
    """
    left = {False: math.floor(config.dataset_size * config.no_call_rate_max), True: len(ranked)}
    chosen: list[Sample] = []
    for sample in ranked:
        calls = bool(sample.label.calls)
        if len(chosen) < config.dataset_size and left[calls]:
            left[calls] -= 1
            chosen.append(sample)
    return chosen


def repeat_errors(scope: Scope, merged: ArtifactRef) -> tuple[ArtifactRef, ArtifactRef]:
    """A dataset that was merged without expansions, with copies of its error seeds in their places.

    Also the same without the copies, for the probe and the next merge: a sample is probed once.
    """
    training = Stage("merge", scope, {"merged": merged, "arm": "copies"})
    once = Stage("merge", scope, {"merged": merged, "arm": "copies, once"})
    found = training.committed(), once.committed()
    if found[0] and found[1]:
        return found[0], found[1]
    store = training.store
    fates = store.read(merged, "fates", Fate)
    parts = {fate.sample_id: fate.reason for fate in fates if fate.fate == "kept"}
    distinct, copies = fill_with_copies(
        store.read(merged, "samples", Sample),
        parts,
        scope.config.merge,
        scope.config.random_seed + scope.iteration,
    )
    training.writer.write("samples", "samples", [*distinct, *copies])
    once.writer.write("samples", "samples", distinct)
    once.writer.write("fates", "fates", correct_fates(fates, distinct))
    once.writer.write(WAITING, "samples", store.read(merged, WAITING, Sample))
    overlaps: list[Contamination] = []
    once.writer.write("contaminated", "contaminated", overlaps)
    return training.commit({"copies": len(copies)}), once.commit({})


def fill_with_copies(
    dataset: Sequence[Sample], parts: Mapping[str, str], config: MergeConfig, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """The samples that stay, and copies of error seeds for all other places, one of each in turn.

    `parts` says why each sample was kept. What only filled empty places goes, unless there is nothing to
    copy. Error seeds that no rollout solved are not copied: the merge bounds their places.
    """
    stay = [s for s in dataset if not parts[s.sample_id].startswith("filled_")]
    spare = [s for s in dataset if parts[s.sample_id].startswith("filled_")]
    sources = sorted(
        (s for s in stay if parts[s.sample_id] == "error_seeds"),
        key=lambda s: draw(seed, "copy", s.sample_id),
    )
    room = config.dataset_size - len(stay)
    quiet = math.floor(config.dataset_size * config.no_call_rate_max)
    quiet -= sum(not s.label.calls for s in stay)
    callers = [s for s in sources if s.label.calls]
    copies: list[Sample] = []
    while room > len(copies):
        turn = sources if quiet > 0 else callers
        if not turn:
            break
        for sample in turn[: room - len(copies)]:
            if sample.label.calls or quiet > 0:
                quiet -= not sample.label.calls
                copies.append(sample)
    return [*stay, *spare[: room - len(copies)]], copies


def correct_fates(fates: Sequence[Fate], kept: Sequence[Sample]) -> list[Fate]:
    """The fates of a merge of which only these samples were kept.

    A mastered sample that had filled a place is dropped after all; a seed that had is unused again.
    """
    ids = {sample.sample_id for sample in kept}
    rows: list[Fate] = []
    for fate in fates:
        if fate.fate != "kept" or fate.sample_id in ids:
            rows.append(fate)
        elif fate.reason == "filled_high_ppl":
            rows.append(Fate(sample_id=fate.sample_id, fate="dropped", reason="low_ppl"))
    return rows
