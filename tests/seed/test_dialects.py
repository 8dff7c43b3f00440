"""Schemas as data sets, older drafts and other languages write them become JSON Schema 2020-12."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from looptool.errors import DataError
from looptool.records import ToolSpec
from looptool.schema import from_table, to_table
from looptool.seed import normalise_tool
from looptool.seed.dialects import read_type


def parameters(**properties: Any) -> dict[str, Any]:
    """The parameters of a tool of these properties, after normalising."""
    document = {"name": "a", "parameters": {"type": "dict", "properties": properties}}
    return normalise_tool(document).parameters


def only(schema: Any) -> Any:
    return parameters(x=schema)["properties"]["x"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("dict HashMap Hashtable object Object", "object"),
        ("tuple list array Array ArrayList Queue Stack Set", "array"),
        ("str string String char", "string"),
        ("float double number", "number"),
        ("int integer long short byte Bigint", "integer"),
        ("bool boolean Boolean", "boolean"),
        ("null None NoneType", "null"),
    ],
)
def test_types_of_other_languages_are_translated(words: str, kind: str) -> None:
    for word in words.split():
        expected: dict[str, Any] = {"type": kind} | ({"items": {}} if kind == "array" else {})
        assert only({"type": word}) == expected


@pytest.mark.parametrize(
    "schema", [{"type": "any"}, {"type": "Any"}, {"type": ""}, {}, {"type": None}, None]
)
def test_any_and_no_type_allow_everything(schema: Any) -> None:
    assert only(schema) == {}


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("objectArray", {"type": "array", "items": {"type": "object"}}),
        ("list(string)", {"type": "array", "items": {"type": "string"}}),
        ("list(enum)", {"type": "array", "items": {"type": "string"}}),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}),
        ("float[]", {"type": "array", "items": {"type": "number"}}),
        (
            "Dict[str, List[float]]",
            {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "number"}},
            },
        ),
        (
            "Tuple[int, str]",
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        ),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("Optional[str]", {"type": ["string", "null"]}),
        (
            "Union[int, List[str]]",
            {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
        ),
        ("int | str | None", {"type": ["integer", "string", "null"]}),
        ("str, optional", {"type": "string"}),
        ("List[Any]", {"type": "array", "items": {}}),
        ("Literal['a', 'b']", {"enum": ["a", "b"]}),
        ("datetime", {"type": "string", "format": "date-time"}),
    ],
)
def test_composed_types_are_read(text: str, schema: dict[str, Any]) -> None:
    assert read_type(text) == schema


@pytest.mark.parametrize(
    "text", ["blob", "List[blob]", "int | blob", "Callable[[int], str]", "[" * 50]
)
def test_a_type_that_nobody_knows_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(DataError, match="at properties/x/type: unknown type"):
        only({"type": text})


def test_lists_of_types_are_translated_one_by_one() -> None:
    assert only({"type": ["str", None, "float"]}) == {"type": ["string", "null", "number"]}
    assert only({"type": ["str", "any"]}) == {}


def test_a_default_of_null_makes_the_type_nullable() -> None:
    assert only({"type": "string", "default": None}) == {
        "type": ["string", "null"],
        "default": None,
    }
    found = only({"type": "string", "enum": ["a"], "default": None})
    assert found == {"type": ["string", "null"], "enum": ["a", None], "default": None}


@pytest.mark.parametrize(
    ("kind", "given_", "default"),
    [
        ("integer", "10", 10),
        ("float", "0.5", 0.5),
        ("boolean", "False", False),
        ("boolean", "true", True),
        ("string", 7, "7"),
        ("array", "[]", []),
        ("dict", "{}", {}),
        ("integer", 2.0, 2.0),
    ],
)
def test_a_default_written_as_text_is_read_as_the_declared_type(
    kind: str, given_: Any, default: Any
) -> None:
    found = only({"type": kind, "default": given_})["default"]
    assert found == default
    assert type(found) is type(default)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "default": "soon"},
        {"type": "integer", "default": 0.5},
        {"type": "boolean", "default": 1},
        {"type": "string", "default": ["a"]},
        {"type": "string", "enum": ["a", "b"], "default": "c"},
        {"type": "integer", "enum": [0, 1], "default": True},
    ],
)
def test_a_default_that_its_type_or_enum_forbids_is_dropped(schema: dict[str, Any]) -> None:
    assert "default" not in only(schema)


def test_required_and_optional_on_properties_move_to_the_object() -> None:
    found = parameters(
        a={"type": "str", "required": True},
        b={"type": "str", "required": False},
        c={"type": "str", "optional": False},
        d={"type": "str", "optional": True},
        e={"type": "str", "required": "true"},
    )
    assert found["required"] == ["a", "c", "e"]
    assert found["properties"]["b"] == found["properties"]["d"] == {"type": "string"}


def test_required_is_moved_in_nested_objects_and_from_among_the_properties() -> None:
    inner = {"type": "dict", "properties": {"y": {"type": "str", "required": True}}}
    assert only(inner)["required"] == ["y"]
    misplaced = {"x": {"type": "str"}, "required": ["x", "x"]}
    found = normalise_tool({"name": "a", "parameters": {"properties": misplaced}}).parameters
    assert list(found["properties"]) == ["x"]
    assert found["required"] == ["x"]


def test_a_property_may_itself_be_called_required_or_optional_or_title() -> None:
    schema = {name: {"type": "string"} for name in ("required", "optional", "title", "id", "$id")}
    assert parameters(**schema)["properties"] == schema


def test_an_enum_beside_an_array_is_about_its_items() -> None:
    found = only({"type": "array", "enum": ["a", "b"]})
    assert found == {"type": "array", "items": {"enum": ["a", "b"]}}
    whole = {"type": "array", "items": {}, "enum": [["a"], ["b"]]}
    assert only(whole) == whole


def test_older_drafts_and_openapi_words_are_translated() -> None:
    found = only(
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "id": "http://example.com/x",
            "type": "array",
            "items": [{"type": "str"}, {"type": "int", "minimum": "0", "exclusiveMinimum": True}],
            "additionalItems": {"type": "float"},
            "nullable": True,
            "example": ["a", 1],
        }
    )
    assert found == {
        "type": ["array", "null"],
        "prefixItems": [{"type": "string"}, {"type": "integer", "exclusiveMinimum": 0}],
        "items": {"type": "number"},
        "examples": [["a", 1]],
    }


def test_titles_that_repeat_the_name_go_and_others_describe() -> None:
    found = parameters(page_size={"title": "Page Size"}, n={"title": "Number of rows"}, t=True)
    assert found["properties"] == {
        "page_size": {},
        "n": {"description": "Number of rows"},
        "t": True,
    }


def test_what_stands_in_values_is_left_alone() -> None:
    values = [{"type": "dict", "required": True, "title": "x", "properties": 5}]
    found = only({"enum": values, "default": values[0], "examples": values, "const": values[0]})
    assert found["enum"] == found["examples"] == values
    assert found["default"] == found["const"] == values[0]


CITY = {"type": "string"}
COUNT = {"type": "integer", "default": 3}


@pytest.mark.parametrize(
    "given_",
    [
        {"parameters": {"city": {"type": "str"}, "n": {"type": "int, optional", "default": 3}}},
        {"parameters": [{"name": "city", **CITY, "required": True}, {"name": "n", **COUNT}]},
        {
            "arguments": {
                "type": "dict",
                "properties": {"city": {"type": "String"}, "n": {"type": "long", "default": "3"}},
                "required": ["city"],
            }
        },
        {
            "input_schema": {
                "type": "object",
                "properties": {"city": CITY, "n": COUNT},
                "required": ["city"],
            }
        },
        {
            "inputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "properties": {"city": {**CITY, "title": "City"}, "n": COUNT},
                "required": "city",
            }
        },
    ],
)
def test_every_dialect_of_the_same_tool_gives_the_same_tool(given_: dict[str, Any]) -> None:
    tool = normalise_tool({"name": "a.b", "description": "d", **given_})
    assert (tool.name, tool.original_name, tool.description) == ("a_b", "a.b", "d")
    assert tool.parameters == {
        "type": "object",
        "properties": {"city": CITY, "n": COUNT},
        "required": ["city"],
    }


def test_parameters_may_be_called_like_schema_words() -> None:
    bare = {"type": {"type": "str"}, "items": {"type": "list"}, "description": {"type": "str"}}
    found = normalise_tool({"name": "a", "parameters": bare}).parameters
    assert found["required"] == ["type", "items", "description"]


def test_a_result_described_in_words_is_no_schema() -> None:
    assert normalise_tool({"name": "a", "returns": "The sum."}).output is None
    response = {"type": "dict", "properties": {"sum": {"type": "float"}}}
    output = normalise_tool({"name": "a", "response": response}).output
    assert output == {"type": "object", "properties": {"sum": {"type": "number"}}}


WORDS = (
    "type properties required items enum default anyOf allOf oneOf $ref $defs definitions pattern "
    "not const nullable optional name parameters description examples prefixItems minimum "
    "additionalProperties function inputSchema output title format $id id $schema #/ #/$defs/x "
    "dict float tuple any string array object List[int] str,optional None true 10 ( x "
    "exclusiveMinimum patternProperties dependentSchemas if $dynamicRef $anchor uniqueItems"
).split()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=6)
    ),
    max_leaves=25,
)
schemas = st.dictionaries(st.sampled_from(WORDS), json_values, max_size=8)


def check(document: Any) -> None:
    """A valid tool that survives Parquet, or a DataError; never another exception."""
    try:
        tool = normalise_tool(document)
    except DataError:
        return
    Draft202012Validator.check_schema(tool.parameters)
    assert tool.parameters["type"] == "object"
    assert set(tool.parameters.get("required", [])) <= set(tool.parameters["properties"])
    Draft202012Validator(tool.parameters).is_valid({"x": {"x": 1}})
    (back,) = from_table("tools", to_table("tools", [tool]))
    assert isinstance(back, ToolSpec)
    again = normalise_tool({"name": tool.name, "parameters": tool.parameters})
    assert again.parameters == tool.parameters


@settings(max_examples=80, deadline=None)
@given(json_values)
def test_any_document_is_a_tool_or_a_data_error(document: Any) -> None:
    check(document)


@settings(max_examples=120, deadline=None)
@given(schemas, st.dictionaries(st.sampled_from(["x", "y", "type"]), schemas, max_size=3))
def test_any_parameters_are_a_schema_or_a_data_error(
    whole: dict[str, Any], properties: dict[str, Any]
) -> None:
    check({"name": "a", "parameters": whole, "output": whole})
    check({"name": "a", "parameters": {"properties": properties, "$defs": {"x": whole}}})
    check({"name": "a", "parameters": properties})
