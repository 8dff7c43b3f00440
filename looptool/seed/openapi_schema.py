"""Schemas of an OpenAPI 3.0 or 3.1 document as plain JSON Schema 2020-12, complete in themselves.

References are written out; one that leads back into itself is cut to its type and description: models
must see where a value goes, not a grammar of trees. Only keywords that say
something about a value are kept (titles, xml and extensions would fill a model's context).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from looptool.errors import DataError, shorten
from looptool.records import JsonObject
from looptool.seed.dialects import apply_nullable, translate_words

MAX_NODES = 4000
_KEPT = (
    "type", "enum", "const", "default", "description", "format", "pattern",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
    "minProperties", "maxProperties", "required", "examples",
)  # fmt: skip
_ONE = ("items", "additionalProperties", "not", "propertyNames", "contains")
_MANY = ("anyOf", "oneOf", "prefixItems")


class SchemaReader:
    """Reads the schemas of one document; `budget` bounds the size of what one tool may write
    out."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._left = MAX_NODES

    def read(self, schema: Any, *, hidden: str, depth: int = 32) -> JsonObject:
        """A schema written out. `hidden` is `readOnly` in requests and `writeOnly` in results.

        Below `depth` everything is the empty schema. Raises DataError for a reference that leads
        nowhere and for a schema too large to be shown to a model.
        """
        self._left = MAX_NODES
        return self._read(schema, hidden, (), depth)

    def follow(self, node: Any) -> Any:
        """The node itself, or what its `$ref` leads to; raises DataError."""
        seen: set[str] = set()
        while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
            reference = node["$ref"]
            if reference in seen:
                raise DataError(f"the reference {shorten(reference)} leads back to itself")
            seen.add(reference)
            node = self._target(reference)
        return node

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            raise DataError(f"the reference {shorten(reference)} leads out of the document")
        target: Any = self.document
        for part in reference[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and key in target:
                target = target[key]
            elif isinstance(target, Sequence) and key.isdigit() and int(key) < len(target):
                target = target[int(key)]
            else:
                raise DataError(f"the reference {shorten(reference)} leads nowhere")
        return target

    def _read(self, schema: Any, hidden: str, above: tuple[str, ...], depth: int) -> JsonObject:
        self._left -= 1
        if self._left < 0:
            raise DataError(f"the schema has more than {MAX_NODES} parts, too many for a model")
        if not isinstance(schema, Mapping) or depth < 0:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            if reference in above:
                plain = _outline(self.follow(schema))
            else:
                plain = self._read(self._target(reference), hidden, (*above, reference), depth)
            if beside:
                plain = {**plain, **self._read(beside, hidden, above, depth)}
        else:
            plain = self._keywords(schema, hidden, above, depth)
            for part in _list(schema.get("allOf")):
                plain = merge_schemas(plain, self._read(part, hidden, above, depth - 1))
        return apply_nullable(plain) if schema.get("nullable") is True else plain

    def _keywords(
        self, schema: Mapping[str, Any], hidden: str, above: tuple[str, ...], depth: int
    ) -> JsonObject:
        plain: JsonObject = {key: schema[key] for key in _KEPT if key in schema}
        for key in _ONE:
            child = schema.get(key)
            if isinstance(child, Mapping):
                plain[key] = self._read(child, hidden, above, depth - 1)
            elif isinstance(child, bool) and key != "items":
                plain[key] = child
        for key in _MANY:
            children = schema.get(key)
            if isinstance(children, list) and children:
                plain[key] = [self._read(child, hidden, above, depth - 1) for child in children]
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            shown = {k: v for k, v in properties.items() if not self._is_hidden(v, hidden)}
            plain["properties"] = {
                name: self._read(child, hidden, above, depth - 1) for name, child in shown.items()
            }
            gone = [name for name in properties if name not in shown]  # names may be anything
            if gone and isinstance(plain.get("required"), list):
                plain["required"] = [name for name in plain["required"] if name not in gone]
        if "example" in schema:
            plain["example"] = schema["example"]
        translate_words(plain)
        if not isinstance(plain.get("required", []), list) or plain.get("required") == []:
            del plain["required"]
        return plain

    def _is_hidden(self, schema: Any, hidden: str) -> bool:
        return isinstance(schema, Mapping) and schema.get(hidden) is True


def _outline(schema: Any) -> JsonObject:
    """What is left of a schema that leads back into itself."""
    found = schema if isinstance(schema, Mapping) else {}
    return {key: found[key] for key in ("type", "description") if key in found}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def merge_schemas(left: JsonObject, right: JsonObject) -> JsonObject:
    """What both branches of an allOf ask for; where they differ in a keyword, the first one
    counts."""
    merged = {**right, **left}
    if "properties" in left and "properties" in right:
        merged["properties"] = dict(right["properties"])
        for name, schema in left["properties"].items():
            other = right["properties"].get(name)
            merged["properties"][name] = merge_schemas(schema, other) if other else schema
        order = [*left["properties"], *right["properties"]]
        merged["properties"] = {name: merged["properties"][name] for name in order}
    required = [*left.get("required", []), *right.get("required", [])]
    if required:
        merged["required"] = [name for n, name in enumerate(required) if name not in required[:n]]
    return merged
