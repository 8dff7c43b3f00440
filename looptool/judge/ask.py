"""One question to one judge: the prompt, the reply, the vote.

The judge compares, it never writes a label. A reply that cannot be read is a vote of its own kind,
`unreadable`, and counts for nothing.
"""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from looptool.chat import Teacher
from looptool.config import JudgeConfig
from looptool.errors import TeacherError, shorten
from looptool.judge.pairs import Pair
from looptool.prompts import render
from looptool.records import JsonObject, Label, Record, Verdict4, Vote

STAGE = "judge"

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


class Ballot(Record):
    """Which question: the pair, the order of its answers, the number of the vote, and who is asked."""

    pair: int
    label_first: bool
    vote: int
    """From 1, in each order."""
    model: str
    """Empty: the teacher's."""


def list_ballots(pairs: int, config: JudgeConfig) -> list[Ballot]:
    """All questions about so many pairs: in each order the votes go round the models."""
    models = config.models or ("",)
    return [
        Ballot(
            pair=pair,
            label_first=label_first,
            vote=vote,
            model=models[(vote - 1) % len(models)],
        )
        for pair in range(pairs)
        for label_first in ((True, False) if config.both_orders else (True,))
        for vote in range(1, config.votes + 1)
    ]


def render_answer(label: Label) -> JsonObject:
    """An answer as prompts show it."""
    return {"content": label.text, "tool_calls": label.as_calls()}


async def ask(
    ballot: Ballot, pair: Pair, config: JudgeConfig, teacher: Teacher
) -> tuple[Vote, TeacherError | None]:
    """The vote, and what went wrong where it is unreadable."""
    sample = pair.sample
    label, prediction = render_answer(sample.label), render_answer(pair.predicted)
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
    model = ballot.model or teacher.config.model
    try:
        reply = await teacher.ask(
            messages,
            reply=JudgeReply,
            stage=STAGE,
            model=ballot.model or None,
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
    return read_vote(reply, ballot.label_first, model), None


def read_vote(reply: JudgeReply, label_first: bool, model: str) -> Vote:
    """A reply about answers A and B as a vote on label and prediction."""
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
