"""Whether arguments satisfy their tool's schema (R9), by jsonschema and one rule of ours.

JSON Schema lets unknown keys pass; endpoints and their users do not, so where an object declares
properties and says nothing of others, there are no others. Only pairs that already match come here,
and every finding is remembered: the validator takes longer than a hundred comparisons. It is
imported at the first need. Left out: `format`, an annotation in draft 2020-12.
"""

import math
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from typing import Any

from looptool.calls.json_text import MAX_DEPTH, describe_kind, is_deeper
from looptool.calls.schema import Node, Tool, freeze
from looptool.calls.values import is_default, item_node, plain_text
from looptool.errors import shorten
from looptool.patterns import bounded_validator

_MOST_KNOWN = 2048
_MOST_FAULTS = 5


def find_faults(tool: Tool, arguments: dict[str, Any]) -> tuple[str, ...]:
    """What is wrong with the arguments, each as path and reason; empty if they are sound.

    They are sound as they stand or in their plain form: values that compare equal should be sound
    together.
    """
    key = freeze(arguments)
    if key is None:
        return _find_faults(tool, arguments)
    known = tool.known_faults.get(key)
    if known is None:
        known = _find_faults(tool, arguments)
        if len(tool.known_faults) >= _MOST_KNOWN:
            tool.known_faults.clear()
        tool.known_faults[key] = known
    return known


def _find_faults(tool: Tool, arguments: dict[str, Any]) -> tuple[str, ...]:
    if is_deeper(arguments, MAX_DEPTH):
        return (f": nested deeper than {MAX_DEPTH} levels",)
    faults = tuple(islice(_walk(arguments, tool.node, ""), _MOST_FAULTS))
    # What is no JSON is nothing that the validator could judge.
    if faults:
        return faults
    faults = _validate(tool, arguments)
    if faults and not _validate(tool, plain_form(arguments, tool.node)):
        return ()
    return faults


def _walk(value: Any, node: Node, path: str) -> Iterator[str]:
    """Undeclared keys, and values that are not JSON."""
    if type(value) is dict:
        for key, child in value.items():
            if type(key) is not str:
                yield f"{path}: key {shorten(repr(key))} is not a string"
            elif node.closed and key not in node.properties:
                yield f"{extend_path(path, key)}: the schema declares no such key"
            else:
                yield from _walk(
                    child, node.properties.get(key, node.extra), extend_path(path, key)
                )
    elif type(value) is list:
        for i, child in enumerate(value):
            yield from _walk(child, item_node(node, i), f"{path}[{i}]")
    elif type(value) is float:
        if not math.isfinite(value):
            yield f"{path}: {value} is not a JSON number"
    elif value is not None and type(value) not in (str, int, bool):
        yield f"{path}: {describe_kind(value)} is not JSON"


def extend_path(path: str, key: object) -> str:
    """The path of an object's member, quoted where it is not a plain word."""
    text = str(key)
    return f"{path}.{text}" if text.isidentifier() else f"{path}[{shorten(repr(text))}]"


def _validate(tool: Tool, arguments: dict[str, Any]) -> tuple[str, ...]:
    try:
        if tool.validator is None:
            tool.validator = _build_validator(tool.parameters)
        errors = islice(tool.validator.iter_errors(arguments), _MOST_FAULTS)
        return tuple(f"{error.json_path[1:]}: {shorten(error.message)}" for error in errors)
    except Exception as error:
        # A foreign schema can make the validator raise nearly anything: a bad pattern, a reference
        # that leads nowhere or in circles, a word of another draft. Each is a fault of that schema.
        return (f": the schema of tool {tool.name} cannot be used: {shorten(error)}",)


def _build_validator(parameters: Any) -> Any:
    validator = bounded_validator()
    validator.check_schema(parameters)
    # An empty registry: a remote reference fails instead of being fetched.
    return validator(parameters, registry=import_module("referencing").Registry())


def plain_form(value: Any, node: Node, depth: int = 0) -> Any:
    """The value with defaults left out and texts trimmed: the same to R4 and R6."""
    if type(value) is str:
        return value if node.exact else plain_text(value)
    if type(value) is list:
        return [plain_form(v, item_node(node, i), depth + 1) for i, v in enumerate(value)]
    if type(value) is not dict:
        return value
    return {
        key: plain_form(child, node.properties.get(key, node.extra), depth + 1)
        for key, child in value.items()
        if not is_default(key, child, node, False, depth)
    }
