"""Does a schema refer to itself without end?

A schema may be recursive as long as each round goes deeper into the value. One that applies itself to
the same value again sends a validator round in circles; jsonschema then dies at the recursion limit,
sometimes inside of its compiled parts, where no exception can be caught.
"""

from collections.abc import Iterator
from typing import Any

from looptool.records import JsonObject

_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else")
_DATA = frozenset({"enum", "const", "default", "examples"})


def find_endless_reference(root: JsonObject) -> str:
    """A local `$ref` on a circle that never goes deeper into the value; empty if there is none."""
    done: set[int] = set()
    for schema in _schemas(root):
        if reference := _walk(schema, root, done, frozenset()):
            return reference
    return ""


def _walk(schema: JsonObject, root: JsonObject, done: set[int], above: frozenset[int]) -> str:
    if id(schema) in done:
        return ""
    for child in _applied_to_same_value(schema, root):
        if id(child) in above or child is schema:
            return str(schema.get("$ref", "#"))
        if reference := _walk(child, root, done, above | {id(schema)}):
            return reference
    done.add(id(schema))
    return ""


def _applied_to_same_value(schema: JsonObject, root: JsonObject) -> Iterator[JsonObject]:
    children = [child for key in _LISTS for child in _list(schema.get(key))]
    children += [schema.get(key) for key in _SINGLE]
    dependent = schema.get("dependentSchemas")
    children += dependent.values() if isinstance(dependent, dict) else []
    children.append(resolve_local(schema.get("$ref"), root))
    yield from (child for child in children if isinstance(child, dict))


def resolve_local(reference: object, root: JsonObject) -> Any:
    """What `#` or `#/a/b` points at; None for anything else."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    target: Any = root
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        target = target.get(name) if isinstance(target, dict) else None
    return target


def _schemas(value: Any) -> Iterator[JsonObject]:
    """Every object that may be a schema."""
    if isinstance(value, dict):
        yield value
        for key, child in value.items():
            if key not in _DATA:
                yield from _schemas(child)
    elif isinstance(value, list):
        for child in value:
            yield from _schemas(child)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
