"""Error seeds: judged samples with the right label and the wrong answer beside it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from looptool.decisions import relabel
from looptool.errors import DataError
from looptool.records import Judgement, Label, Origin, Sample, Split, canonical_json


@dataclass(frozen=True, slots=True)
class ErrorSeed:
    """A sample on which the policy, or its label, was wrong."""

    sample: Sample
    """With its right label."""
    wrong: Label
    """The wrong answer: the policy's, or the label that was replaced."""
    judgement: Judgement

    @property
    def error_type(self) -> str:
        """What the judge calls the error; `unnamed` if it does not say."""
        return self.judgement.error_type or "unnamed"


def error_seeds(
    samples_by_id: Mapping[str, Sample], judgements: Sequence[Judgement], iteration: int
) -> list[ErrorSeed]:
    """The error seeds among judged samples, in the order of the judgements.

    Raises DataError for a held-out sample: these are never expanded.
    """
    seeds: list[ErrorSeed] = []
    for judgement in judgements:
        sample = samples_by_id.get(judgement.sample_id)
        if sample is None or sample.split is not Split.TRAIN:
            raise DataError(
                f"judged sample {judgement.sample_id} is not among the training samples"
            )
        if judgement.verdict == "PRED_WRONG":
            seed = sample.model_copy(update={"origin": Origin.ERROR_SEED})
            seeds.append(ErrorSeed(seed, judgement.predicted, judgement))
        elif judgement.verdict == "LABEL_WRONG" and judgement.new_label is not None:
            seeds.append(ErrorSeed(relabel(sample, judgement, iteration), sample.label, judgement))
    return seeds


def choose_seeds(
    seeds: Sequence[ErrorSeed], max_seeds: int | None, random_seed: int
) -> list[ErrorSeed]:
    """At most so many seeds, drawn without regard to their order and returned in it."""
    if max_seeds is None or len(seeds) <= max_seeds:
        return list(seeds)
    ranked = sorted(seeds, key=lambda s: draw(random_seed, "seed", s.sample.sample_id))
    chosen = {seed.sample.sample_id for seed in ranked[:max_seeds]}
    return [seed for seed in seeds if seed.sample.sample_id in chosen]


def draw(random_seed: int, *parts: str) -> int:
    """A number that depends on the arguments alone, never on the order of anything."""
    text = canonical_json([random_seed, *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
