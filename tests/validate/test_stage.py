"""Samples in parts: what the review of one part knows, and what it may not depend on."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from looptool.config import ValidateConfig
from looptool.errors import TeacherRefused
from looptool.records import (
    Kind,
    Label,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.validate import (
    ValidationOutcome,
    cut_parts,
    find_violations,
    review_part,
    summarise,
    validate_samples,
)

NOTE = make_tool(
    "note", "", {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
)


def sample(text: str, dialogue: str, value: str | None = None) -> Sample:
    return make_sample(
        kind=Kind.SINGLE,
        split=Split.TRAIN,
        tools=(NOTE,),
        messages=(UserMessage(content=f"Please write down {text}."),),
        label=Label(calls=(ToolCall(name="note", arguments={"text": value or text}),)),
        dialogue_id=dialogue,
    )


def approve(prompt: Any) -> Any:
    passed = {"contextual_fit": True, "logical_consistency": True, "intent": True}
    return {
        "steps": [
            {"index": index, "reason": "", **passed}
            for index, message in enumerate(prompt.json_of("conversation"))
            if message["role"] == "assistant"
        ]
    }


ROWS = [
    sample("tea", "d1"), sample("gin", "d1"), sample("rum", "d2"), sample("tea", "d3"),
    sample("ale", "d4", value="milk"), sample("cola", "d5"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (1, [[0, 1], [2], [3], [4], [5]]),
        (2, [[0, 1, 2], [3, 4], [5]]),
        (9, [[0, 1, 2, 3, 4, 5]]),
    ],
)
def test_parts_hold_whole_dialogues(size: int, parts: list[list[int]]) -> None:
    assert [list(places) for places in cut_parts(ROWS, size)] == parts


def test_no_samples_make_no_part() -> None:
    assert cut_parts([], 3) == []


def test_parts_together_find_what_the_whole_finds(endpoint: Callable[..., Any]) -> None:
    config = ValidateConfig()
    found = find_violations(ROWS, config)

    async def in_parts(teacher: Any) -> list[ValidationOutcome]:
        return [
            await review_part(
                [ROWS[number] for number in places],
                {number - places.start: found[number] for number in places if number in found},
                config,
                teacher,
                stage="validate",
            )
            for places in cut_parts(ROWS, 2)
        ]

    outcomes = endpoint(approve).ask(in_parts)
    whole = endpoint(approve).ask(
        lambda teacher: validate_samples(ROWS, config, teacher, stage="validate")
    )
    kept = tuple(row for outcome in outcomes for row in outcome.kept)
    rejected = tuple(row for outcome in outcomes for row in outcome.rejected)
    assert (kept, rejected) == (whole.kept, whole.rejected)
    assert [row.rule for row in rejected] == ["duplicate", "ungrounded_value"]
    reviewed = sum(outcome.report.conversations_reviewed for outcome in outcomes)
    assert summarise(kept, rejected, reviewed) == whole.report


def test_a_refused_review_is_about_its_rows_when_the_endpoint_is_known_to_answer(
    endpoint: Callable[..., Any],
) -> None:
    refusal = PlainTextResponse("no", status_code=400)

    def review(rows: list[Sample], proven: bool) -> ValidationOutcome:
        outcome: ValidationOutcome = endpoint(lambda _: refusal).ask(
            lambda teacher: review_part(
                rows, {}, ValidateConfig(), teacher, stage="validate", proven=proven
            )
        )
        return outcome

    outcome = review(ROWS[:1], proven=True)
    assert [(row.rule, row.row_id) for row in outcome.rejected] == [
        ("unreviewed", ROWS[0].sample_id)
    ]
    with pytest.raises(TeacherRefused):
        review(ROWS[:1], proven=False)
    with pytest.raises(TeacherRefused):
        review([sample(f"drink {n}", f"d{n}") for n in range(20)], proven=True)


def test_without_review_the_rules_alone_decide() -> None:
    outcome = asyncio.run(validate_samples(ROWS, ValidateConfig(review=False), None, stage="v"))
    assert outcome.report.conversations_reviewed == 0
    assert len(outcome.kept) == 4
