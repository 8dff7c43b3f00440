"""Any tool document becomes a ToolSpec, or says why it cannot."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from looptool.errors import DataError
from looptool.records import make_tool
from looptool.seed import normalise_tool
from looptool.seed.normalise import fit_name, make_names_unique

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    "document",
    [
        {"type": "function", "function": {"name": "a", "description": "d", "parameters": PARAMETERS}},
        {"name": "a", "description": "d", "parameters": PARAMETERS},
        {"name": "a", "description": "d", "inputSchema": PARAMETERS, "annotations": {}},
        {"name": "a", "description": " d ", "parameters": {k: v for k, v in PARAMETERS.items() if k != "type"}},
    ],
)  # fmt: skip
def test_all_common_shapes_give_the_same_tool(document: dict[str, Any]) -> None:
    assert normalise_tool(document) == make_tool("a", "d", PARAMETERS)


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"properties": {}}])
def test_a_tool_without_parameters_takes_an_empty_object(parameters: Any) -> None:
    tool = normalise_tool({"name": "now", "parameters": parameters})
    assert tool.parameters == {"type": "object", "properties": {}}


def test_the_result_schema_and_the_domain_are_kept() -> None:
    output = {"type": "object", "properties": {"id": {"type": "string"}}}
    for key in ("output", "outputSchema", "returns"):
        tool = normalise_tool({"name": "a", key: output, "domain": "shop"})
        assert (tool.output, tool.domain) == (output, "shop")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "without a name"),
        ({"name": ""}, "without a name"),
        ({"name": 7}, "without a name"),
        ({"function": "get"}, "must be an object"),
        ({"name": "a", "description": 5}, "no text"),
        ({"name": "a", "parameters": []}, "no object"),
        ({"name": "a", "parameters": {"type": "array"}}, "type object"),
        ({"name": "a", "parameters": {"type": "list", "properties": {}}}, "type object"),
        (
            {"name": "a", "parameters": {"properties": {"x": {"type": "blob"}}}},
            "unknown type 'blob'",
        ),
        ({"name": "a", "parameters": {"properties": {"x": 5}}}, "no valid JSON"),
        ({"name": "a", "parameters": {"properties": {"x": {"enum": "y"}}}}, "no valid JSON"),
        ({"name": "a", "parameters": {"properties": {"x": {"default": float("nan")}}}}, "no JSON"),
        ({"name": "a", "parameters": {"required": ["x"]}}, "not declared"),
        (
            {"name": "a", "parameters": {"properties": {"x": {"$ref": "#/$defs/y"}}}},
            "leads nowhere",
        ),
        (
            {"name": "a", "parameters": {"properties": {"x": {"$ref": "http://x/y"}}}},
            "leads nowhere",
        ),
        ({"name": "a", "parameters": {"properties": {"x": {"pattern": "("}}}}, "pattern"),
        (
            {"name": "a", "parameters": {"properties": {"x": {"$ref": "#anchor"}}}},
            "leads nowhere",
        ),
        (
            {
                "name": "a",
                "parameters": {"properties": {"type": {}, "x": {"$ref": "#/properties"}}},
            },
            "leads nowhere",
        ),
        (
            {"name": "a", "parameters": {"properties": {"x": {"$dynamicRef": "#x"}}}},
            "leads nowhere",
        ),
        (
            {
                "name": "a",
                "parameters": {
                    "properties": {"x": {"$ref": "#/$defs/b"}},
                    "$defs": {"b": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/b"}]}},
                },
            },
            "leads back to itself",
        ),
        ({"name": "a", "output": {"type": 3}}, "no valid JSON"),
        ({"name": "a", "description": "\ud800"}, "surrogate"),
        ({"name": "a", "parameters": {"properties": {"\ud800": {}}}}, "no JSON"),
        ({"name": "a", "parameters": {"properties": {"x": {"enum": [0] * 60_000}}}}, "too many"),
    ],
)
def test_a_bad_tool_is_refused_with_the_reason(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        normalise_tool(document)


def test_a_deeply_nested_schema_is_refused_rather_than_crashing() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(DataError):
        normalise_tool({"name": "a", "parameters": {"properties": {"x": schema}}})


def test_a_schema_that_contains_itself_is_refused_rather_than_crashing() -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"x": schema}
    with pytest.raises(DataError):
        normalise_tool({"name": "a", "parameters": schema})


def test_a_chain_of_references_too_long_to_follow_is_refused() -> None:
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3000)} | {"d3000": {}}
    schema = {"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": chain}
    with pytest.raises(DataError, match="too long a chain"):
        normalise_tool({"name": "a", "parameters": schema})


def test_recursive_schemas_are_kept() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/node"}},
        "$defs": {"node": node},
    }
    tool = normalise_tool({"name": "a", "parameters": schema})
    assert tool.parameters == schema
    assert Draft202012Validator(tool.parameters).is_valid({"x": {"next": {"next": {}}}})


def test_parameters_that_are_one_reference_are_written_out() -> None:
    arguments = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    schema = {"$ref": "#/$defs/arguments", "$defs": {"arguments": arguments}}
    parameters = normalise_tool({"name": "a", "parameters": schema}).parameters
    assert parameters["properties"] == arguments["properties"]
    assert parameters["required"] == ["x"]


def test_a_property_may_be_named_like_a_keyword() -> None:
    schema = {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}}
    assert "pattern" in normalise_tool({"name": "a", "parameters": schema}).parameters["properties"]


@given(st.text(min_size=1))
def test_every_name_becomes_one_that_endpoints_accept(name: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", fit_name(name))


def test_a_changed_name_is_remembered() -> None:
    tool = normalise_tool({"name": "files.get/größe"})
    assert tool.name == "files_get_gro_e" or tool.name == "files_get_groe"
    assert tool.original_name == "files.get/größe"
    assert normalise_tool({"name": "get"}).original_name == ""


def test_long_names_that_begin_alike_stay_apart() -> None:
    names = {fit_name("x" * 80 + ending) for ending in "abc"}
    assert len(names) == 3
    assert all(len(name) == 64 for name in names)


def test_a_name_that_its_owner_brought_goes_before_one_made_to_fit() -> None:
    tools = [normalise_tool({"name": name}) for name in ("get.user", "get_user")]
    found = {t.original_name or t.name: t.name for t in make_names_unique(tools)}
    assert found == {"get.user": "get_user_2", "get_user": "get_user"}


def test_names_become_unique_in_order() -> None:
    tools = [make_tool("get", str(n), {"type": "object"}) for n in range(3)]
    tools.append(make_tool("get_2", "x", {"type": "object"}))
    names = [tool.name for tool in make_names_unique(tools)]
    assert len(set(names)) == 4
    assert names[:3] == ["get", "get_2", "get_3"]
    assert [t.original_name for t in make_names_unique(tools)][:2] == ["", "get"]
