"""JSON Schema as the scripted teacher sees it: references followed, unions decided, objects flattened.

A `Leaf` is one thing that a user can state: a scalar, a list, or a free-form value at some path inside
the arguments. Nested objects with named properties are flattened into the leaves below them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from looptool.simulator.kinds import Kind, kind_of
from looptool.simulator.lexicon import split_name

MAX_DEPTH = 3
Path = tuple[str, ...]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One statable argument."""

    path: Path
    words: str
    """Its name as a person would say it, path included."""
    type: str
    """string, integer, number, boolean, array or any."""
    schema: Schema
    required: bool
    """Required, with all objects around it."""
    needed: bool
    """Required inside its object, which may itself be optional."""
    kind: Kind | None
    choices: tuple[Any, ...] = ()
    """Enumerated values of the leaf, or of its items."""
    item_type: str = ""
    """Type of the items of an array; empty for arrays of anything but scalars."""


def resolve(schema: Any, root: Schema, depth: int = 0) -> Schema:
    """The schema with local references followed and unions decided for the first usable branch."""
    if not isinstance(schema, Mapping) or depth > 8:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target: Any = root
        for part in reference.removeprefix("#/").split("/"):
            target = target.get(part, {}) if isinstance(target, Mapping) else {}
        return resolve(target, root, depth + 1)
    if isinstance(schema.get("allOf"), list):
        merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
        for branch in schema["allOf"]:
            merged = {**resolve(branch, root, depth + 1), **merged}
        return merged
    for union in ("anyOf", "oneOf"):
        branches = schema.get(union)
        if isinstance(branches, list):
            found = [resolve(branch, root, depth + 1) for branch in branches]
            usable = [branch for branch in found if type_of(branch) != "null"] or [{}]
            outer = {k: v for k, v in schema.items() if k != union and v is not None}
            return {**usable[0], **outer}
    return schema


def type_of(schema: Schema) -> str:
    """The JSON type that a schema asks for: the first one that is not null, `any` when it says none."""
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = next((t for t in declared if t != "null"), "null")
    if isinstance(declared, str):
        return declared
    if "const" in schema:
        return _type_of_value(schema["const"])
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return _type_of_value(schema["enum"][0])
    if isinstance(schema.get("properties"), Mapping):
        return "object"
    return "array" if "items" in schema else "any"


def _type_of_value(value: Any) -> str:
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, kind):
            return name
    return "any"


def find_leaves(parameters: Any) -> tuple[Leaf, ...]:
    """All leaves of a tool's parameters, in order of the schema."""
    root = parameters if isinstance(parameters, Mapping) else {}
    return tuple(_leaves_of(resolve(root, root), root, (), (), True))


def _leaves_of(
    schema: Schema, root: Schema, path: Path, words: tuple[str, ...], required: bool
) -> list[Leaf]:
    properties = schema.get("properties")
    needed_names = schema.get("required")
    names = needed_names if isinstance(needed_names, list) else []
    leaves: list[Leaf] = []
    for name, raw in (properties if isinstance(properties, Mapping) else {}).items():
        inner = resolve(raw, root)
        own_words = (*words, *split_name(str(name)))
        needed = name in names
        if _is_open(inner, len(path)):
            below = _leaves_of(inner, root, (*path, name), own_words, required and needed)
            if required and needed and not any(leaf.required for leaf in below):
                below[0] = replace(below[0], required=True, needed=True)
            leaves.extend(below)
        else:
            leaves.append(_leaf(inner, root, (*path, name), own_words, required and needed, needed))
    return leaves


def _is_open(schema: Schema, depth: int) -> bool:
    """Whether an object is flattened rather than stated as JSON."""
    properties = schema.get("properties")
    return type_of(schema) == "object" and bool(properties) and depth < MAX_DEPTH


def _leaf(
    schema: Schema, root: Schema, path: Path, words: tuple[str, ...], required: bool, needed: bool
) -> Leaf:
    kind_name = type_of(schema)
    text = " ".join(words)
    choices = _choices(schema)
    item_type = ""
    if kind_name == "array":
        item = resolve(schema.get("items"), root)
        item_type = type_of(item)
        item_type = item_type if item_type in ("string", "integer", "number") else ""
        choices = _choices(item)
        schema = {**schema, "items": item}
    elif kind_name not in ("string", "integer", "number", "boolean"):
        kind_name = "any"
    form = schema.get("format")
    kind = kind_of(text, form if isinstance(form, str) else "")
    if kind_name == "array":
        kind = kind_of(text, str(schema["items"].get("format", "")))
    return Leaf(path, text, kind_name, schema, required, needed, kind, choices, item_type)


def _choices(schema: Schema) -> tuple[Any, ...]:
    if "const" in schema:
        return (schema["const"],)
    values = schema.get("enum")
    return tuple(v for v in values if v is not None) if isinstance(values, list) else ()


def get_at(arguments: Any, path: Path) -> Any:
    """The value at a path; raises KeyError when it is not there."""
    for name in path:
        if not isinstance(arguments, Mapping):
            raise KeyError(name)
        arguments = arguments[name]
    return arguments


def build_arguments(values: Mapping[Path, Any]) -> dict[str, Any]:
    """Nested arguments from values by path."""
    arguments: dict[str, Any] = {}
    for path, value in values.items():
        inner = arguments
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return arguments


def stated_values(leaves: tuple[Leaf, ...], arguments: Any) -> dict[Path, Any]:
    """The values by path of those leaves that the arguments hold."""
    values: dict[Path, Any] = {}
    for leaf in leaves:
        try:
            values[leaf.path] = get_at(arguments, leaf.path)
        except KeyError:
            continue
    return values


def same_json(left: Any, right: Any) -> bool:
    """Equality of JSON values that keeps booleans apart from numbers."""
    try:
        return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    except (TypeError, ValueError):
        return False
