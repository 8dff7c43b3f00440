"""D_{j+1} from the parts: sizes, order, report (method, section 7).

**Size rule.** Every D_j has `dataset_size` samples. Places are given in this order, each part at
most what is left: samples whose probe failed for infrastructure reasons (as they are); all error
seeds; the top `high_ppl_rate` of the mastered and both-correct samples; unused seeds by the round's
rate; expansions, one for each error seed in turn, then a second one, and so on. Error seeds that no
rollout solved, and their expansions, come after the others of their part and have at most
`unsolved_rate_max` of the places together: a group without a right answer carries no signal. So too many
expansions are cut evenly over their seeds, and unused seeds, which can wait, give way before
anything that cannot. Places that stay empty are filled with the next mastered samples by
perplexity, then with more unused seeds; what is still missing is reported as `short_by`. Samples
whose label calls nothing have at most `no_call_rate_max` of the places, those that call at most what
`no_call_rate_min` leaves: the paper's models learn to abstain (relevance 77.8 -> 61.1). The order
of the result is a seeded shuffle, the same whatever the order of the input.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from looptool.config import MergeConfig
from looptool.merge.hygiene import Gate, Ledger, Quota, draw, require_training
from looptool.merge.select import Parts, Sorter
from looptool.records import Judgement, Origin, ProbeResult, Record, Sample
from looptool.schema import Fate


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """Everything that the next dataset is made from."""

    pool: Sequence[Sample]
    """Training seeds that no D so far has used."""
    current: Sequence[Sample]
    """D_j."""
    probes: Sequence[ProbeResult]
    judgements: Sequence[Judgement]
    expansions: Sequence[Sample]
    """Validated ones."""
    heldout: Sequence[Sample]
    iteration: int
    """j; the result is D_{j+1}."""


class MergeReport(Record):
    """What went in, what came out, and why."""

    makes: int
    """Number of the dataset that was made, j + 1."""
    size: int
    target: int
    short_by: int
    """Samples missing to the target."""
    by_origin: dict[str, int]
    by_kind: dict[str, int]
    no_call_rate: float
    """Share of samples whose label calls nothing."""
    offered: dict[str, int]
    """How many samples each part could have given."""
    taken: dict[str, int]
    """How many it gave, `filled_*` for places that stayed empty at first."""
    left_out: dict[str, int]
    """Samples that left or never entered, by fate and reason; unused seeds are not among them."""
    ppl: str
    """Which perplexity ranked the mastered ones."""
    ppl_threshold: float | None
    """Lowest perplexity within the top share; None without candidates."""
    ppl_lowest_kept: float | None
    """Lowest perplexity after empty places were filled."""
    new_seed_rate: float


@dataclass(frozen=True, slots=True)
class MergeOutcome:
    """A dataset and how it came about."""

    dataset: tuple[Sample, ...]
    fates: tuple[Fate, ...]
    """One for each sample that entered, left or was turned away; seeds not drawn have none."""
    report: MergeReport


def unused(pool: Iterable[Sample], used_ids: Set[str]) -> list[Sample]:
    """The seeds that are in no dataset yet."""
    return [sample for sample in pool if sample.sample_id not in used_ids]


def first_dataset(
    pool: Sequence[Sample], config: MergeConfig, random_seed: int, heldout: Sequence[Sample] = ()
) -> MergeOutcome:
    """D_1: seeds drawn at random, so that each kind comes in about its share of the pool."""
    require_training(pool, "pool")
    ledger = Ledger()
    builder = _Builder(config, Gate(heldout, ledger), {"new_seeds": pool})
    builder.add("new_seeds", _shuffle(pool, random_seed, "new", 1), config.dataset_size)
    return builder.finish(random_seed, 1, ledger, Parts(), 1.0)


def merge_round(inputs: MergeInputs, config: MergeConfig, random_seed: int) -> MergeOutcome:
    """D_{j+1}; the size rule stands at the head of this module.

    Raises DataError if a held-out sample is among the inputs.
    """
    for what in ("pool", "current", "expansions"):
        require_training(getattr(inputs, what), what)
    ledger = Ledger()
    sorter = Sorter(
        {probe.sample_id: probe for probe in inputs.probes},
        {judgement.sample_id: judgement for judgement in inputs.judgements},
        config,
        inputs.iteration,
        ledger,
    )
    parts = sorter.sort(inputs.current, random_seed)
    makes = inputs.iteration + 1
    rate = new_seed_rate(config, makes)
    new = _shuffle(inputs.pool, random_seed, "new", makes)
    new = [s.model_copy(update={"origin": Origin.SEED}) for s in new]
    grown = deal_in_turn(inputs.expansions, random_seed)
    within_reach, unsolved = _by_signal(parts.errors, lambda s: s.sample_id in parts.unsolved)
    grown_within, grown_unsolved = _by_signal(grown, lambda s: s.parent_id in parts.unsolved)
    few = round(config.unsolved_rate_max * config.dataset_size)
    builder = _Builder(
        config,
        Gate(inputs.heldout, ledger),
        {
            "untouched": parts.untouched,
            "error_seeds": parts.errors,
            "mastered_or_both_correct": parts.ranked,
            "new_seeds": new,
            "expansions": grown,
        },
    )
    builder.add("untouched", parts.untouched)
    builder.add("error_seeds", within_reach)
    few -= builder.add("unsolved_error_seeds", unsolved, few)
    builder.add("high_ppl", parts.ranked, round(config.high_ppl_rate * len(parts.ranked)))
    builder.add("new_seeds", new, round(rate * config.dataset_size))
    builder.add("expansions", grown_within)
    builder.add("unsolved_expansions", grown_unsolved, few)
    builder.add("filled_high_ppl", parts.ranked)
    builder.add("filled_new_seeds", new)
    _record_leavers(parts, grown, ledger, builder.quota)
    return builder.finish(random_seed, makes, ledger, parts, rate)


def _by_signal(
    samples: Iterable[Sample], is_unsolved: Callable[[Sample], bool]
) -> tuple[list[Sample], list[Sample]]:
    """Samples that rollouts can solve, and those that they cannot, each in the order given."""
    parts: tuple[list[Sample], list[Sample]] = ([], [])
    for sample in samples:
        parts[is_unsolved(sample)].append(sample)
    return parts


def new_seed_rate(config: MergeConfig, makes: int) -> float:
    """Share of unused seeds in D_`makes`; after the configured rates the last one is halved."""
    rates = config.new_seed_rates
    place = makes - 2
    if not rates:
        return 0.0
    return rates[place] if place < len(rates) else rates[-1] / 2 ** (place - len(rates) + 1)


def deal_in_turn(expansions: Sequence[Sample], random_seed: int) -> list[Sample]:
    """One expansion of each error seed, then a second one of each, …: cutting the end is fair."""
    families: dict[str, list[Sample]] = defaultdict(list)
    for sample in _shuffle(expansions, random_seed, "expansions"):
        families[sample.parent_id].append(sample)
    rounds = itertools.zip_longest(*families.values())
    return [sample for turn in rounds for sample in turn if sample is not None]


class _Builder:
    """Fills the places of a dataset part by part."""

    def __init__(
        self, config: MergeConfig, gate: Gate, offered: Mapping[str, Sequence[Sample]]
    ) -> None:
        self._config = config
        self._gate = gate
        self.quota = Quota(config, itertools.chain.from_iterable(offered.values()))
        self._offered = {part: len(samples) for part, samples in offered.items()}
        self._taken: dict[str, list[Sample]] = {}

    def add(self, part: str, samples: Sequence[Sample], count: int | None = None) -> int:
        """Gives the part at most `count` of the places that are left; how many it took."""
        room = self._config.dataset_size - sum(map(len, self._taken.values()))
        wanted = room if count is None else min(room, count)
        self._taken[part] = self._gate.admit(samples, wanted, part, self.quota)
        return len(self._taken[part])

    def finish(
        self, random_seed: int, makes: int, ledger: Ledger, parts: Parts, rate: float
    ) -> MergeOutcome:
        """The dataset in its final order, with the report."""
        entered = itertools.chain.from_iterable(self._taken.values())
        dataset = tuple(_shuffle(entered, random_seed, "dataset", makes))
        high = self._taken.get("high_ppl", [])
        more = self._taken.get("filled_high_ppl", [])
        left = Counter(
            f"{fate.fate}: {_short_reason(fate)}" for fate in ledger.fates if fate.fate != "kept"
        )
        report = MergeReport(
            makes=makes,
            size=len(dataset),
            target=self._config.dataset_size,
            short_by=self._config.dataset_size - len(dataset),
            by_origin=_count([sample.origin for sample in dataset]),
            by_kind=_count([sample.kind for sample in dataset]),
            no_call_rate=sum(not s.label.calls for s in dataset) / max(1, len(dataset)),
            offered=self._offered,
            taken={part: len(samples) for part, samples in self._taken.items()},
            left_out=dict(sorted(left.items())),
            ppl=self._config.ppl,
            ppl_threshold=_lowest(high, parts),
            ppl_lowest_kept=_lowest([*high, *more], parts),
            new_seed_rate=rate,
        )
        return MergeOutcome(dataset, tuple(ledger.fates), report)


def _record_leavers(parts: Parts, grown: Sequence[Sample], ledger: Ledger, quota: Quota) -> None:
    """Writes down why what was offered and not looked at, or not let in, is gone."""
    settled = {fate.sample_id for fate in ledger.fates}
    for sample in parts.ranked:
        if sample.sample_id not in settled:
            mastered = sample.sample_id in parts.mastered
            ledger.record(sample, "dropped", "low_ppl" if mastered else "both_correct_low_ppl")
    for sample in (*parts.untouched, *parts.errors, *grown):
        if sample.sample_id in settled:
            continue
        if {sample.sample_id, sample.parent_id} & parts.unsolved:
            ledger.record(sample, "dropped", "never_solved")
        else:
            crowded = not sample.label.calls and not quota.has_room(sample)
            reason = "no_call_share" if crowded else "no_place_left"
            ledger.record(sample, "dropped", reason)


def _short_reason(fate: Fate) -> str:
    """The reason without the id of the other sample in it."""
    return fate.reason.split(" ")[0].rstrip(",") if fate.fate != "duplicate" else "same content"


def _shuffle(samples: Iterable[Sample], random_seed: int, *parts: object) -> list[Sample]:
    return sorted(samples, key=lambda s: draw(random_seed, *parts, s.sample_id))


def _lowest(samples: Sequence[Sample], parts: Parts) -> float | None:
    return min((parts.ppl[s.sample_id] for s in samples if s.sample_id in parts.ppl), default=None)


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, values)).items()))
