"""A call is checked against the whole schema of its tool, and each fault has its own rule."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from looptool.records import JsonObject, make_tool
from looptool.validate import check_call
from looptool.validate.calls import close_schema

BOOK = make_tool(
    "book_room",
    "Books a room.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 2},
            "nights": {"type": "integer", "minimum": 1, "maximum": 30},
            "price": {"type": "number"},
            "board": {"type": "string", "enum": ["none", "half", "full"]},
            "quiet": {"type": "boolean"},
            "arrival": {"type": "string", "format": "date"},
            "guests": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                    "required": ["name"],
                },
            },
            "floor": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "required": ["city", "nights"],
    },
)
GOOD: JsonObject = {"city": "Porto", "nights": 2}


def rules(arguments: object, name: str = "book_room") -> list[str]:
    return [v.rule for v in check_call({"name": name, "arguments": arguments}, [BOOK])]


def test_a_valid_call_breaks_no_rule() -> None:
    full = {
        **GOOD,
        "price": 80,
        "board": "half",
        "quiet": True,
        "arrival": "2031-03-05",
        "guests": [{"name": "Ana", "age": 3}],
        "floor": None,
    }
    assert rules(GOOD) == []
    assert rules(full) == []


@pytest.mark.parametrize(
    ("change", "rule", "path"),
    [
        ({"nights": True}, "wrong_type", "nights"),
        ({"nights": "2"}, "wrong_type", "nights"),
        ({"nights": 2.5}, "wrong_type", "nights"),
        ({"nights": 0}, "schema", "nights"),
        ({"price": False}, "wrong_type", "price"),
        ({"board": "breakfast"}, "schema", "board"),
        ({"city": "P"}, "schema", "city"),
        ({"arrival": "2031-02-30"}, "schema", "arrival"),
        ({"stars": 4}, "unknown_parameter", "stars"),
        ({"guests": [{"name": "Ana"}, {"age": 3}]}, "missing_required", "guests[1].name"),
        ({"guests": [{"name": "Ana", "pet": "cat"}]}, "unknown_parameter", "guests[0].pet"),
        ({"floor": "top"}, "wrong_type", "floor"),
        ({"price": float("nan")}, "bad_arguments", "arguments"),
    ],
)
def test_each_fault_has_its_rule_and_its_place(change: JsonObject, rule: str, path: str) -> None:
    found = check_call({"name": "book_room", "arguments": GOOD | change}, [BOOK])
    assert [(v.rule, v.path) for v in found] == [(rule, path)]


def test_every_missing_parameter_is_named_once() -> None:
    found = check_call({"name": "book_room", "arguments": {}}, [BOOK])
    assert [(v.rule, v.path) for v in found] == [
        ("missing_required", "city"),
        ("missing_required", "nights"),
    ]


def test_a_tool_that_is_not_offered_is_unknown_and_names_are_case_sensitive() -> None:
    assert rules(GOOD, "Book_room") == ["unknown_tool"]


@pytest.mark.parametrize("arguments", [None, "", '{"city": "Porto"}', [], 3])
def test_arguments_that_are_no_object_are_bad(arguments: object) -> None:
    assert rules(arguments) == ["bad_arguments"]


def test_a_tool_without_parameters_takes_none() -> None:
    ping = make_tool("ping", "", {"type": "object", "properties": {}})
    assert check_call({"name": "ping", "arguments": {}}, [ping]) == []
    assert check_call({"name": "ping", "arguments": {"x": 1}}, [ping])[0].rule == (
        "unknown_parameter"
    )


def test_a_schema_that_allows_other_keys_keeps_allowing_them() -> None:
    tool = make_tool(
        "tag",
        "",
        {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}},
    )
    assert check_call({"name": "tag", "arguments": {"b": "x"}}, [tool]) == []
    assert check_call({"name": "tag", "arguments": {"b": 1}}, [tool])[0].rule == "wrong_type"


def test_composed_schemas_are_not_closed_against_their_own_parts() -> None:
    tool = make_tool(
        "move",
        "",
        {
            "type": "object",
            "properties": {
                "to": {
                    "allOf": [
                        {"type": "object", "properties": {"x": {"type": "integer"}}},
                        {"type": "object", "properties": {"y": {"type": "integer"}}},
                    ]
                }
            },
        },
    )
    assert check_call({"name": "move", "arguments": {"to": {"x": 1, "y": 2}}}, [tool]) == []
    assert check_call({"name": "move", "arguments": {"z": 1}}, [tool])[0].rule == (
        "unknown_parameter"
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "strnig"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.org/a.json"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"if": {"$ref": "#/$defs/a"}, "then": {}}}},
        {
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
        },
        {"allOf": [{"$ref": "#"}]},
    ],
)
def test_a_broken_schema_is_a_violation_and_never_an_exception(schema: JsonObject) -> None:
    tool = make_tool("broken", "", schema)
    assert [v.rule for v in check_call({"name": "broken", "arguments": {"a": "x"}}, [tool])] == [
        "schema"
    ]


def test_a_recursive_schema_that_goes_deeper_each_time_is_a_good_one() -> None:
    node = {
        "type": "object",
        "properties": {"sub": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
    }
    tool = make_tool("tree", "", {"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert check_call({"name": "tree", "arguments": {"sub": [{"sub": []}]}}, [tool]) == []
    found = check_call({"name": "tree", "arguments": {"sub": [{"sub": [3]}]}}, [tool])
    assert [(v.rule, v.path) for v in found] == [("wrong_type", "sub[0].sub[0]")]


def test_arguments_without_end_are_bad_and_do_not_break_the_check() -> None:
    deep: JsonObject = {}
    for _ in range(400):
        deep = {"sub": deep}
    node = {"type": "object", "properties": {"sub": {"$ref": "#/$defs/node"}}}
    tool = make_tool("tree", "", {"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert [v.rule for v in check_call({"name": "tree", "arguments": deep}, [tool])] == [
        "bad_arguments"
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(["city", "nights", "price", "board", "quiet", "guests", "floor", "other"])


@given(st.dictionaries(KEYS, JSON | st.sampled_from(["Porto", 2, "half", True])))
def test_the_verdict_is_that_of_the_reference_validator(arguments: JsonObject) -> None:
    json.dumps(arguments)
    reference = Draft202012Validator(close_schema(BOOK.parameters))
    finite = "Infinity" not in json.dumps(arguments)
    assert (rules(arguments) == []) == (finite and reference.is_valid(arguments))
