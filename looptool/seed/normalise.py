"""Any tool document as a ToolSpec, or the reason why it cannot be one.

Accepted: the OpenAI shape, a bare function, an MCP tool (`inputSchema`). What comes out is valid
JSON Schema 2020-12 without references to anywhere else, because every later stage validates against
it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from looptool.errors import DataError, shorten
from looptool.records import JsonObject, ToolSpec, canonical_json, make_tool

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_NAME = 64
MAX_DEPTH = 64
_ALIASES = {
    "parameters": ("parameters", "inputSchema", "input_schema"),
    "output": ("output", "outputSchema", "output_schema", "returns"),
}
_LITERAL = ("enum", "const", "default", "examples")
_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")


def normalise_tool(document: Mapping[str, Any], *, source: str = "", domain: str = "") -> ToolSpec:
    """The tool as a ToolSpec; raises DataError with the reason.

    A name that chat endpoints forbid is made fit, and kept in `original_name`.
    """
    if not isinstance(document, Mapping):
        raise DataError(f"expected a tool as a JSON object, got {shorten(document)}")
    function = document.get("function", document)
    if not isinstance(function, Mapping):
        raise DataError(f"`function` must be an object, got {shorten(function)}")
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"a tool without a name: {shorten(dict(document))}")
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise DataError(f"the description of {shorten(name)} is no text: {shorten(description)}")
    original = name.strip()
    fit = original if NAME.fullmatch(original) else fit_name(original)
    output = _first(function, "output")
    given = document.get("domain") or function.get("domain")
    return make_tool(
        fit,
        " ".join((description or "").split()),
        check_parameters(_first(function, "parameters"), original),
        output=check_schema(output, f"the result of {original}") if output else None,
        domain=given if isinstance(given, str) and given else domain,
        source=source,
        original_name="" if fit == original else original,
    )


def _first(function: Mapping[str, Any], what: str) -> Any:
    return next((function[key] for key in _ALIASES[what] if function.get(key) is not None), None)


def fit_name(name: str) -> str:
    """A name of [a-zA-Z0-9_-]{1,64}; a long one ends in a digest, so that it stays its own."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    fit = re.sub(r"_{2,}", "_", re.sub(r"[^a-zA-Z0-9_-]", "_", plain)).strip("_") or "tool"
    if len(fit) <= MAX_NAME:
        return fit
    return f"{fit[: MAX_NAME - 9]}_{sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def make_names_unique(tools: Iterable[ToolSpec]) -> Iterator[ToolSpec]:
    """The tools in order, later bearers of a name as `name_2`, `name_3`, …: the map is
    injective."""
    taken: set[str] = set()
    for tool in tools:
        name, number = tool.name, 1
        while name in taken:
            number += 1
            ending = f"_{number}"
            name = tool.name[: MAX_NAME - len(ending)] + ending
        taken.add(name)
        yield tool if name == tool.name else rename(tool, name)


def rename(tool: ToolSpec, name: str) -> ToolSpec:
    """The same tool under another name."""
    kept = tool.model_dump(include={"output", "domain", "source"})
    original = tool.original_name or tool.name
    return make_tool(name, tool.description, tool.parameters, original_name=original, **kept)


def check_parameters(schema: Any, name: str) -> JsonObject:
    """The schema of the arguments, `type: object` with `properties`; raises DataError."""
    if schema is None or schema == {}:
        return {"type": "object", "properties": {}}
    if not isinstance(schema, Mapping):
        raise DataError(f"the parameters of {shorten(name)} are no object: {shorten(schema)}")
    wanted = {"type": "object", "properties": {}} | {k: schema[k] for k in schema if k != "$schema"}
    if wanted["type"] != "object":
        raise DataError(
            f"the parameters of {shorten(name)} must be of type object, got "
            f"{shorten(wanted['type'])}"
        )
    checked = check_schema(wanted, f"the parameters of {name}")
    unknown = set(checked.get("required", [])) - set(checked["properties"])
    if unknown:
        raise DataError(
            f"the parameters of {shorten(name)} require {shorten(sorted(unknown))}, which are "
            "not declared"
        )
    return checked


def check_schema(schema: Any, what: str) -> JsonObject:
    """A plain copy of a JSON Schema that can be used by itself; raises DataError."""
    what = shorten(what)
    if not isinstance(schema, Mapping):
        raise DataError(f"{what}: expected a JSON Schema, got {shorten(schema)}")
    try:
        canonical_json(schema)
        Draft202012Validator.check_schema(schema)
    except SchemaError as exc:
        place = "/".join(str(part) for part in exc.absolute_path) or "the schema"
        raise DataError(f"{what}: no valid JSON Schema 2020-12 at {place}: {exc.message}") from exc
    except (ValueError, TypeError, RecursionError) as exc:
        raise DataError(f"{what}: no JSON ({shorten(exc)})") from exc
    document = dict(schema)
    _check_parts(document, document, what, 0)
    return document


def _check_parts(node: Any, root: JsonObject, what: str, depth: int) -> None:
    """References stay inside the document, and patterns are ones that Python can search for."""
    if depth > MAX_DEPTH:
        raise DataError(f"{what}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, list):
        for child in node:
            _check_parts(child, root, what, depth + 1)
    if not isinstance(node, Mapping):
        return
    reference = node.get("$ref")
    if isinstance(reference, str) and not _resolves(reference, root):
        raise DataError(f"{what}: the reference {shorten(reference)} leads nowhere")
    patterns = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
    for pattern in [*patterns, *node.get("patternProperties", {})]:
        try:
            re.compile(pattern)
        except (re.error, RecursionError) as exc:
            raise DataError(f"{what}: the pattern {shorten(pattern)} is unusable: {exc}") from exc
    for key, child in node.items():
        if key in _NAMED and isinstance(child, Mapping):
            for inner in child.values():
                _check_parts(inner, root, what, depth + 1)
        elif key not in _LITERAL:
            _check_parts(child, root, what, depth + 1)


def _resolves(reference: str, root: JsonObject) -> bool:
    if not reference.startswith("#"):
        return False
    target: Any = root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or key not in target:
            return False
        target = target[key]
    return True
