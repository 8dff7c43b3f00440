"""veRL's reward function: what it returns, what it marks, and when it raises."""

import json
import subprocess
import sys
from typing import Any

import pytest

from looptool.calls import compute_score, render_calls
from looptool.errors import DataError

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "math.add",
            "parameters": {"properties": {"a": {"type": "integer"}, "note": {"type": "string"}}},
        },
    }
]
RIGHT = [{"name": "math.add", "arguments": {"a": 1, "note": "x"}}]
KEYS = {"score", "acc", "relaxed", "parse_error", "no_call", "defect"}


def score(solution: str, calls: Any = RIGHT, **more: Any) -> dict[str, float]:
    truth = {"calls": calls, "tools": TOOLS, **more}
    result = compute_score("looptool", solution, json.dumps(truth), {"index": 1})
    assert result == compute_score("looptool", solution, truth)
    assert result.keys() == KEYS
    assert all(type(value) is float and value in (0.0, 1.0) for value in result.values())
    return {key: value for key, value in result.items() if value}


def test_the_right_answer_scores_one() -> None:
    assert score(render_calls(RIGHT)) == {"score": 1.0, "acc": 1.0, "relaxed": 1.0}


def test_the_wrong_answer_scores_zero() -> None:
    wrong = [{"name": "math.add", "arguments": {"a": 2, "note": "x"}}]
    assert score(render_calls(wrong)) == {}


def test_a_nearly_right_string_is_recorded_and_not_rewarded() -> None:
    near = [{"name": "math.add", "arguments": {"a": 1, "note": "X."}}]
    assert score(render_calls(near)) == {"relaxed": 1.0}


def test_a_reply_that_cannot_be_read_is_a_parse_error() -> None:
    assert score("<tool_call>{") == {"parse_error": 1.0}


def test_words_score_on_a_label_without_calls_and_silence_does_not() -> None:
    assert score("No tool fits.", []) == {"score": 1.0, "acc": 1.0, "relaxed": 1.0, "no_call": 1.0}
    assert score("", []) == {"no_call": 1.0}
    assert score("<tool_call>", []) == {"parse_error": 1.0}


def test_a_broken_label_is_marked_as_a_defect() -> None:
    broken = [{"name": "math.add", "arguments": {"a": "1"}}]
    assert score(render_calls(broken), broken) == {"defect": 1.0}


def test_order_and_names_follow_the_sample() -> None:
    second = [{"name": "math.add", "arguments": {"a": 2}}]
    reply = render_calls(second + RIGHT)
    assert score(reply, RIGHT + second)["score"] == 1.0
    assert score(reply, RIGHT + second, ordered=True) == {}
    sent = render_calls([RIGHT[0] | {"name": "math_add"}])
    assert score(sent) == {}
    assert score(sent, name_map={"math.add": "math_add"})["score"] == 1.0
    assert score(render_calls(RIGHT), name_map=None, ordered=False)["score"] == 1.0


@pytest.mark.parametrize(
    "truth",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"calls": []}',
        '{"calls": {}, "tools": []}',
        '{"calls": [], "tools": [{}]}',
        '{"calls": [], "tools": [], "ordered": "yes"}',
        '{"calls": [], "tools": [], "name_map": ["a"]}',
        '{"calls": [], "tools": [], "name_map": {"a": 1}}',
        "[" * 100_000,
        5,
        None,
    ],
)
def test_a_malformed_ground_truth_raises(truth: Any) -> None:
    with pytest.raises(DataError):
        compute_score("looptool", "hello", truth)


def test_the_reward_needs_nothing_but_the_standard_library_to_import() -> None:
    code = "import sys, looptool.calls; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = {"pydantic", "jsonschema", "referencing", "torch", "verl", "prefect", "pyarrow"}
    assert not foreign & set(run.stdout.split())
