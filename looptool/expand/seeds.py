"""Error seeds: judged samples with the right label and the wrong answer beside it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from looptool.decisions import relabel
from looptool.errors import DataError
from looptool.records import Judgement, Label, Origin, Sample, Split, canonical_json, content_id


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
    return find_certain(seeds, (), max_seeds, random_seed)


def find_certain(
    seeds: Sequence[ErrorSeed], open_ids: Iterable[str], max_seeds: int | None, random_seed: int
) -> list[ErrorSeed]:
    """Those seeds that `choose_seeds` takes whichever of the open samples become seeds beside them.

    `open_ids`: samples that are not judged yet, or whose new label nobody has decided on.
    """
    if max_seeds is None:
        return list(seeds)
    own = {seed.judgement.sample_id for seed in seeds}
    ranked = sorted(own | set(open_ids), key=lambda sample_id: _rank(random_seed, sample_id))
    chosen = own & set(ranked[:max_seeds])
    return [seed for seed in seeds if seed.judgement.sample_id in chosen]


@lru_cache(maxsize=1 << 16)
def _rank(random_seed: int, sample_id: str) -> int:
    """By the sample that was judged: that of a new label is not known before it is decided on."""
    return draw(random_seed, "seed", sample_id)


def seed_key(seed: ErrorSeed) -> str:
    """Digest of what an expansion depends on within one dataset and setting."""
    judgement = seed.judgement
    said = (judgement.error_type, judgement.error_analysis, judgement.right_approach)
    return content_id("e", seed.sample.sample_id, seed.wrong.model_dump(mode="json"), *said)


def draw(random_seed: int, *parts: str) -> int:
    """A number that depends on the arguments alone, never on the order of anything."""
    text = canonical_json([random_seed, *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
