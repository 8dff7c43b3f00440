"""What the reviewer says decides; what it does not say is never a pass."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from looptool.config import ValidateConfig
from looptool.errors import ConfigError, TeacherRefused, TeacherUnavailable
from looptool.records import (
    AssistantMessage,
    Dialogue,
    Kind,
    Label,
    Message,
    Sample,
    Split,
    ToolCall,
    ToolMessage,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.validate import ValidationOutcome, review_dialogues, validate_samples

NOTE = make_tool(
    "note",
    "Writes a note.",
    {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)


def conversation(turns: int, topic: str = "tea") -> list[Message]:
    """`turns` rounds of request, call, result and summary; assistant messages at 1, 3, 5, 7, …"""
    messages: list[Message] = []
    for number in range(turns):
        text = f"{topic} {number}"
        messages += [
            UserMessage(content=f"Please write down {text}."),
            AssistantMessage(calls=(ToolCall(name="note", arguments={"text": text}),)),
            ToolMessage(name="note", content='{"ok": true}'),
            AssistantMessage(content=f"Written: {text}."),
        ]
    return messages


def cut(messages: Sequence[Message], index: int, dialogue_id: str = "d-1") -> Sample:
    """The sample of the decision at `index`."""
    step = messages[index]
    assert isinstance(step, AssistantMessage)
    kind = (Kind.SINGLE if index == 1 else Kind.MULTI_TURN) if step.calls else Kind.SUMMARY
    return make_sample(
        kind=kind,
        split=Split.TRAIN,
        tools=(NOTE,),
        messages=tuple(messages[:index]),
        label=Label(calls=step.calls, text=step.content),
        dialogue_id=dialogue_id,
    )


def review(prompt: Any, bad: dict[int, str] | None = None) -> dict[str, Any]:
    """A review of every assistant message, with one failed criterion for each index in `bad`."""
    steps = []
    for index, message in enumerate(prompt.json_of("conversation")):
        if message["role"] == "assistant":
            step = {"contextual_fit": True, "logical_consistency": True, "intent": True}
            if bad and index in bad:
                step[bad[index]] = False
            steps.append({"index": index, "reason": "because", **step})
    return {"steps": steps}


def validate(samples: Sequence[Sample], server: Any, **config: Any) -> ValidationOutcome:
    outcome: ValidationOutcome = server.ask(
        lambda teacher: validate_samples(
            samples, ValidateConfig(**config), teacher, stage="validate"
        )
    )
    return outcome


def test_samples_of_one_dialogue_share_one_review(endpoint: Callable[..., Any]) -> None:
    messages = conversation(2)
    samples = [cut(messages, index) for index in (1, 3, 5, 7)]
    server = endpoint(review)
    outcome = validate(samples, server)
    assert outcome.kept == tuple(samples)
    assert len(server.prompts) == outcome.report.conversations_reviewed == 1
    assert len(server.prompts[0].json_of("conversation")) == 8


@pytest.mark.parametrize("criterion", ["contextual_fit", "logical_consistency", "intent"])
def test_a_failed_step_rejects_its_sample_and_those_after_it(
    endpoint: Callable[..., Any], criterion: str
) -> None:
    messages = conversation(2)
    samples = [cut(messages, index) for index in (1, 3, 5, 7)]
    outcome = validate(samples, endpoint(lambda p: review(p, {3: criterion})))
    assert outcome.kept == tuple(samples[:1])
    assert {r.rule for r in outcome.rejected} == {f"review_{criterion}"}
    assert [r.row_id for r in outcome.rejected] == [s.sample_id for s in samples[1:]]
    assert Sample.model_validate(outcome.rejected[0].row) == samples[1]


def test_a_sample_that_is_no_part_of_the_longest_is_reviewed_by_itself(
    endpoint: Callable[..., Any],
) -> None:
    messages = conversation(2)
    long, changed = cut(messages, 5), cut(messages, 1)
    other = Label(calls=(ToolCall(name="note", arguments={"text": "write down tea"}),))
    changed = changed.model_copy(update={"label": other})
    server = endpoint(review)
    assert len(validate([changed, long], server).kept) == 2
    assert len(server.prompts) == 2


def test_a_step_that_the_review_leaves_out_is_unreviewed(endpoint: Callable[..., Any]) -> None:
    def partial(prompt: Any) -> dict[str, Any]:
        return {"steps": review(prompt)["steps"][:1]}

    messages = conversation(1)
    outcome = validate([cut(messages, 1), cut(messages, 3)], endpoint(partial))
    assert [sample.kind for sample in outcome.kept] == [Kind.SINGLE]
    assert outcome.report.by_rule == {"unreviewed": 1}


@pytest.mark.parametrize(
    "garbage",
    [
        "I think it is fine.",
        {"steps": "all good"},
        {"steps": [{"index": 1, "contextual_fit": "true"}]},
        {"steps": [], "verdict": "pass"},
    ],
)
def test_an_unreadable_review_is_never_a_pass(
    endpoint: Callable[..., Any], garbage: object
) -> None:
    outcome = validate([cut(conversation(1), 1)], endpoint(lambda _: garbage))
    assert outcome.kept == ()
    assert outcome.rejected[0].rule == "unreviewed"


def test_one_refusal_rejects_a_row_and_nothing_but_refusals_stops_the_stage(
    endpoint: Callable[..., Any],
) -> None:
    tea, gin = cut(conversation(1), 1), cut(conversation(1, "gin"), 1, "d-2")
    refusal = PlainTextResponse("no", status_code=400)
    outcome = validate([tea, gin], endpoint(lambda p: refusal if "gin" in p.text else review(p)))
    assert outcome.kept == (tea,)
    assert outcome.rejected[0].rule == "unreviewed"
    with pytest.raises(TeacherRefused):
        validate([tea, gin], endpoint(lambda _: refusal))


def test_an_outage_is_an_error_and_not_data(endpoint: Callable[..., Any]) -> None:
    samples = [cut(conversation(1, f"tea{n}"), 1, f"d-{n}") for n in range(30)]
    broken = PlainTextResponse("down", status_code=503)
    one = validate(samples, endpoint(lambda p: broken if "tea7 " in p.text else review(p)))
    assert [r.rule for r in one.rejected] == ["unreviewed"]
    with pytest.raises(TeacherUnavailable):
        validate(samples, endpoint(lambda p: broken if "tea1" in p.text else review(p)))


def test_dialogues_are_reviewed_whole(endpoint: Callable[..., Any]) -> None:
    rows = [
        Dialogue(
            dialogue_id=topic,
            kind=Kind.SINGLE,
            split=Split.TRAIN,
            tools=(NOTE,),
            messages=tuple(conversation(1, topic)),
        )
        for topic in ("tea", "gin")
    ]
    server = endpoint(lambda p: review(p, {3: "intent"} if "gin" in p.text else None))
    found = server.ask(lambda teacher: review_dialogues(rows, teacher))
    assert [violation and violation.rule for violation in found] == [None, "review_intent"]


def test_rules_come_first_and_order_is_kept(endpoint: Callable[..., Any]) -> None:
    messages = conversation(1)
    good = cut(messages, 1)
    empty = good.model_copy(update={"sample_id": "s-empty", "label": Label()})
    twin = good.model_copy(update={"sample_id": "s-twin"})
    server = endpoint(review)
    outcome = validate([empty, good, twin], server)
    assert outcome.kept == (good,)
    assert [(r.row_id, r.rule) for r in outcome.rejected] == [
        ("s-empty", "kind_mismatch"),
        ("s-twin", "duplicate"),
    ]
    assert outcome.report.by_rule == {"duplicate": 1, "kind_mismatch": 1}
    assert outcome.report.kept_by_kind == {"single": 1}
    assert len(server.prompts) == 1


def test_without_review_no_teacher_is_asked_and_with_it_one_is_needed() -> None:
    import asyncio

    samples = [cut(conversation(1), 1)]
    off, on = ValidateConfig(review=False), ValidateConfig()
    outcome = asyncio.run(validate_samples(samples, off, None, stage="validate"))
    assert outcome.kept == tuple(samples)
    with pytest.raises(ConfigError, match=r"validate\.review"):
        asyncio.run(validate_samples(samples, on, None, stage="validate"))


def test_grounding_can_be_switched_off(endpoint: Callable[..., Any]) -> None:
    sample = cut(conversation(1), 1)
    invented = Label(calls=(ToolCall(name="note", arguments={"text": "coffee"}),))
    sample = sample.model_copy(update={"label": invented})
    assert validate([sample], endpoint(review)).report.by_rule == {"ungrounded_value": 1}
    assert validate([sample], endpoint(review), grounding=False).kept == (sample,)
