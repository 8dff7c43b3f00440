"""What the planted pairs say about the judge: confusion, by model, by order, by corruption."""

from collections import Counter
from collections.abc import Iterable, Sequence

from looptool.config import JudgeConfig
from looptool.intervals import wilson_interval
from looptool.judge.precision import Precision, count_confusion, estimate_precision
from looptool.judge.trust import Trust, decide_trust
from looptool.records import Judgement, Planted, Record, Vote


class Rate(Record):
    """A share with its 95% Wilson interval."""

    hits: int
    n: int
    rate: float
    low: float
    high: float


class VoteReport(Record):
    """The votes of one judge, or in one order."""

    right: Rate
    """Readable votes that say the truth."""
    unreadable: int
    confusion: dict[str, dict[str, int]]
    """Readable votes by truth and verdict."""
    first_blamed: Rate
    """Of the votes for which one answer alone is wrong, those that blame the first one. Over both orders
    it is 0.5 without position bias."""


class JudgeMeasure(Record):
    """The judge as the planted pairs of a round, and of earlier ones with the same judge, show it."""

    planted: int
    """Pairs of this round."""
    pooled: int
    """Pairs of earlier rounds with the same judge and rule that count as well."""
    rounds: int
    """Rounds that the pairs come from."""
    confusion: dict[str, dict[str, int]]
    """Pairs by truth and final verdict; both this round's and the pooled ones."""
    recall: dict[str, Rate]
    """Pairs whose verdict is the truth, by truth."""
    by_change: dict[str, Rate]
    """The same by what was done to the right answer."""
    by_model: dict[str, VoteReport]
    by_order: dict[str, VoteReport]
    """`label_first` and `prediction_first`."""
    first_blamed: Rate
    """Of all votes; see `VoteReport`."""
    precision: Precision | None
    """Of LABEL_WRONG among this round's mismatches; None where it cannot be told."""
    trust: Trust


def measure_judge(
    planted: Sequence[Planted],
    earlier: Sequence[Sequence[Planted]],
    judgements: Sequence[Judgement],
    config: JudgeConfig,
    random_seed: int,
) -> JudgeMeasure:
    """The measure of a round; `earlier` are the planted pairs of rounds with the same judge.

    Pooling is sound as the pairs are made in the same way in every round, and the mix of truths, which
    does change, is estimated from this round's verdicts alone. Judgements on predictions that break
    the rules are left out: they replace nothing.
    """
    pairs = [*planted, *(pair for round_ in earlier for pair in round_)]
    confusion = count_confusion((pair.truth, pair.verdict) for pair in pairs)
    verdicts = Counter[str](judgement.verdict for judgement in judgements if judgement.sound)
    precision = estimate_precision(confusion, verdicts, random_seed)
    votes = [(pair.truth, vote) for pair in pairs for vote in pair.votes]
    return JudgeMeasure(
        planted=len(planted),
        pooled=len(pairs) - len(planted),
        rounds=1 + len(earlier),
        confusion=confusion,
        recall={t: _recall(p for p in pairs if p.truth == t) for t in confusion},
        by_change={
            change: _recall(p for p in pairs if change in _changes(p))
            for change in sorted({change for pair in pairs for change in _changes(pair)})
        },
        by_model={
            model: report_votes([(t, v) for t, v in votes if v.model == model])
            for model in sorted({vote.model for _, vote in votes})
        },
        by_order={
            name: report_votes([(t, v) for t, v in votes if v.label_first is first])
            for name, first in (("label_first", True), ("prediction_first", False))
            if any(v.label_first is first for _, v in votes)
        },
        first_blamed=_count_blame([vote for _, vote in votes]),
        precision=precision,
        trust=decide_trust(precision, config),
    )


def report_votes(votes: Sequence[tuple[str, Vote]]) -> VoteReport:
    """The report on votes with their truths."""
    readable = [(truth, vote) for truth, vote in votes if vote.verdict != "unreadable"]
    return VoteReport(
        right=make_rate(sum(truth == vote.verdict for truth, vote in readable), len(readable)),
        unreadable=len(votes) - len(readable),
        confusion=count_confusion((truth, vote.verdict) for truth, vote in readable),
        first_blamed=_count_blame([vote for _, vote in readable]),
    )


def make_rate(hits: int, n: int) -> Rate:
    """A share with its interval; 0 of nothing is 0."""
    low, high = wilson_interval(hits, n)
    return Rate(hits=hits, n=n, rate=hits / n if n else 0.0, low=low, high=high)


def _recall(pairs: Iterable[Planted]) -> Rate:
    right = [pair.verdict == pair.truth for pair in pairs]
    return make_rate(sum(right), len(right))


def _changes(pair: Planted) -> list[str]:
    return [change for change in (pair.label_change, pair.predicted_change) if change]


def _count_blame(votes: Sequence[Vote]) -> Rate:
    blamed = [
        (vote.verdict == "LABEL_WRONG") == vote.label_first
        for vote in votes
        if vote.verdict in ("LABEL_WRONG", "PRED_WRONG")
    ]
    return make_rate(sum(blamed), len(blamed))
