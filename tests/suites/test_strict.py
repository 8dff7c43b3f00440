"""A benchmark's answers by our rule: any of the possible values, and defects of labels apart."""

import json
from typing import Any

import pytest

from looptool.suites import acebench_labels
from looptool.suites.bfcl_labels import judge_item
from looptool.suites.strict import Verdict

WEATHER = {
    "name": "weather.get",
    "description": "Weather of a city.",
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "default": 3},
            "factor": {"type": "float"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "where": {"type": "dict", "properties": {"country": {"type": "string"}}},
        },
        "required": ["city"],
    },
}


def _function(name: str, **properties: str) -> dict[str, Any]:
    typed = {key: {"type": kind} for key, kind in properties.items()}
    parameters = {"type": "dict", "properties": typed, "required": []}
    return {"name": name, "description": "", "parameters": parameters}


CD, LS = _function("cd", folder="string"), _function("ls", a="boolean")


def judge(answer: Any, label: Any, category: str = "simple_python", *tools: Any) -> Verdict:
    turns = len(label) if isinstance(label, list) else 1
    item = {"functions": tools or (WEATHER,), "label": label, "answer": answer, "turns": turns}
    return judge_item(category, item)


def call(**arguments: Any) -> list[dict[str, Any]]:
    return [{"weather_get": json.dumps(arguments)}]


LABEL = [{"weather.get": {"city": ["Rome", "Roma"], "days": [5, ""], "factor": ["", 2.0]}}]


@pytest.mark.parametrize(
    "arguments",
    [{"city": "Rome"}, {"city": "Roma", "days": 5}, {"city": "Rome", "days": 3}, {"city": "Rome", "factor": 2}],
)  # fmt: skip
def test_any_possible_value_is_right_and_so_is_a_default(arguments: dict[str, Any]) -> None:
    assert judge(call(**arguments), LABEL).matched is True


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "rome"},  # BFCL folds case and drops punctuation; our rule does not
        {"city": "Ro.me"},
        {"city": "Rome", "days": 4},
        {"city": "Rome", "days": "5"},
        {"city": "Rome", "days": True},
        {"city": "Rome", "unit": "C"},
        {"days": 5},
    ],
)
def test_what_is_not_equal_to_any_choice_is_wrong(arguments: dict[str, Any]) -> None:
    assert judge(call(**arguments), LABEL).matched is False


def test_objects_of_choices_are_taken_apart() -> None:
    label = [{"weather.get": {"city": ["Rome"], "where": [{"country": ["Italy", "IT"]}]}}]
    assert judge(call(city="Rome", where={"country": "IT"}), label).matched is True
    assert judge(call(city="Rome", where={"country": "FR"}), label).matched is False


def test_calls_in_parallel_have_no_order_and_each_counts_once() -> None:
    label = [{"weather.get": {"city": ["Rome"]}}, {"weather.get": {"city": ["Oslo"]}}]
    rome, oslo = call(city="Rome"), call(city="Oslo")
    assert judge(oslo + rome, label, "parallel").matched is True
    assert judge(rome + rome, label, "parallel").matched is False
    assert judge(rome, label, "parallel").note == "1 calls, 2 expected"


def test_words_are_no_call_and_unreadable_arguments_match_nothing() -> None:
    assert judge("Rome is sunny.", LABEL).matched is False
    assert judge([{"weather_get": "{'city': 'Rome'}"}], LABEL).matched is False


def test_a_label_that_breaks_its_own_schema_is_not_the_policys_fault() -> None:
    verdict = judge(call(city="Rome"), [{"weather.get": {"city": [7]}}])
    assert verdict.matched is None
    assert "label" in verdict.note
    assert judge(call(city="Rome"), [{"weather.get": {"city": []}}]).matched is None
    assert judge(call(city="Rome"), [{"other": {"city": ["Rome"]}}]).matched is None
    assert judge([], LABEL, "simple_python", {"name": "x", "parameters": "?"}).matched is None


def test_silence_wants_words_and_a_garbled_call_is_none() -> None:
    assert judge("No tool can do that.", None, "irrelevance").matched is True
    assert judge("", None, "irrelevance").matched is False
    assert judge('<tool_call>{"name": "f", ', None, "live_irrelevance").matched is False
    assert judge(call(city="Rome"), None, "irrelevance").matched is False


def test_relevance_wants_calls_that_their_tools_take() -> None:
    assert judge(call(city="Rome"), None, "live_relevance").matched is True
    assert judge(call(days=5), None, "live_relevance").matched is False
    assert judge("Perhaps.", None, "live_relevance").matched is False


def test_turns_are_compared_call_by_call_in_the_labels_order() -> None:
    label = [["cd('docs')", "ls(a=True)"], []]
    right = [[[{"cd": '{"folder": "docs"}'}], [{"ls": '{"a": true}'}], "Done."], ["What else?"]]
    turned = [[[{"ls": '{"a": true}'}], [{"cd": '{"folder": "docs"}'}], "Done."], ["What else?"]]
    detour = [right[0], [[{"ls": "{}"}], "Here."]]
    judged = [judge(a, label, "multi_turn_base", CD, LS).matched for a in (right, turned, detour)]
    assert judged == [True, False, False]
    assert judge(right[:1], label, "multi_turn_base", CD, LS).matched is False


def test_a_label_is_read_and_never_run() -> None:
    label = [["cd(__import__('os').getcwd())"]]
    assert judge([["x"]], label, "multi_turn_base", CD, LS).matched is None


def test_values_of_other_languages_are_not_decided_on() -> None:
    assert judge(call(city="Rome"), LABEL, "simple_java").matched is None


ACE = {
    "name": "Trip.plan",
    "arguments": {
        "type": "object",
        "properties": {
            "to": {"type": "string"},
            "days": {"type": "int"},
            "stops": {"type": "list"},
        },
        "required": ["to"],
    },
    "results": {"type": "object"},
}


def judge_ace(answer: str, label: Any, category: str = "normal_atom_number") -> bool | None:
    item = {"functions": [ACE], "label": label, "answer": answer}
    return acebench_labels.judge_item(category, item).matched


def test_calls_in_python_syntax_are_read_by_the_same_rule() -> None:
    label = {"Trip.plan": {"to": "Rome", "days": 5}}
    assert judge_ace("Sure: [Trip.plan(to='Rome', days=5)] done", label) is True
    assert judge_ace("[Trip.plan(to='Rome', days=6)]", label) is False  # officially right
    assert judge_ace("[Trip.plan(to='to Rome we go', days=5)]", label) is False  # officially right
    assert judge_ace("I cannot.", label) is False
    assert judge_ace("[Trip.plan(to=open('/etc/passwd').read())]", label) is False
    twice = {"Trip.plan_1": {"to": "Rome"}, "Trip.plan_2": {"to": "Oslo"}}
    assert judge_ace("[Trip.plan(to='Oslo'), Trip.plan(to='Rome')]", twice) is True


def test_any_of_several_labels_is_right_and_sentences_are_not_decided_on() -> None:
    labels = [{"Trip.plan": {"to": "Rome"}}, {"Trip.plan": {"to": "Roma"}}]
    assert judge_ace("[Trip.plan(to='Roma')]", labels) is True
    assert judge_ace("There is incorrect value", labels, "special_error_param") is None
