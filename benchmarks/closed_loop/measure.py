"""The figures of one round, with the truth that the pipeline never sees.

The truth about a label is the answer of the scripted teacher without noise (`benchmarks.labels`). The held-out
samples were written by that teacher; one that it does not confirm is left out of the measurement, counted.
Which held-out samples a policy answered right is kept sample by sample, as hexadecimal bits, so that every
difference can be paired.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.labels import find_wrong
from looptool.artifacts import ArtifactRef, Manifest, Store
from looptool.artifacts.manifest import sha256_of
from looptool.config import LoopConfig
from looptool.decisions import relabel
from looptool.records import (
    CALL_KINDS,
    JsonObject,
    Judgement,
    Kind,
    ProbeResult,
    Sample,
    Split,
    StepMetrics,
    canonical_json,
)
from tasks.parts import combine
from tasks.policy import CHECKPOINT

Bits = NDArray[np.bool_]
CODES = dict(zip(Kind, "abcdefgh", strict=True))
"""One letter for each kind; a capital for a sample over unseen tools."""
_KINDS = {code: kind for kind, code in CODES.items()}


def pack(values: Iterable[bool]) -> str:
    """Truth values as hexadecimal digits, eight in two digits."""
    return np.packbits(np.array(list(values), np.bool_)).tobytes().hex()


def unpack(text: str, count: int) -> Bits:
    """The first `count` truth values."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(np.bool_)


@dataclass(frozen=True, slots=True)
class Items:
    """The held-out samples of one seed, in the order of the bits."""

    kinds: tuple[Kind, ...]
    unseen: Bits
    cluster: NDArray[np.int64]
    """Number of the dialogue that each was cut from, from 0."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Items":
        """From the samples, in their order; those of a dialogue stand together."""
        heads = np.array(
            [n == 0 or s.dialogue_id != samples[n - 1].dialogue_id for n, s in enumerate(samples)],
            np.bool_,
        )
        unseen = np.array([s.split is Split.HELDOUT_UNSEEN for s in samples], np.bool_)
        return cls(tuple(s.kind for s in samples), unseen, np.cumsum(heads) - 1)

    @classmethod
    def read(cls, row: Mapping[str, str]) -> "Items":
        """From what `as_row` gives."""
        codes = row["kinds"]
        heads = unpack(row["heads"], len(codes))
        unseen = np.array([code.isupper() for code in codes], np.bool_)
        return cls(tuple(_KINDS[code.lower()] for code in codes), unseen, np.cumsum(heads) - 1)

    def as_row(self) -> dict[str, str]:
        """Compact text."""
        codes = (CODES[kind] for kind in self.kinds)
        letters = (c.upper() if u else c for c, u in zip(codes, self.unseen, strict=True))
        heads = np.diff(self.cluster, prepend=-1) > 0
        return {"kinds": "".join(letters), "heads": pack(heads)}

    def slices(self) -> dict[str, Bits]:
        """Which samples each slice holds, as in `looptool.evaluate`."""
        calls = np.array([kind in CALL_KINDS for kind in self.kinds], np.bool_)
        found = {"all": np.ones(len(calls), np.bool_), "seen": ~self.unseen, "unseen": self.unseen}
        found |= {"calls": calls, "relevance": calls, "irrelevance": ~calls}
        for kind in Kind:
            found[f"kind:{kind.value}"] = np.array([k is kind for k in self.kinds], np.bool_)
        return {name: mask for name, mask in found.items() if mask.any()}


def wrong_ids(samples: Sequence[Sample]) -> set[str]:
    """Ids of the samples whose label the teacher without noise does not confirm."""
    return {sample.sample_id for sample in asyncio.run(find_wrong(samples))}


def find_clean(samples: Sequence[Sample]) -> list[Sample]:
    """The held-out samples whose label the teacher without noise confirms, dialogue by dialogue."""
    heldout = [sample for sample in samples if sample.split is not Split.TRAIN]
    wrong = wrong_ids(heldout)
    clean = [sample for sample in heldout if sample.sample_id not in wrong]
    return sorted(clean, key=lambda s: (s.dialogue_id, s.sample_id))


def describe_answers(store: Store, scores: ArtifactRef, heldout: Sequence[Sample]) -> JsonObject:
    """Which held-out samples were answered right, and where a call was made; counts by slice."""
    results = {r.sample_id: r for r in store.read(scores, "probes", ProbeResult)}
    answers = [results[sample.sample_id] for sample in heldout]
    matched = np.array([r.matched and not r.failure for r in answers], np.bool_)
    called = np.array([r.called and not r.failure for r in answers], np.bool_)
    counts = {
        name: [int((called if name == "relevance" else matched)[mask].sum()), int(mask.sum())]
        for name, mask in Items.of(heldout).slices().items()
    }
    return {
        "matched": pack(matched),
        "called": pack(called),
        "correct": counts,
        "not_asked": sum(bool(r.failure) for r in answers),
    }


def describe_data(samples: Sequence[Sample]) -> JsonObject:
    """What a dataset holds, and how many of its labels are wrong; copies count each."""
    once = {sample.sample_id: sample for sample in samples}
    wrong = wrong_ids(list(once.values()))
    by_origin = Counter(sample.origin.value for sample in samples)
    wrong_by_origin = Counter(s.origin.value for s in samples if s.sample_id in wrong)
    return {
        "size": len(samples),
        "distinct": len(once),
        "no_call": sum(not sample.label.calls for sample in samples),
        "by_origin": dict(sorted(by_origin.items())),
        "by_kind": dict(sorted(Counter(sample.kind.value for sample in samples).items())),
        "wrong": wrong_by_origin.total(),
        "wrong_by_origin": dict(sorted(wrong_by_origin.items())),
    }


def describe_changes(samples: Sequence[Sample], judgements: Sequence[Judgement]) -> JsonObject:
    """Label changes by what they did: wrong to right, right to wrong, or neither."""
    by_id = {judgement.sample_id: judgement for judgement in judgements}
    changed = [s for s in samples if (j := by_id.get(s.sample_id)) and j.new_label]
    after = [relabel(sample, by_id[sample.sample_id], 0) for sample in changed]
    before_wrong = wrong_ids(changed)
    after_wrong = {s.parent_id for s in asyncio.run(find_wrong(after))}
    return {
        "mismatches": len(judgements),
        "by_verdict": dict(sorted(Counter(j.verdict for j in judgements).items())),
        "changed": len(changed),
        "corrected": len(before_wrong - after_wrong),
        "spoilt": len(after_wrong - before_wrong),
        "still_wrong": len(after_wrong & before_wrong),
    }


def describe_training(store: Store, trained: ArtifactRef) -> JsonObject:
    """What the training did, and how much signal its groups carried."""
    report = store.manifest_of(trained).stats["report"]
    steps = store.read(trained, "steps", StepMetrics)
    tail = max(1, len(steps) // 5)
    return {
        "steps": report["steps"],
        "rollouts": report["rollouts"],
        "samples": report["samples"],
        "used": report["used"],
        "too_long": len(report["too_long"]),
        "reward_first": _mean([step.reward_mean for step in steps[:tail]]),
        "reward_last": _mean([step.reward_mean for step in steps[-tail:]]),
        "no_signal": _mean([step.zero_variance_rate for step in steps]),
    }


def describe_scouting(store: Store, scouted: ArtifactRef) -> JsonObject:
    """Candidates that were scouted, those of mixed outcome among them, and the answers that it took."""
    report = store.manifest_of(scouted).stats["report"]
    parts = {name: report[name] for name in ("expansions", "waiting", "new_seeds")}
    return {
        "answers": report["answers"],
        **{name: {k: part[k] for k in ("asked", "mixed")} for name, part in parts.items()},
    }


def check_equal_work(config: LoopConfig, training: Mapping[str, Any], what: str) -> None:
    """Raises AssertionError unless a round had the steps, prompts and rollouts of every other one."""
    steps = config.train.max_steps or 0
    prompts = steps * config.train.batch_size
    wanted = {"steps": steps, "rollouts": prompts * config.train.group_size}
    found = {name: training[name] for name in wanted}
    if found != wanted:
        raise AssertionError(f"{what} did {found} instead of {wanted}: no comparison is fair")


def checkpoint_digest(manifest: Manifest) -> str:
    """Digest over names and contents of a checkpoint's files; the artifact's own holds times as well."""
    files = sorted([p.name, p.sha256] for p in manifest.parts if p.table == CHECKPOINT)
    return sha256_of(canonical_json(files).encode())


def count_teacher(manifests: Iterable[Manifest]) -> JsonObject:
    """Requests and tokens of the teacher in all of these artifacts."""
    stats = [manifest.stats for manifest in manifests]
    used = [stat.get("teacher") or stat.get("usage") or {} for stat in stats]
    by_stage: JsonObject = reduce(combine, used, {})
    names = ("requests", "prompt_tokens", "completion_tokens")
    return {name: sum(int(stage[name]) for stage in by_stage.values()) for name in names}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if values else 0.0
