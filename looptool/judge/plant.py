"""Planted pairs: what the judge is measured with (not in the paper, which trusts its judge).

A pair is made from a validated training sample of D_j, one that the policy has mastered where there
are any, greedily and in most of its rollouts: two sources then agree on its label, and a wrong label
is rarely among them. What was done to label and prediction gives the truth:

    PRED_WRONG    right label, corrupted prediction
    LABEL_WRONG   corrupted label, right prediction
    BOTH_WRONG    two different corruptions
    BOTH_CORRECT  the right answer twice, the prediction written differently

Corrupted answers pass the rule checks, as every label in the data has: what the rules find by
themselves says nothing about the judge. Pairs go to the judge among the real ones, by the same
prompt, under ids of the same form; they are stored apart and never enter the data.

A round plants its pairs shard by shard of the probe, so that a shard can be judged, with planted pairs
among its mismatches, before the next one is probed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from random import Random

from looptool.config import JudgeConfig
from looptool.judge.corrupt import CORRUPTIONS, reword, same_answer
from looptool.judge.pairs import Pair, RuleCheck
from looptool.records import (
    Judgement,
    Label,
    Planted,
    ProbeResult,
    Sample,
    Verdict4,
    content_id,
)

MIX: dict[Verdict4, float] = {
    "PRED_WRONG": 0.4,
    "LABEL_WRONG": 0.25,
    "BOTH_WRONG": 0.2,
    "BOTH_CORRECT": 0.15,
}
"""Shares of the truths. Most have a right label or no right answer at all: it is what the judge makes
of these that decides how many right labels it would spoil."""
SURE_RATE = 0.5
"""Least share of right rollouts of a source. A policy may have learned a wrong label by heart, but it
rarely comes upon it by sampling."""
TRIES = 12
"""Candidates of one corruption that are looked at."""
USES = 6
"""Pairs made from one sample, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A planted pair before it is judged."""

    pair: Pair
    source_id: str
    truth: Verdict4
    label_change: str
    predicted_change: str


def count_planted(mismatches: int, config: JudgeConfig, probed: int = 1, rows: int = 1) -> int:
    """How many pairs a round plants by the time that `probed` of its rows gave so many mismatches."""
    if not mismatches or not config.planted_rate:
        return 0
    return max(round(config.planted_rate * mismatches), config.planted_min * probed // rows)


def find_mastered(results: Iterable[ProbeResult]) -> set[str]:
    """Samples on whose label the policy agrees with the teacher, as surely as is known."""
    matched = [result for result in results if result.matched]
    return _find_sure(matched) or {result.sample_id for result in matched}


def _find_sure(matched: Iterable[ProbeResult]) -> set[str]:
    return {r.sample_id for r in matched if r.pass_rate is None or r.pass_rate >= SURE_RATE}


def plant_pairs(
    dataset: Sequence[Sample],
    mastered: Set[str],
    count: int,
    rule_check: RuleCheck,
    random_seed: int,
) -> list[Plan]:
    """`count` pairs with known verdicts, or as many as the samples give, in a seeded order."""
    planter = _Planter(rule_check, random_seed)
    planter.fill(_order(dataset, mastered, random_seed), count)
    return planter.plans


class Planting:
    """The planted pairs of one round, shard by shard of its probe.

    What a shard gets depends on this shard and those before it alone. Each brings the pairs up to what
    the mismatches so far ask for, and to the share of `planted_min` that its rows so far are of all; the
    sources are the mastered samples so far. Where there is none yet, a later shard makes up for it. A
    round of one shard has the pairs of `plant_pairs`.
    """

    def __init__(
        self, rows: int, config: JudgeConfig, rule_check: RuleCheck, random_seed: int
    ) -> None:
        """`rows`: samples of the round in all shards."""
        self._rows = rows
        self._config = config
        self._random_seed = random_seed
        self._planter = _Planter(rule_check, random_seed)
        self._samples: list[Sample] = []
        self._matched: list[ProbeResult] = []
        self._probed = self._mismatches = 0

    def add(self, samples: Iterable[Sample], results: Sequence[ProbeResult]) -> list[Plan]:
        """The pairs that go with the next shard."""
        self._samples += samples
        self._matched += [result for result in results if result.matched]
        self._mismatches += sum(not (r.matched or r.failure) for r in results)
        self._probed += len(results)
        if self._probed < self._rows and not _find_sure(self._matched):
            return []
        done = len(self._planter.plans)
        wanted = count_planted(self._mismatches, self._config, self._probed, self._rows)
        sources = _order(self._samples, find_mastered(self._matched), self._random_seed)
        self._planter.fill(sources, wanted)
        return self._planter.plans[done:]


def _order(dataset: Sequence[Sample], mastered: Set[str], random_seed: int) -> list[Sample]:
    """Mastered samples alone where there are any; else all."""
    known = [sample for sample in dataset if sample.sample_id in mastered]
    return sorted(known or dataset, key=lambda s: content_id("plant", random_seed, s.sample_id))


class _Planter:
    """Makes pairs one by one, keeping truths in their shares and corruptions even."""

    def __init__(self, rule_check: RuleCheck, random_seed: int) -> None:
        self.plans: list[Plan] = []
        self._rule_check = rule_check
        self._random_seed = random_seed
        self._truths: Counter[Verdict4] = Counter()
        self._changes: Counter[str] = Counter()
        self._made: set[str] = set()
        self._tried: set[tuple[str, int]] = set()

    def fill(self, sources: Sequence[Sample], count: int) -> None:
        """Adds pairs of the sources until there are so many in all, or the sources give no more."""
        for use in range(USES):
            for sample in sources:
                if len(self.plans) >= count:
                    return
                if (sample.sample_id, use) not in self._tried:
                    self._tried.add((sample.sample_id, use))
                    self.plant(sample, use)

    def plant(self, sample: Sample, use: int) -> None:
        """Adds a pair of the truth that is most behind its share and that the sample can give."""
        rng = Random(content_id("use", self._random_seed, sample.sample_id, use))
        # A truth that few samples can give must not hold up the others: it is only tried first.
        for truth in sorted(MIX, key=lambda t: (self._truths[t] + 1) / MIX[t]):
            for plan in self._make(sample, truth, rng):
                if plan.pair.sample.sample_id not in self._made:
                    self._made.add(plan.pair.sample.sample_id)
                    self._truths[truth] += 1
                    self._changes.update((plan.label_change, plan.predicted_change))
                    self.plans.append(plan)
                    return

    def _make(self, sample: Sample, truth: Verdict4, rng: Random) -> Iterator[Plan]:
        right = Label(
            calls=sample.label.calls, text="" if sample.label.calls else sample.label.text
        )
        if truth == "BOTH_CORRECT":
            for answer in reword(sample, rng):
                if answer != right and same_answer(sample, answer, right):
                    yield self._plan(sample, truth, (right, ""), (answer, "reworded"))
            return
        for wrong, change in self._wrong(sample, right, rng):
            if truth == "PRED_WRONG":
                yield self._plan(sample, truth, (right, ""), (wrong, change))
            elif truth == "LABEL_WRONG":
                yield self._plan(sample, truth, (wrong, change), (right, ""))
            else:
                for other, second in self._wrong(sample, right, rng):
                    if not same_answer(sample, wrong, other):
                        yield self._plan(sample, truth, (wrong, change), (other, second))

    def _wrong(self, sample: Sample, right: Label, rng: Random) -> Iterator[tuple[Label, str]]:
        """One wrong answer by each corruption that the sample can suffer, the rarest first."""
        names = sorted(
            rng.sample(list(CORRUPTIONS), len(CORRUPTIONS)), key=lambda n: self._changes[n]
        )
        for name in names:
            for _, answer in zip(range(TRIES), CORRUPTIONS[name](sample, rng), strict=False):
                if not same_answer(sample, answer, right) and not self._rule_check(sample, answer):
                    yield answer, name
                    break

    def _plan(
        self,
        sample: Sample,
        truth: Verdict4,
        label: tuple[Label, str],
        predicted: tuple[Label, str],
    ) -> Plan:
        sample_id = content_id(
            "s", sample.sample_id, label[0].model_dump(mode="json"),
            predicted[0].model_dump(mode="json"),
        )  # fmt: skip
        planted = sample.model_copy(update={"sample_id": sample_id, "label": label[0]})
        return Plan(Pair(planted, predicted[0]), sample.sample_id, truth, label[1], predicted[1])


def record_planted(plan: Plan, judgement: Judgement) -> Planted:
    """The row of a planted pair that was judged."""
    return Planted(
        sample_id=judgement.sample_id,
        source_id=plan.source_id,
        truth=plan.truth,
        label_change=plan.label_change,
        predicted_change=plan.predicted_change,
        label=plan.pair.sample.label,
        predicted=plan.pair.predicted,
        verdict=judgement.verdict,
        votes=judgement.votes,
        note=judgement.note,
    )
