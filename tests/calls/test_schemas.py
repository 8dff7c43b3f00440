"""How schemas are read: references, combinations, older drafts, and schemas that are broken."""

from typing import Any

import pytest

from looptool.calls import ToolIndex, calls_match, check_label, explain_mismatch, relaxed_match


def match(schema: Any, a: Any, b: Any, **root: Any) -> bool:
    """Whether two values of one argument match, in both directions."""
    parameters = {"type": "object", "properties": {"v": schema}, **root}
    tools = [{"name": "f", "parameters": parameters}]
    left, right = [{"name": "f", "arguments": {"v": a}}], [{"name": "f", "arguments": {"v": b}}]
    matched = calls_match(left, right, tools)
    assert matched is calls_match(right, left, tools)
    assert (explain_mismatch(left, right, tools) is None) is matched
    return matched


SET = {"type": "array", "uniqueItems": True}
POINT = {"type": "object", "properties": {"x": {"type": "integer", "default": 0}}}


@pytest.mark.parametrize("where", ["$defs", "definitions"])
def test_a_local_reference_is_followed(where: str) -> None:
    assert match({"$ref": f"#/{where}/s"}, [1, 2], [2, 1], **{where: {"s": SET}})


def test_a_reference_with_escapes_is_followed() -> None:
    assert match({"$ref": "#/$defs/a~1b%20c"}, [1, 2], [2, 1], **{"$defs": {"a/b c": SET}})


def test_a_default_beside_a_reference_counts() -> None:
    parameters = {
        "type": "object",
        "properties": {"v": {"$ref": "#/$defs/n", "default": 7}, "w": {}},
        "$defs": {"n": {"type": "integer", "default": 5}},
    }
    tools = [{"name": "f", "parameters": parameters}]
    assert calls_match([{"name": "f"}], [{"name": "f", "arguments": {"v": 7}}], tools)
    assert not calls_match([{"name": "f"}], [{"name": "f", "arguments": {"v": 5}}], tools)


def test_a_recursive_schema_is_compared_to_the_bottom() -> None:
    tree = {
        "type": "object",
        "properties": {
            "leaf": {"type": "boolean", "default": False},
            "sons": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/tree"}},
        },
    }
    a = {"sons": [{"sons": [{"leaf": True}, {}]}, {"leaf": True}]}
    b = {"sons": [{"leaf": True}, {"sons": [{"leaf": False}, {"leaf": True}], "leaf": False}]}
    assert match({"$ref": "#/$defs/tree"}, a, b, **{"$defs": {"tree": tree}})


def test_references_in_a_circle_end() -> None:
    circle = {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}
    assert not match({"$ref": "#/$defs/a"}, 1, 1, **{"$defs": circle})


def test_parts_of_all_of_are_merged() -> None:
    parts = {"allOf": [POINT, {"type": "object", "properties": {"y": SET}}]}
    assert match(parts, {"y": [1, 2]}, {"x": 0, "y": [2, 1]})
    assert not match(parts, {"y": [1, 2], "z": 1}, {"y": [1, 2], "z": 1})


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_the_only_branch_that_takes_the_kind_counts(word: str) -> None:
    assert match({word: [SET, {"type": "null"}]}, [1, 2], [2, 1])
    assert match({word: [POINT, {"type": "string"}]}, {}, {"x": 0})
    assert not match({word: [POINT, {"type": "string"}]}, {"q": 1}, {"q": 1})


def test_ambiguous_branches_are_compared_by_the_plain_rule() -> None:
    branches = {"anyOf": [POINT, {"type": "object", "properties": {"q": {}}}]}
    assert not match(branches, {}, {"x": 0})
    assert match(branches, {"q": 1.0}, {"q": 1})


def test_one_of_constants_is_an_enum() -> None:
    constants = {"oneOf": [{"const": "a", "title": "A"}, {"const": "b "}]}
    assert match(constants, "b ", "b ")
    assert not match({"anyOf": [constants, {"type": "null"}]}, "a ", "a")


def test_a_format_in_any_branch_keeps_the_relaxed_rule_out() -> None:
    dates = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "x"}]}
    tools = [{"name": "f", "parameters": {"properties": {"v": dates}}}]
    a, b = ([{"name": "f", "arguments": {"v": day}}] for day in ("2031-1-12", "2031-11-2"))
    assert not relaxed_match(a, b, tools)


def test_an_open_object_lets_unknown_keys_pass() -> None:
    properties = {"type": "object", "properties": {"x": {}}}
    assert not match(properties, {"y": 1}, {"y": 1})
    assert match(properties | {"additionalProperties": True}, {"y": 1}, {"y": 1.0})
    assert match(properties | {"patternProperties": {"^y": {}}}, {"y": 1}, {"y": 1.0})
    assert match({"type": "object"}, {"y": 1}, {"y": 1.0})


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}])
def test_a_tool_may_come_without_parameters(parameters: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert calls_match([{"name": "f", "arguments": ""}], [{"name": "f"}], tools)


BROKEN: list[Any] = [
    {"type": "dict"},
    {"type": "string", "pattern": "("},
    {"$ref": "#/nowhere"},
    {"$ref": "https://example.com/schema.json"},
    {"properties": 5},
    {"required": "x"},
    {"enum": "abc"},
    {"anyOf": {}},
    {"items": 3},
    {"allOf": [None]},
]


@pytest.mark.parametrize("schema", BROKEN, ids=str)
def test_a_broken_schema_is_a_defect_and_no_exception(schema: Any) -> None:
    tools = [{"name": "f", "parameters": {"type": "object", "properties": {"v": schema}}}]
    label = [{"name": "f", "arguments": {"v": "x"}}]
    assert "cannot be used" in check_label(label, tools)[0]
    assert not match(schema, "x", "x")


def test_an_index_gives_the_same_verdicts_as_the_list() -> None:
    tools = [{"name": "f", "parameters": {"properties": {"v": SET}}}]
    a, b = ([{"name": "f", "arguments": {"v": v}}] for v in ([1, 2], [2, 1]))
    index = ToolIndex(tools)
    assert calls_match(a, b, index)
    assert check_label(a, index) == []
    assert "f" in index


def test_a_schema_changed_in_place_changes_the_verdict() -> None:
    schema = dict(SET)
    tools = [{"name": "f", "parameters": {"properties": {"v": schema}}}]
    a, b = ([{"name": "f", "arguments": {"v": v}}] for v in ([1, 2], [2, 1]))
    assert calls_match(a, b, tools)
    schema["uniqueItems"] = False
    assert not calls_match(a, b, tools)
    schema["uniqueItems"] = True
    assert calls_match(a, b, tools)


def test_arguments_changed_in_place_are_checked_again() -> None:
    tools = [{"name": "f", "parameters": {"properties": {"v": {"type": "integer"}}}}]
    label: list[dict[str, Any]] = [{"name": "f", "arguments": {"v": 1}}]
    assert check_label(label, tools) == []
    for value in (True, "1", 1.5):
        label[0]["arguments"]["v"] = value
        assert check_label(label, tools) != []


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_deep_values_match_up_to_a_depth_and_never_raise() -> None:
    assert match({}, nest(60), nest(60))
    assert not match({}, nest(64), nest(64))
    assert not match({}, nest(5000), nest(5000))
