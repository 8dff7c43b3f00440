"""Which tool's result can feed which tool's parameter, as far as their specifications say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from looptool.simulator.lexicon import split_name, stem
from looptool.simulator.shapes import Leaf, Schema, resolve, type_of
from looptool.simulator.toolbox import Tool, Toolbox


@dataclass(frozen=True, slots=True)
class Link:
    """A field of the source's result that is a required parameter of the target."""

    source: Tool
    target: Tool
    leaf: Leaf
    """The parameter of the target."""
    which: str = ""
    """How the field is picked from a list of results: "", first or cheapest."""


def find_links(box: Toolbox) -> list[Link]:
    """All links among the tools; none where no result schema is known."""
    found: list[Link] = []
    for source in box.tools:
        fields = list(_result_fields(source))
        for target in box.tools:
            if target is source:
                continue
            for leaf in target.leaves:
                if (
                    not leaf.required
                    or leaf.choices
                    or leaf.type not in ("string", "integer", "number")
                ):
                    continue
                found.extend(
                    Link(source, target, leaf, which)
                    for key, kind, which in fields
                    if kind == leaf.type and _feeds(key, source, leaf)
                )
    return found


def _result_fields(tool: Tool) -> Iterator[tuple[str, str, str]]:
    """(key, type, which) of the scalar fields of a tool's result."""
    root = tool.returns if isinstance(tool.returns, Mapping) else {}
    schema = resolve(root, root)
    yield from ((key, kind, "") for key, kind in _scalars(schema, root))
    lists = [schema] if type_of(schema) == "array" else list(_properties(schema).values())
    for raw in lists:
        inner = resolve(raw, root)
        if type_of(inner) != "array":
            continue
        row = resolve(inner.get("items"), root)
        fields = dict(_scalars(row, root))
        priced = any("price" in key or "cost" in key or "fare" in key for key in fields)
        for key, kind in fields.items():
            yield key, kind, "first"
            if priced:
                yield key, kind, "cheapest"
        return


def _properties(schema: Schema) -> Mapping[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _scalars(schema: Schema, root: Schema) -> Iterator[tuple[str, str]]:
    for key, inner in _properties(schema).items():
        kind = type_of(resolve(inner, root))
        if kind in ("string", "integer", "number"):
            yield key, kind


def _feeds(key: str, source: Tool, leaf: Leaf) -> bool:
    """Whether a field's name says that it is what the parameter wants."""
    said, wanted = split_name(key), leaf.words.split()
    if said == wanted:
        return wanted not in (["name"], ["title"], ["text"], ["date"], ["status"])
    if wanted[-1] != "id" or len(wanted) < 2:
        return False
    owner = stem(wanted[-2])
    about = {stem(word) for action in source.actions for word in split_name(action)}
    return (said == ["id"] and owner in about) or (said[-1] == "id" and said[-2:] == wanted[-2:])
