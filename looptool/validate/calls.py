"""One call against the tools' specifications: known tool, full JSON Schema, no unknown keys.

Verification by rules of the paper (method, section 2) stops at names, required parameters and
types; here the whole schema counts: enum, range, format, nested objects, unions. Reference is
jsonschema's draft 2020-12; remote references are never fetched. A schema that lists its properties
and says nothing about others is read as closed, since a parameter nobody declared is invented.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from looptool.errors import shorten
from looptool.patterns import bounded_validator, search_pattern
from looptool.records import JsonObject, ToolSpec
from looptool.validate.accept import Accept, Unsure, compile_schema
from looptool.validate.formats import make_format_checker
from looptool.validate.references import find_endless_reference

CALL_RULES = (
    "unknown_tool",
    "bad_arguments",
    "missing_required",
    "unknown_parameter",
    "wrong_type",
    "schema",
)
"""The rules that one call can break, in the order in which they are reported."""

_COMPOSING = ("allOf", "anyOf", "oneOf", "not", "if", "$ref", "$dynamicRef", "dependentSchemas")
_OPEN = ("additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames")
_CACHED = 8192
_DEEPEST = 64
"""Levels of arguments: no tool needs more, and validators recurse."""
_FORMATS = make_format_checker()


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule, where, and what was seen there."""

    rule: str
    path: str
    """`label.calls[0].city`; empty for the whole row."""
    detail: str

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return f"{self.rule}{where}: {self.detail}"


def check_call(call: Mapping[str, Any], tools: Sequence[ToolSpec]) -> list[Violation]:
    """Every rule that the call breaks. Arguments must be an object, not JSON text of one."""
    name, arguments = call.get("name"), call.get("arguments")
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        known = ", ".join(tool.name for tool in tools)
        detail = f"{shorten(name)} is none of the tools: {shorten(known)}"
        return [Violation("unknown_tool", "name", detail)]
    if not isinstance(arguments, dict):
        detail = f"arguments are {shorten(type(arguments).__name__)}, not an object"
        return [Violation("bad_arguments", "arguments", detail)]
    if not is_json(arguments):
        detail = (
            f"not JSON (NaN, Infinity, a Python object or {_DEEPEST} levels): {shorten(arguments)}"
        )
        return [Violation("bad_arguments", "arguments", detail)]
    return _check_arguments(arguments, tool)


def is_json(value: object, depth: int = _DEEPEST) -> bool:
    """Whether it is a JSON value: finite numbers, string keys, plain containers, not too deep."""
    if value is None or isinstance(value, str | bool | int):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if depth == 0:
        return False
    if isinstance(value, list):
        return all(is_json(child, depth - 1) for child in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_json(v, depth - 1) for k, v in value.items())
    return False


def _check_arguments(arguments: JsonObject, tool: ToolSpec) -> list[Violation]:
    try:
        accept, validator = _validator(tool)
        if _is_accepted(arguments, accept):
            return []
        found = [v for error in validator.iter_errors(arguments) for v in _describe(error)]
    except SchemaError as error:
        detail = f"the schema of {tool.name} is itself invalid: {shorten(error.message)}"
        return [Violation("schema", "", detail)]
    except (Unresolvable, re.error, RecursionError) as error:
        detail = f"the schema of {tool.name} cannot be applied: {shorten(repr(error))}"
        return [Violation("schema", "", detail)]
    # jsonschema reports one error per missing key, each about the whole list.
    return sorted(set(found), key=lambda v: (CALL_RULES.index(v.rule), v.path, v.detail))


def _is_accepted(arguments: JsonObject, accept: Accept | None) -> bool:
    """Whether the fast path is sure that no rule is broken."""
    try:
        return accept is not None and accept(arguments)
    except (Unsure, RecursionError):
        return False


def _describe(error: ValidationError) -> Iterator[Violation]:
    path = _render_path(error.absolute_path)
    if error.validator == "required":
        instance: Any = error.instance
        required: Any = error.validator_value
        for name in required:
            if name not in instance:
                yield Violation("missing_required", _join(path, name), f"{name} is required")
    elif error.validator in ("additionalProperties", "unevaluatedProperties"):
        for name in _extra_keys(error):
            yield Violation("unknown_parameter", _join(path, name), f"{shorten(name)} is unknown")
    else:
        yield Violation(
            "wrong_type" if _is_type_error(error) else "schema", path, shorten(error.message)
        )


def _is_type_error(error: ValidationError) -> bool:
    """Also a union none of whose branches takes the value's type."""
    if error.validator in ("anyOf", "oneOf") and error.context:
        return all(e.validator == "type" and not e.relative_path for e in error.context)
    return error.validator == "type"


def _extra_keys(error: ValidationError) -> list[str]:
    schema: Any = error.schema
    instance: Any = error.instance
    declared = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    extra = [
        key
        for key in instance
        if key not in declared and not any(search_pattern(pattern, key) for pattern in patterns)
    ]
    return extra or [_render_path(error.absolute_path) or "a key"]


def _render_path(parts: Sequence[str | int]) -> str:
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_validators: dict[str, tuple[Accept | None, Draft202012Validator]] = {}


def _validator(tool: ToolSpec) -> tuple[Accept | None, Draft202012Validator]:
    found = _validators.get(tool.tool_id)
    if found is None:
        Draft202012Validator.check_schema(tool.parameters)
        if endless := find_endless_reference(tool.parameters):
            raise RecursionError(f"{endless} leads back to itself")
        schema = close_schema(tool.parameters)
        reference = bounded_validator()(schema, registry=Registry(), format_checker=_FORMATS)
        found = compile_schema(schema, _FORMATS), reference
        if len(_validators) >= _CACHED:
            _validators.clear()
        _validators[tool.tool_id] = found
    return found


def close_schema(schema: JsonObject) -> JsonObject:
    """The schema with `additionalProperties: false` wherever it lists properties and says no more.

    Where schemas are composed (allOf, $ref beside others, …) a part does not know its siblings'
    keys, so only an uncomposed top level is closed.
    """
    if _composes(schema):
        closable = "properties" in schema and not any(
            key in schema for key in (*_COMPOSING, *_OPEN)
        )
        return {**schema, "additionalProperties": False} if closable else schema
    closed: JsonObject = _close(schema)
    if "properties" in schema and not any(key in schema for key in _OPEN):
        closed["additionalProperties"] = False
    return closed


def _close(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    for key in ("properties", "patternProperties", "$defs", "definitions"):
        if isinstance(schema.get(key), dict):
            result[key] = {name: _close(child) for name, child in schema[key].items()}
    for key in ("items", "additionalProperties", "contains"):
        if isinstance(schema.get(key), dict):
            result[key] = _close(schema[key])
    for key in ("prefixItems", "anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            result[key] = [_close(child) for child in schema[key]]
    if schema.get("properties") and not any(key in schema for key in _OPEN):
        result["additionalProperties"] = False
    return result


def _composes(schema: Any) -> bool:
    """Whether some object is described by several schemas at once."""
    if isinstance(schema, list):
        return any(map(_composes, schema))
    if not isinstance(schema, dict):
        return False
    if any(key in schema for key in ("allOf", "if", "dependentSchemas", "unevaluatedProperties")):
        return True
    beside = "properties" in schema and any(key in schema for key in _COMPOSING)
    return beside or any(
        _composes(child) for key, child in schema.items() if key not in ("enum", "const", "default")
    )
