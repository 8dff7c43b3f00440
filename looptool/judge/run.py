"""Judging a batch: every question asked, every pair decided (JGLV, method section 5)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from looptool.chat import Teacher, gather_bounded
from looptool.chat.outage import raise_if_down
from looptool.config import JudgeConfig
from looptool.judge.ask import ask, list_ballots
from looptool.judge.decide import judge_pair
from looptool.judge.pairs import Pair, RuleCheck, find_mismatch
from looptool.judge.plant import Plan, record_planted
from looptool.judge.trust import Trust, apply_trust
from looptool.records import Judgement, Planted, ProbeResult, Record, Sample, Vote, content_id


class JudgeReport(Record):
    """Counts of one judging; planted pairs are not among them."""

    mismatches: int
    marked: int
    """Of these, those that match by the relaxed rule."""
    by_verdict: dict[str, int]
    """Judgements by final verdict, `unjudged` among them."""
    by_error_type: dict[str, int]
    """Of PRED_WRONG and LABEL_WRONG."""
    votes: int
    unreadable_votes: int
    disagreements: int
    """Mismatches on which the readable votes were not unanimous."""
    order_flips: int
    """Of these, those whose verdict changed with the order of the two answers alone."""
    downgraded: int
    """Verdicts set aside because the prediction breaks the rules."""
    labels_replaced: int
    labels_withheld: int
    """LABEL_WRONG whose proposed label is not applied: the judge is not trusted, or replacing is off."""


@dataclass(frozen=True, slots=True)
class JudgeOutcome:
    """One judgement for each pair, in their order."""

    judgements: tuple[Judgement, ...]
    report: JudgeReport


async def judge_mismatches(
    pairs: Sequence[tuple[Sample, ProbeResult]],
    config: JudgeConfig,
    teacher: Teacher,
    *,
    rule_check: RuleCheck,
) -> JudgeOutcome:
    """Judges each mismatch with an unmeasured judge; `rule_check` is the rule part of validation.

    Raises ValueError for a pair that is no mismatch, or whose probe failed for infrastructure
    reasons.
    """
    found = [find_mismatch(sample, result) for sample, result in pairs]
    judged = await judge_pairs(found, config, teacher, rule_check=rule_check)
    unmeasured = Trust(trusted=True, reason="not measured")
    judgements = tuple(apply_trust(judged, config, unmeasured))
    return JudgeOutcome(judgements, report_judgements(judgements))


NONE: Mapping[str, Judgement] = MappingProxyType({})


def pair_key(pair: Pair) -> str:
    """Digest of what a judgement depends on within one dataset."""
    predicted = pair.predicted.model_dump(mode="json")
    return content_id("p", pair.sample.sample_id, predicted, pair.trouble, pair.marked)


async def judge_batch(
    pairs: Sequence[Pair],
    planted: Sequence[Plan],
    config: JudgeConfig,
    teacher: Teacher,
    *,
    rule_check: RuleCheck,
    random_seed: int,
    known: Mapping[str, Judgement] = NONE,
) -> tuple[list[Judgement], list[Planted]]:
    """Judges real and planted pairs as one batch; labels are proposed, not yet replaced.

    `known` are judgements by `pair_key`, planted pairs' too: these are not asked for again.
    """
    mixed = {pair_key(pair): pair for pair in (*pairs, *(plan.pair for plan in planted))}
    found = {key: known[key] for key in mixed if key in known} | await judge_mixed(
        [pair for key, pair in mixed.items() if key not in known],
        config,
        teacher,
        rule_check=rule_check,
        random_seed=random_seed,
    )
    return (
        [found[pair_key(pair)] for pair in pairs],
        [record_planted(plan, found[pair_key(plan.pair)]) for plan in planted],
    )


async def judge_mixed(
    pairs: Sequence[Pair],
    config: JudgeConfig,
    teacher: Teacher,
    *,
    rule_check: RuleCheck,
    random_seed: int,
) -> dict[str, Judgement]:
    """A judgement for each pair, by `pair_key`; asked for in a shuffled order."""
    order = sorted(pairs, key=lambda p: content_id("mix", random_seed, p.sample.sample_id))
    judged = await judge_pairs(order, config, teacher, rule_check=rule_check)
    return {pair_key(pair): row for pair, row in zip(order, judged, strict=True)}


async def judge_pairs(
    pairs: Sequence[Pair], config: JudgeConfig, teacher: Teacher, *, rule_check: RuleCheck
) -> list[Judgement]:
    """One judgement for each pair, in their order."""
    ballots = list_ballots(len(pairs), config)
    cast = await gather_bounded([ask(b, pairs[b.pair], config, teacher) for b in ballots])
    raise_if_down([error for _, error in cast if error], len(cast))
    votes: list[list[Vote]] = [[] for _ in pairs]
    for ballot, (vote, _) in zip(ballots, cast, strict=True):
        votes[ballot.pair].append(vote)
    return [
        judge_pair(pair, tuple(own), config, rule_check)
        for pair, own in zip(pairs, votes, strict=True)
    ]


def report_judgements(judgements: Sequence[Judgement]) -> JudgeReport:
    """The counts, from the rows alone."""
    votes = [vote for judgement in judgements for vote in judgement.votes]
    split = [j for j in judgements if len(_readable_verdicts(j.votes)) > 1]
    wrong = [j for j in judgements if j.verdict == "LABEL_WRONG"]
    errors = [j.error_type for j in judgements if j.verdict in ("LABEL_WRONG", "PRED_WRONG")]
    return JudgeReport(
        mismatches=len(judgements),
        marked=sum(j.marked for j in judgements),
        by_verdict=dict(sorted(Counter(j.verdict for j in judgements).items())),
        by_error_type=dict(sorted(Counter(errors).items())),
        votes=len(votes),
        unreadable_votes=sum(vote.verdict == "unreadable" for vote in votes),
        disagreements=len(split),
        order_flips=sum(_flips_with_order(j.votes) for j in split),
        downgraded=sum(j.verdict == "unjudged" and bool(j.error_type) for j in judgements),
        labels_replaced=sum(j.new_label is not None for j in wrong),
        labels_withheld=sum(j.new_label is None for j in wrong),
    )


def _readable_verdicts(votes: Sequence[Vote]) -> set[str]:
    return {vote.verdict for vote in votes if vote.verdict != "unreadable"}


def _flips_with_order(votes: Sequence[Vote]) -> bool:
    """Whether each order is of one mind with itself and of another mind than the other order."""
    sides = [
        _readable_verdicts([v for v in votes if v.label_first is side]) for side in (True, False)
    ]
    return all(len(side) == 1 for side in sides) and sides[0] != sides[1]
