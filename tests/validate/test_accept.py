"""The fast path and the reference validator agree, whatever the schema and the value."""

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry

from looptool.records import JsonObject
from looptool.validate.accept import Unsure, compile_schema
from looptool.validate.formats import make_format_checker
from looptool.validate.references import find_endless_reference

FORMATS = make_format_checker()
KEYS = st.sampled_from(["a", "b", "ä"])
NUMBERS = (
    st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, -0.0, 0.1, 0.3, 2.5, 1e300, 10**30, -(2**63), 2**53 + 1])
    | st.floats(-5, 5)
)
TEXTS = st.sampled_from(
    [
        *("", "a", "ab", "abc", "ä", "a\u0308", "🦊", "１", "١", "1", "\n", "a\n", "true"),
        *("2031-03-05", "2031-02-30", "15:00", "2031-03-05T15:00Z", "ana@x.org", "http://x.org"),
        *("::1", "10.0.0.1", "123e4567-e89b-12d3-a456-426614174000"),
    ]
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
TYPE = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
COUNT = st.integers(0, 3)
PATTERN = st.sampled_from(
    [r"^a", r"b$", r"^\d+$", r"\w", r"^.$", r"[ä-ö]", r"^\s*$", r"(?i)AB", r"\Aab\Z", r"a{2}", r"("]
)
FORMAT = st.sampled_from(
    ["date", "time", "date-time", "email", "uri", "uuid", "ipv4", "ipv6", "hostname", "int64"]
)


def schemas(depth: int) -> st.SearchStrategy[Any]:
    """Schemas of the keywords that tools use, and of some that are left to the reference."""
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPE | st.lists(TYPE, min_size=1, max_size=3, unique=True),
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "const": VALUES,
        "minimum": NUMBERS,
        "maximum": NUMBERS,
        "exclusiveMinimum": NUMBERS,
        "exclusiveMaximum": NUMBERS,
        "multipleOf": st.sampled_from([1, 2, 0.1, 0.5, 1e-9]),
        "minLength": COUNT,
        "maxLength": COUNT,
        "pattern": PATTERN,
        "format": FORMAT,
        "minItems": COUNT,
        "maxItems": COUNT,
        "uniqueItems": st.booleans(),
        "minProperties": COUNT,
        "maxProperties": COUNT,
        "required": st.lists(KEYS, max_size=2, unique=True),
        "default": VALUES,
        "nullable": st.booleans(),
        "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two", "#/$defs/none", "#"]),
    }
    if depth:
        inner = schemas(depth - 1)
        several = st.lists(inner, min_size=1, max_size=3)
        keywords |= {
            "properties": st.dictionaries(KEYS, inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "additionalProperties": st.booleans() | inner,
            "unevaluatedProperties": st.booleans(),
            "items": inner,
            "prefixItems": several,
            "contains": inner,
            "anyOf": several,
            "oneOf": several,
            "allOf": several,
            "not": inner,
            "if": inner,
            "then": inner,
        }
    some = st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True)
    objects = some.flatmap(lambda names: st.fixed_dictionaries({n: keywords[n] for n in names}))
    return objects | st.booleans() if depth < 2 else objects


def verdict(schema: JsonObject, value: Any) -> bool | None:
    """What the reference says; None where it cannot apply the schema."""
    try:
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema, registry=Registry(), format_checker=FORMATS)
        return validator.is_valid(value)
    except SchemaError:
        return None
    except Exception:  # unresolvable, endless, no regular expression
        return None


def fast_verdict(schema: JsonObject, value: Any) -> bool | None:
    """What the fast path says; None where it leaves the schema or the value to the reference."""
    accept = compile_schema(schema, FORMATS)
    try:
        return None if accept is None else accept(value)
    except (Unsure, RecursionError):
        return None


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(2), st.fixed_dictionaries({"one": schemas(1), "two": schemas(1)}), VALUES)
def test_where_the_fast_path_has_a_verdict_it_is_that_of_the_reference(
    schema: JsonObject, definitions: JsonObject, value: Any
) -> None:
    whole = schema | {"$defs": definitions}
    try:
        Draft202012Validator.check_schema(whole)
    except SchemaError:
        assume(False)
    assume(not find_endless_reference(whole))
    fast = fast_verdict(whole, value)
    expected = verdict(whole, value)
    assert fast is None or fast == expected


@pytest.mark.parametrize(
    ("schema", "value", "accepted"),
    [
        ({"type": "integer"}, True, False),
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, 10**30, True),
        ({"type": "number"}, False, False),
        ({"type": ["integer", "null"]}, None, True),
        ({"minimum": 1}, True, True),
        ({"maxLength": 1}, "🦊", True),
        ({"maxLength": 1}, "a\u0308", False),
        ({"pattern": r"^\d+$"}, "１２", True),
        ({"pattern": "^a$"}, "a\n", True),
        ({"format": "date"}, "2031-02-30", False),
        ({"format": "hostname"}, "not a host", True),
        ({"enum": ["a", "b"]}, "c", False),
        ({"uniqueItems": True}, ["a", "a"], False),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1, False),
        ({"not": {"type": "string"}}, "a", False),
        ({"properties": {"a": False}}, {"a": 1}, False),
        ({"additionalProperties": {"type": "string"}}, {"a": 1}, False),
        ({"minProperties": 1}, {}, False),
        ({"items": {"type": "string"}, "maxItems": 1}, ["a"], True),
        ({"exclusiveMinimum": 0}, 0.0, False),
    ],
)
def test_the_fast_path_knows_what_tools_say(
    schema: JsonObject, value: object, accepted: bool
) -> None:
    assert fast_verdict(schema, value) is accepted
    assert verdict(schema, value) is accepted


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": [1, 2]}, True),
        ({"const": 0}, False),
        ({"const": {"a": 1}}, {"a": 1.0}),
        ({"uniqueItems": True}, [1, True]),
        ({"uniqueItems": True}, [1, 1.0]),
        ({"multipleOf": 0.1}, 0.3),
        ({"patternProperties": {"^a": {}}}, {}),
        ({"prefixItems": [{}]}, []),
        ({"contains": {}}, []),
        ({"if": {}, "then": {}}, 1),
        ({"$id": "https://example.org/x"}, 1),
        ({"$ref": "https://example.org/x"}, 1),
        ({"pattern": "("}, "a"),
    ],
)
def test_what_is_hard_to_say_is_left_to_the_reference(schema: JsonObject, value: object) -> None:
    assert fast_verdict(schema, value) is None


def test_a_schema_may_refer_to_itself() -> None:
    tree = {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"child": {"$ref": "#/$defs/node"}, "name": {"type": "string"}},
                "required": ["name"],
            }
        },
    }
    deep = {"name": "a", "child": {"name": "b", "child": {"name": "c"}}}
    assert fast_verdict(tree, deep) is True
    assert fast_verdict(tree, {"name": "a", "child": {}}) is False
    assert fast_verdict({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, 1) is None
