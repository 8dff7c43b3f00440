"""What holds for every input: laws of the rule, and that no text makes anything raise."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from looptool.calls import (
    Reply,
    answers_match,
    calls_match,
    check_label,
    compute_score,
    explain_mismatch,
    parse_reply,
    relaxed_match,
    render_calls,
)

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "s": {"type": "string", "default": "a"},
        "short": {"type": "string", "maxLength": 2},
        "e": {"enum": ["a", "a ", "A", 1]},
        "n": {"type": "number", "default": 1},
        "i": {"type": "integer", "maximum": 3},
        "b": {"type": "boolean", "default": True},
        "z": {"type": "string", "default": None},
        "set": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/o"}},
        "list": {"type": "array", "items": {}},
        "o": {"$ref": "#/$defs/o"},
        "any": {},
    },
    "$defs": {
        "o": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"o": {"$ref": "#/$defs/o"}, "n": {"default": 0}, "s": {}},
                    "required": ["s"],
                },
                {"type": ["null", "number", "string"]},
            ]
        }
    },
}
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}},
]

# Few and close values, so that equal ones, nearly equal ones and confusable ones meet often.
SCALARS = st.sampled_from(
    [
        "a",
        "a ",
        "A",
        "a.",
        "1",
        "é",
        "e\u0301",
        "",
        0,
        1,
        1.0,
        1 + 1e-12,
        3,
        3.0000000000001,
        True,
        False,
        None,
        10**12,
        10**12 + 1,
        10**12 + 0.5,
        10**400,
        1e308,
    ]
)
WORDS = st.sampled_from([*PARAMETERS["properties"], "unknown"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FITTING = st.fixed_dictionaries(
    {},
    optional={
        "s": st.sampled_from(["a", "a ", "A", "é", "e\u0301"]),
        "short": st.sampled_from(["ab", "ab ", "abc"]),
        "e": st.sampled_from(["a", "a ", "A", 1]),
        "n": st.sampled_from([0, 1, 1.0, 1 + 1e-12, 10**12, 10**12 + 0.5]),
        "i": st.sampled_from([1, 3, 3.0000000000001]),
        "b": st.booleans(),
        "z": st.sampled_from(["a", None]),
        "set": st.lists(
            st.sampled_from([1, 1.0, "a", None, {"s": 1}, {"s": 1, "n": 0}]), max_size=3
        ),
        "list": st.lists(SCALARS, max_size=2),
        "any": VALUES,
    },
)
ARGUMENTS = FITTING | st.dictionaries(WORDS, VALUES, max_size=3)
CALLS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("ffgh"), "arguments": ARGUMENTS}), max_size=3
)


@st.composite
def draw_pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """A list of calls, and one that often differs from it in little or nothing."""
    left = draw(CALLS)
    right = [dict(call, arguments=dict(call["arguments"])) for call in left]
    if right and draw(st.booleans()):
        draw(st.sampled_from(right))["arguments"].update(draw(FITTING))
    random.Random(draw(st.integers(0, 5))).shuffle(right)
    return left, draw(st.just(right) | CALLS)


MANY = settings(max_examples=300, deadline=None)
SOME = settings(max_examples=120, deadline=None)


@MANY
@given(draw_pairs(), st.booleans())
def test_the_rule_is_symmetric(pair: tuple[Any, Any], ordered: bool) -> None:
    left, right = pair
    assert calls_match(left, right, TOOLS, ordered=ordered) is calls_match(
        right, left, TOOLS, ordered=ordered
    )


@MANY
@given(draw_pairs(), st.booleans())
def test_a_mismatch_is_explained_if_and_only_if_there_is_one(
    pair: tuple[Any, Any], ordered: bool
) -> None:
    matched = calls_match(*pair, TOOLS, ordered=ordered)
    assert (explain_mismatch(*pair, TOOLS, ordered=ordered) is None) is matched


@MANY
@given(draw_pairs())
def test_what_the_rule_accepts_the_relaxed_rule_accepts(pair: tuple[Any, Any]) -> None:
    if calls_match(*pair, TOOLS):
        assert relaxed_match(*pair, TOOLS)


@SOME
@given(CALLS)
def test_a_label_matches_itself_if_and_only_if_it_is_sound(label: Any) -> None:
    assert calls_match(label, label, TOOLS) is (check_label(label, TOOLS) == [])


@SOME
@given(draw_pairs(), st.randoms(use_true_random=False))
def test_the_order_of_calls_does_not_matter(pair: tuple[Any, Any], shuffler: Any) -> None:
    left, right = pair
    shuffled = shuffler.sample(left, len(left))
    assert calls_match(shuffled, right, TOOLS) is calls_match(left, right, TOOLS)


@SOME
@given(JSON, JSON)
def test_any_value_under_any_key_is_compared_without_an_exception(a: Any, b: Any) -> None:
    for arguments in ({"any": a}, {"set": [a, b]}, {"o": a}, a):
        left = [{"name": "f", "arguments": arguments}]
        right = [{"name": "f", "arguments": {"any": b}}]
        assert calls_match(left, right, TOOLS) is calls_match(right, left, TOOLS)
        explain_mismatch(left, right, TOOLS)


@SOME
@given(st.lists(JSON, max_size=2), st.lists(JSON, max_size=2))
def test_anything_may_stand_for_a_call(predicted: Any, label: Any) -> None:
    matched = calls_match(predicted, label, TOOLS)
    assert (explain_mismatch(predicted, label, TOOLS) is None) is matched
    assert check_label(label, TOOLS) or not label


@SOME
@given(JSON, st.text(max_size=10))
def test_no_schema_makes_the_rule_raise(schema: Any, key: str) -> None:
    words = ["properties", "items", "anyOf", "allOf", "$ref", "required", "enum", "type", "default"]
    for word in words:
        properties = {"type": "object", "properties": {key: {word: schema}}}
        tools = [{"name": "f", "parameters": properties}]
        label = [{"name": "f", "arguments": {key: "x"}}]
        assert calls_match(label, label, tools) is (check_label(label, tools) == [])


FRAGMENTS = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<|im_end|>",
        "\n",
        "a",
        '"',
        "{",
        "}",
        '{"name": "f", "arguments": {}}',
        '{"name": "f"',
        "[",
        "\ud800",
        "\\ud800",
        "NaN",
        "1e999",
    ]
)


@MANY
@given(st.text() | st.lists(FRAGMENTS, max_size=12).map("".join))
def test_no_text_makes_the_parser_raise(text: str) -> None:
    reply = parse_reply(text)
    assert reply.error is None or reply.calls == ()
    for label in ([], [{"name": "f"}]):
        matched = answers_match(reply, label, TOOLS)
        scored = compute_score("", text, {"calls": label, "tools": TOOLS})
        assert scored["score"] == float(matched)


FINITE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | FRAGMENTS.filter(lambda text: "\ud800" not in text),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.text(min_size=1, max_size=10)
PLAIN = st.text(max_size=20).map(str.strip).filter(lambda text: "<" not in text)


@MANY
@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": NAMES, "arguments": st.dictionaries(NAMES, FINITE, max_size=3)}
        ),
        max_size=3,
    ),
    PLAIN,
    st.none() | PLAIN,
)
def test_a_rendered_reply_reads_back_as_it_was(
    calls: list[Any], text: str, reasoning: str | None
) -> None:
    rendered = render_calls(calls, text, reasoning)
    assert parse_reply(rendered) == Reply(reasoning, tuple(calls), text, None)
    assert parse_reply(f"{rendered}<|im_end|>\n") == Reply(reasoning, tuple(calls), text, None)
