"""Each rule about samples and dialogues is broken alone, by one change to a good one."""

import asyncio
from typing import Any

import pytest

from looptool.config import ValidateConfig
from looptool.records import (
    AssistantMessage,
    Dialogue,
    Kind,
    Label,
    Message,
    Sample,
    Split,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.validate import (
    RULES,
    check_dialogue,
    check_label,
    check_sample,
    find_label_problems,
    validate_samples,
)
from looptool.validate.rules import find_duplicates

WEATHER = make_tool(
    "get_weather",
    "Weather of a city on a day.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "day": {"type": "string", "format": "date"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "hours": {"type": "integer", "default": 24},
        },
        "required": ["city"],
    },
)
SEARCH = make_tool(
    "search",
    "Finds pages.",
    {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["query"],
    },
)
ASK = UserMessage(content="How is the weather in Porto tomorrow?")
CALL = ToolCall(name="get_weather", arguments={"city": "Porto"})
RESULT = ToolMessage(name="get_weather", content='{"sky": "clear", "high": 21}')
CALLED = AssistantMessage(calls=(CALL,))
TOLD = AssistantMessage(content="Clear, 21 degrees.")
NEXT = UserMessage(content="Please search for museums in Porto too.")


def sample(**changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "kind": Kind.SINGLE,
        "split": Split.TRAIN,
        "tools": (WEATHER, SEARCH),
        "messages": (ASK,),
        "label": Label(calls=(CALL,)),
        "date": "2031-03-05",
        "dialogue_id": "d-1",
    }
    return make_sample(**(fields | changes))


def broken(row: Sample) -> list[str]:
    return [violation.rule for violation in check_sample(row)]


def test_good_samples_break_no_rule() -> None:
    assert broken(sample()) == []
    assert broken(sample(messages=(SystemMessage(content="Be brief."), ASK))) == []
    later = (ASK, CALLED, RESULT, TOLD, NEXT)
    museums = Label(calls=(ToolCall(name="search", arguments={"query": "museums in Porto"}),))
    assert broken(sample(messages=later, label=museums, kind=Kind.MULTI_TURN)) == []
    summary = sample(messages=(ASK, CALLED, RESULT), label=Label(text="Clear."), kind=Kind.SUMMARY)
    assert broken(summary) == []


BROKEN_SAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("ambiguous_tools", {"tools": (WEATHER, SEARCH, SEARCH)}),
    ("role_order", {"messages": (ASK, NEXT)}),
    ("role_order", {"messages": (ASK, TOLD)}),
    ("role_order", {"messages": (ASK, TOLD, TOLD, NEXT)}),
    ("role_order", {"messages": (ASK, SystemMessage(content="x"), NEXT)}),
    ("results_answer_calls", {"messages": (ASK, RESULT)}),
    ("results_answer_calls", {"messages": (ASK, AssistantMessage(calls=(CALL, CALL)), RESULT)}),
    (
        "results_answer_calls",
        {"messages": (ASK, CALLED, RESULT.model_copy(update={"name": "search"}))},
    ),
    ("bad_result", {"messages": (ASK, CALLED, ToolMessage(name=CALL.name, content="clear"))}),
    ("empty_turn", {"messages": (ASK, AssistantMessage(content=" "), ASK)}),
    (
        "repeated_lines",
        {"messages": (UserMessage(content="How is Porto today?\nHow is Porto today?"),)},
    ),
    ("tool_name_leak", {"messages": (UserMessage(content="Use get_weather for Porto."),)}),
    (
        "repeated_lines",
        {"messages": (UserMessage(content="Porto\n请问明天的天气\n请问明天的天气"),)},
    ),
    ("kind_mismatch", {"kind": Kind.NO_TOOL}),
    ("ungrounded_value", {"messages": (UserMessage(content="How is the weather?"),)}),
]


@pytest.mark.parametrize(("rule", "changes"), BROKEN_SAMPLES)
def test_each_rule_is_broken_alone(rule: str, changes: dict[str, Any]) -> None:
    assert broken(sample(**changes)) == [rule]


BROKEN_LABELS = [
    ("empty_label", Label(text=" ")),
    ("unknown_tool", Label(calls=(ToolCall(name="get_wether", arguments={"city": "Porto"}),))),
    (
        "bad_arguments",
        Label(calls=(ToolCall(name="get_weather", arguments={"city": float("inf")}),)),
    ),
    ("missing_required", Label(calls=(ToolCall(name="get_weather"),))),
    ("wrong_type", Label(calls=(ToolCall(name="search", arguments={"query": True}),))),
    (
        "wrong_type",  # a bool is no integer
        Label(calls=(ToolCall(name="search", arguments={"query": "Porto", "limit": True}),)),
    ),
    (
        "unknown_parameter",
        Label(calls=(ToolCall(name="search", arguments={"query": "Porto", "in": "Porto"}),)),
    ),
    (
        "schema",
        Label(calls=(ToolCall(name=CALL.name, arguments={"city": "Porto", "day": "tomorrow"}),)),
    ),
]


@pytest.mark.parametrize(("rule", "label"), BROKEN_LABELS)
def test_each_fault_of_a_label_is_named(rule: str, label: Label) -> None:
    assert [v.rule for v in check_label(sample(), label, grounding=rule != "bad_arguments")] == [
        rule
    ]
    assert find_label_problems(sample(), label)[0].startswith(rule)


def test_every_rule_is_broken_alone_somewhere_above() -> None:
    shown = {rule for rule, _ in BROKEN_SAMPLES} | {rule for rule, _ in BROKEN_LABELS}
    assert shown | {"duplicate"} == set(RULES)


def test_a_sample_that_says_the_same_as_an_earlier_one_is_a_duplicate() -> None:
    first, other_tools = sample(), sample(tools=(SEARCH, WEATHER), dialogue_id="d-2")
    other_words = sample(messages=(UserMessage(content="Porto tomorrow, how is it?"),))
    assert find_duplicates([first, other_tools, other_words]) == {1: first.sample_id}


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ([sample(), sample(dialogue_id="d-2")], "duplicate"),
        ([sample(label=Label(calls=(ToolCall(name="no_such", arguments={}),)))], "unknown_tool"),
    ],
)
def test_a_rejected_sample_is_counted_by_the_name_of_its_rule(
    rows: list[Sample], rule: str
) -> None:
    outcome = asyncio.run(
        validate_samples(rows, ValidateConfig(review=False), None, stage="validate")
    )
    assert outcome.report.by_rule == {rule: 1}
    assert [rejection.rule for rejection in outcome.rejected] == [rule]


def test_a_plain_word_or_a_part_of_a_longer_one_is_no_leak() -> None:
    said = (UserMessage(content="Please search the weather in Porto; forget_weather_now."),)
    assert broken(sample(messages=said)) == []


@pytest.mark.parametrize("name", ["findPlaces", "find-places", "find_places", "places.find"])
def test_names_of_several_words_leak_in_every_spelling(name: str) -> None:
    tool = make_tool(name.replace(".", "_"), "", {"type": "object", "properties": {}})
    renamed = tool.model_copy(update={"name": name})
    row = sample(
        tools=(WEATHER, renamed), messages=(UserMessage(content=f"Porto weather by {name}!"),)
    )
    assert broken(row) == ["tool_name_leak"]


def test_a_wrong_call_in_the_context_is_a_fault_unless_its_tool_said_so() -> None:
    wrong = AssistantMessage(calls=(ToolCall(name="get_weather", arguments={"town": "Porto"}),))
    failed = ToolMessage(name="get_weather", content='{"error": "city is missing"}')
    assert broken(sample(messages=(ASK, wrong, RESULT), kind=Kind.MULTI_STEP)) == [
        "missing_required",
        "unknown_parameter",
    ]
    assert broken(sample(messages=(ASK, wrong, failed), kind=Kind.RETRY)) == []


def dialogue(*messages: Message, **changes: Any) -> Dialogue:
    return Dialogue(
        dialogue_id="d-1",
        kind=Kind.SINGLE,
        split=Split.TRAIN,
        tools=(WEATHER, SEARCH),
        messages=messages,
        **changes,
    )


def test_a_dialogue_is_checked_step_by_step_against_what_was_said_before() -> None:
    late = ToolCall(name="search", arguments={"query": "museums"})
    good = dialogue(ASK, CALLED, RESULT, TOLD, NEXT, AssistantMessage(calls=(late,)))
    assert [v.rule for v in check_dialogue(good)] == ["results_answer_calls"]
    early = dialogue(ASK, AssistantMessage(calls=(late,)), ToolMessage(name="search", content="1"))
    assert [(v.rule, v.path) for v in check_dialogue(early)] == [
        ("ungrounded_value", "messages[1].calls[0].query")
    ]
    assert check_dialogue(early, grounding=False) == []
    assert check_dialogue(early.model_copy(update={"marked_turns": (1,)})) == []


def test_a_dialogue_does_not_end_with_the_user() -> None:
    assert [v.rule for v in check_dialogue(dialogue(ASK, CALLED, RESULT, TOLD, NEXT))] == [
        "role_order"
    ]
