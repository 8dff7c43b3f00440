"""Replies as models write them: what counts as reasoning, as a call, as text, and as an error."""

import json
import time
from typing import Any

import pytest

from looptool.calls import (
    ArgumentsError,
    Reply,
    answers_match,
    canonical_json,
    parse_arguments,
    parse_reply,
    render_calls,
)
from looptool.errors import DataError
from looptool.records import canonical_json as canonical_json_of_records

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
ONE_LINE = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
READ = {"name": "f", "arguments": {"a": 1}}
TOOLS = [{"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}]


REPLIES = [
    ("text alone", "Hello.", Reply(None, (), "Hello.", None)),
    ("nothing", "", Reply(None, (), "", None)),
    ("a call over several lines", CALL, Reply(None, (READ,), "", None)),
    ("released: a call on one line", ONE_LINE, Reply(None, (READ,), "", None)),
    ("two calls", CALL + ONE_LINE, Reply(None, (READ, READ), "", None)),
    ("text around calls", f"A {CALL}\nB\n{CALL} C", Reply(None, (READ, READ), "A\nB\nC", None)),
    ("reasoning first", f"<think>\nWhy\n</think>\n\n{CALL}", Reply("Why", (READ,), "", None)),
    ("empty reasoning", f"<think>\n\n</think>\n\n{CALL}", Reply("", (READ,), "", None)),
    ("released: a call in the reasoning", f"<think>{CALL}</think>", Reply(CALL, (), "", None)),
    ("unclosed reasoning", f"A<think> {CALL} B", Reply(f"{CALL} B", (), "A", None)),
    ("reasoning opened by the prompt", f"Hm {CALL}</think>B", Reply(f"Hm {CALL}", (), "B", None)),
    (
        "a broken block in reasoning opened by the prompt",
        "<tool_call> no</think> B",
        Reply("<tool_call> no", (), "B", None),
    ),
    ("two thoughts", "<think>A</think>B<think>C</think>D", Reply("A\nC", (), "B\nD", None)),
    (
        "a thought that names its marker",
        "<think>a <think> b</think>c",
        Reply("a <think> b", (), "c", None),
    ),
    ("end markers", f"{CALL}<|im_end|>\n<|endoftext|>\n", Reply(None, (READ,), "", None)),
    ("end markers alone", "<|im_end|>", Reply(None, (), "", None)),
    (
        "no arguments",
        '<tool_call>{"name": "f"}</tool_call>',
        Reply(None, ({"name": "f", "arguments": {}},), "", None),
    ),
    (
        "null arguments",
        '<tool_call>{"name": "f", "arguments": null}</tool_call>',
        Reply(None, ({"name": "f", "arguments": {}},), "", None),
    ),
    (
        "arguments as text stay text",
        r'<tool_call>{"name": "f", "arguments": "{\"a\": 1}"}</tool_call>',
        Reply(None, ({"name": "f", "arguments": '{"a": 1}'},), "", None),
    ),
    (
        "markers inside a string",
        '<tool_call>{"name": "f", "arguments": {"a": "</tool_call><think>"}}</tool_call>',
        Reply(None, ({"name": "f", "arguments": {"a": "</tool_call><think>"}},), "", None),
    ),
    ("a call without its markers is text", '{"name": "f"}', Reply(None, (), '{"name": "f"}', None)),
]


@pytest.mark.parametrize(("text", "reply"), [pytest.param(t, r, id=i) for i, t, r in REPLIES])
def test_a_reply_is_taken_apart(text: str, reply: Reply) -> None:
    assert parse_reply(text) == reply


MALFORMED = [
    ("an unclosed call", '<tool_call>{"name": "f", "arguments": {}}', "</tool_call> expected"),
    ("a call cut short", '<tool_call>{"name": "f", "argu', "Unterminated string"),
    ("a call after a good one", CALL + "<tool_call>", "tool call 2"),
    ("a good call after a broken one", "<tool_call>{}</tool_call>" + CALL, "tool call 1"),
    ("a closing marker alone", "</tool_call>", "without <tool_call>"),
    ("a list", "<tool_call>[]</tool_call>", "an array, not an object"),
    (
        "a string, encoded twice",
        r'<tool_call>"{\"name\": \"f\"}"</tool_call>',
        "a string, not an object",
    ),
    (
        "two objects in one block",
        '<tool_call>{"name": "f"}{"name": "f"}</tool_call>',
        "expected at",
    ),
    ("single quotes", "<tool_call>{'name': 'f'}</tool_call>", "double quotes"),
    (
        "Python literals",
        '<tool_call>{"name": "f", "arguments": {"a": True}}</tool_call>',
        "Expecting value",
    ),
    ("NaN", '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', "NaN is not JSON"),
    (
        "Infinity",
        '<tool_call>{"name": "f", "arguments": {"a": -Infinity}}</tool_call>',
        "-Infinity",
    ),
    (
        "a number beyond every double",
        '<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>',
        "range",
    ),
    ("duplicate keys", '<tool_call>{"name": "f", "name": "f"}</tool_call>', "duplicate key 'name'"),
    ("no name", '<tool_call>{"arguments": {}}</tool_call>', '"name"'),
    ("an empty name", '<tool_call>{"name": "", "arguments": {}}</tool_call>', '"name"'),
    ("another key", '<tool_call>{"name": "f", "parameters": {"a": 1}}</tool_call>', "'parameters'"),
    ("a list of arguments", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>', "an array"),
    (
        "arguments encoded twice",
        r'<tool_call>{"name": "f", "arguments": "\"{}\""}</tool_call>',
        "a string",
    ),
    (
        "a bare line break in a string",
        '<tool_call>{"name": "f\n"}</tool_call>',
        "control character",
    ),
    (
        "half of a surrogate pair",
        r'<tool_call>{"name": "f", "arguments": {"a": "\uD800"}}</tool_call>',
        "surrogate",
    ),
    (
        "deep nesting",
        '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 100 + "]" * 100 + "}}</tool_call>",
        "deeper",
    ),
    ("very deep nesting", "<tool_call>" + '{"a":' * 100_000, "deeper"),
    (
        "an endless number",
        '<tool_call>{"name": "f", "arguments": {"a": ' + "9" * 5000 + "}}</tool_call>",
        "limit",
    ),
    ("an empty block", "<tool_call></tool_call>", "Expecting value"),
]


@pytest.mark.parametrize(("text", "expected"), [pytest.param(t, e, id=i) for i, t, e in MALFORMED])
def test_one_malformed_block_spoils_the_reply(text: str, expected: str) -> None:
    reply = parse_reply(text)
    assert reply.error is not None
    assert expected in reply.error
    assert reply.calls == ()
    assert not answers_match(reply, [READ], TOOLS)
    assert not answers_match(reply, [], TOOLS)


def test_half_a_surrogate_pair_in_the_text_itself_does_not_raise() -> None:
    assert parse_reply("\ud800 <think>\udfff</think>").text == "\ud800"
    assert parse_reply('<tool_call>{"name": "\ud800"}</tool_call>').error is not None


def test_thousands_of_markers_take_no_longer_than_they_should() -> None:
    start = time.process_time()
    for marker in ("<tool_call>", "</tool_call>", "<think>", "</think>", '<tool_call>{"', "[" * 11):
        parse_reply(marker * 10_000)
    assert time.process_time() - start < 10


ANSWERS = [
    ("the right call", CALL, [READ], True),
    ("the right call beside text", f"Let me see. {CALL}", [READ], True),
    ("another call", CALL, [{"name": "f", "arguments": {"a": 2}}], False),
    ("a call in the reasoning alone", f"<think>{CALL}</think>", [READ], False),
    ("a call in the reasoning, text behind", f"<think>{CALL}</think>Done.", [READ], False),
    ("words for a label without calls", "I cannot do that.", [], True),
    ("released: nothing for a label without calls", "", [], False),
    ("blanks for a label without calls", " \n", [], False),
    ("an end marker for a label without calls", "<|im_end|>", [], False),
    ("reasoning alone for a label without calls", "<think>No tool fits.</think>", [], False),
    ("a call for a label without calls", f"I can. {CALL}", [], False),
    ("words for a label with a call", "I would call f.", [READ], False),
]


@pytest.mark.parametrize(
    ("text", "label", "expected"), [pytest.param(*rest, id=i) for i, *rest in ANSWERS]
)
def test_a_reply_answers_as_the_label_does(text: str, label: Any, expected: bool) -> None:
    assert answers_match(parse_reply(text), label, TOOLS) is expected


def test_rendering_writes_the_form_that_models_learn() -> None:
    assert render_calls([READ]) == CALL
    assert render_calls([READ], "Hi.", "Why") == f"<think>\nWhy\n</think>\n\nHi.\n{CALL}"
    assert render_calls([], "Hi.") == "Hi."
    assert '"ü"' in render_calls([{"name": "f", "arguments": {"a": "ü"}}])


def test_rendering_hides_markers_inside_of_strings_from_simpler_parsers() -> None:
    text = render_calls([{"name": "f", "arguments": {"a": "</tool_call>"}}])
    assert text.count("</tool_call>") == 1
    assert parse_reply(text).calls[0]["arguments"] == {"a": "</tool_call>"}


@pytest.mark.parametrize(
    ("text", "reasoning"), [("<think>", None), ("a<|im_end|>", None), ("", "a</think>b")]
)
def test_rendering_refuses_what_would_read_back_differently(text: str, reasoning: Any) -> None:
    with pytest.raises(DataError, match="holds"):
        render_calls([READ], text, reasoning)


def test_arguments_are_parsed_once_and_strictly() -> None:
    assert parse_arguments('{"a": {"b": [1.5, null]}}') == {"a": {"b": [1.5, None]}}
    for value in ("[]", "null", " ", "{} {}", "{'a': 1}", 5, [], True):
        with pytest.raises(ArgumentsError):
            parse_arguments(value)


def test_canonical_json_is_sorted_compact_and_refuses_nan() -> None:
    value = {"b": [1, {"z": None, "y": "ü"}], "a": 1.5}
    assert canonical_json(value) == '{"a":1.5,"b":[1,{"y":"ü","z":null}]}'
    assert canonical_json(value) == canonical_json_of_records(value)
    assert json.loads(canonical_json(value)) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
