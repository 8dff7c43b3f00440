"""JGLV: which of label and prediction is right? (method, section 5)

The judge compares, it never writes a label. Released code asks once, label first; here both orders
are asked, with as many votes each as configured, and what the votes do not agree on is `unjudged`.
A vote that cannot be read is no vote. A prediction that breaks the rules cannot be right, whatever
the judge says.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from looptool.calls import parse_arguments, parse_reply
from looptool.chat import Teacher, gather_bounded
from looptool.chat.outage import raise_if_down
from looptool.config import JudgeConfig
from looptool.decisions import relabel
from looptool.errors import TeacherError, shorten
from looptool.prompts import render
from looptool.records import (
    JsonObject,
    Judgement,
    Label,
    ProbeResult,
    Record,
    Sample,
    ToolCall,
    Verdict4,
    Vote,
)

__all__ = [
    "JudgeOutcome",
    "JudgeReply",
    "JudgeReport",
    "RuleCheck",
    "decide_verdict",
    "judge_mismatches",
    "read_prediction",
    "relabel",
]

STAGE = "judge"

RuleCheck = Callable[[Sample, Label], list[str]]
"""What is wrong with a label in the place of a sample's own; empty if nothing."""

ErrorType = Literal[
    "wrong_tool",
    "wrong_value",
    "missing_argument",
    "extra_argument",
    "missing_call",
    "extra_call",
    "should_ask",
    "should_not_call",
    "should_call",
    "other",
]
ERROR_TYPES: tuple[str, ...] = get_args(ErrorType)


class JudgeReply(BaseModel):
    """The JSON object that the prompt `judge_compare` asks for.

    An unknown error type does not spoil a vote (it is read as `other`); an unknown verdict does.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    error_analysis: str
    right_approach: str
    error_type: str
    verdict: Literal["A_WRONG", "B_WRONG", "BOTH_CORRECT", "BOTH_WRONG"]


class JudgeReport(Record):
    """Counts of one judging."""

    mismatches: int
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
    """LABEL_WRONG without a replacement, because replacing is switched off."""


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
    """Judges each mismatch; `rule_check` is the rule part of validation.

    Raises ValueError for a pair that is no mismatch, or whose probe failed for infrastructure
    reasons.
    """
    for sample, result in pairs:
        if result.sample_id != sample.sample_id or result.matched or result.failure:
            raise ValueError(f"{sample.sample_id} with probe of {result.sample_id} is no mismatch")
    predictions = [read_prediction(result) for _, result in pairs]
    ballots = [
        _Ballot(number, label_first, vote)
        for number in range(len(pairs))
        for label_first in ((True, False) if config.both_orders else (True,))
        for vote in range(1, config.votes + 1)
    ]
    cast = await gather_bounded(
        [_ask(b, pairs[b.pair][0], predictions[b.pair][0], config, teacher) for b in ballots]
    )
    raise_if_down([error for _, error in cast if error], len(cast))
    votes: list[list[Vote]] = [[] for _ in pairs]
    for ballot, (vote, _) in zip(ballots, cast, strict=True):
        votes[ballot.pair].append(vote)
    judgements = tuple(
        _judge(sample, prediction, tuple(pair_votes), config, rule_check)
        for (sample, _), prediction, pair_votes in zip(pairs, predictions, votes, strict=True)
    )
    return JudgeOutcome(judgements, _report(judgements))


@dataclass(frozen=True, slots=True)
class _Ballot:
    """One question to the judge."""

    pair: int
    label_first: bool
    vote: int


def read_prediction(result: ProbeResult) -> tuple[Label, str]:
    """The policy's answer as a label, and why it cannot be right as it stands (else empty).

    An answer that cannot be parsed stands there as text, so that the judge sees what the policy
    wrote.
    """
    reply = parse_reply(result.output)
    if reply.error or result.parse_error:
        trouble = f"the prediction cannot be parsed: {shorten(reply.error or result.parse_error)}"
        return Label(text=result.output.strip()), trouble
    calls = tuple(
        ToolCall(name=call["name"], arguments=parse_arguments(call["arguments"]))
        for call in reply.calls
    )
    label = Label(calls=calls, text=reply.text)
    return label, "" if calls or reply.text else "the prediction is empty"


def render_answer(label: Label) -> JsonObject:
    """An answer as prompts show it."""
    return {"content": label.text, "tool_calls": label.as_calls()}


async def _ask(
    ballot: _Ballot, sample: Sample, predicted: Label, config: JudgeConfig, teacher: Teacher
) -> tuple[Vote, TeacherError | None]:
    label, prediction = render_answer(sample.label), render_answer(predicted)
    answer_a, answer_b = (label, prediction) if ballot.label_first else (prediction, label)
    messages = render(
        "judge_compare",
        tools=sample.tool_specs(),
        conversation=sample.chat(),
        date=sample.date,
        answer_a=answer_a,
        answer_b=answer_b,
        vote=ballot.vote,
    )
    model = config.model or teacher.config.model
    try:
        reply = await teacher.ask(
            messages,
            reply=JudgeReply,
            stage=STAGE,
            model=config.model or None,
            temperature=config.temperature,
            seed=ballot.vote,
        )
    except TeacherError as error:
        vote = Vote(
            model=model,
            label_first=ballot.label_first,
            verdict="unreadable",
            error_analysis=shorten(error, 300),
        )
        return vote, error
    return _read_vote(reply, ballot.label_first, model), None


def _read_vote(reply: JudgeReply, label_first: bool, model: str) -> Vote:
    wrong: dict[str, Verdict4] = {
        "A_WRONG": "LABEL_WRONG" if label_first else "PRED_WRONG",
        "B_WRONG": "PRED_WRONG" if label_first else "LABEL_WRONG",
        "BOTH_CORRECT": "BOTH_CORRECT",
        "BOTH_WRONG": "BOTH_WRONG",
    }
    return Vote(
        model=model,
        label_first=label_first,
        verdict=wrong[reply.verdict],
        error_type=reply.error_type if reply.error_type in ERROR_TYPES else "other",
        error_analysis=reply.error_analysis,
        right_approach=reply.right_approach,
    )


def decide_verdict(votes: Sequence[Vote], both_orders: bool) -> tuple[Verdict4 | None, str]:
    """The verdict that the readable votes agree on, or None and why there is none.

    Up to two readable votes must be unanimous, more of them need more than two thirds; with both
    orders asked, a vote in each order must carry the verdict.
    """
    readable = [vote for vote in votes if vote.verdict != "unreadable"]
    if not readable:
        return None, "no readable vote"
    if both_orders and len({vote.label_first for vote in readable}) < 2:
        return None, "no readable vote in one of the two orders"
    counts = Counter(vote.verdict for vote in readable)
    verdict, most = counts.most_common(1)[0]
    agreed = most == len(readable) or (len(readable) > 2 and 3 * most > 2 * len(readable))
    carriers = {vote.label_first for vote in readable if vote.verdict == verdict}
    if verdict == "unreadable" or not agreed or (both_orders and len(carriers) < 2):
        spread = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        return None, f"the votes disagree: {spread}"
    return verdict, ""


def _judge(
    sample: Sample,
    prediction: tuple[Label, str],
    votes: tuple[Vote, ...],
    config: JudgeConfig,
    rule_check: RuleCheck,
) -> Judgement:
    predicted, trouble = prediction
    verdict, note = decide_verdict(votes, config.both_orders)
    if verdict is None:
        return Judgement(
            sample_id=sample.sample_id,
            verdict="unjudged",
            votes=votes,
            predicted=predicted,
            note=note,
        )
    first = next(vote for vote in votes if vote.verdict == verdict)
    new_label: Label | None = None
    final: Verdict4 | Literal["unjudged"] = verdict
    if verdict in ("LABEL_WRONG", "BOTH_CORRECT"):
        problem = trouble or "; ".join(rule_check(sample, predicted))
        if problem:
            final, note = "unjudged", f"{verdict} set aside: {problem}"
        elif verdict == "LABEL_WRONG" and config.replace_labels:
            new_label = Label(calls=predicted.calls, text="" if predicted.calls else predicted.text)
        elif verdict == "LABEL_WRONG":
            note = "label not replaced: judge.replace_labels is off"
    return Judgement(
        sample_id=sample.sample_id,
        verdict=final,
        votes=votes,
        predicted=predicted,
        error_type=first.error_type,
        error_analysis=first.error_analysis,
        right_approach=first.right_approach,
        new_label=new_label,
        note=note,
    )


def _report(judgements: Sequence[Judgement]) -> JudgeReport:
    votes = [vote for judgement in judgements for vote in judgement.votes]
    split = [j for j in judgements if len(_readable_verdicts(j.votes)) > 1]
    wrong = [j for j in judgements if j.verdict == "LABEL_WRONG"]
    errors = [j.error_type for j in judgements if j.verdict in ("LABEL_WRONG", "PRED_WRONG")]
    return JudgeReport(
        mismatches=len(judgements),
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
