"""Any tool document as a ToolSpec, or the reason why it cannot be one.

Accepted: the OpenAI shape, a bare function, an MCP tool (`inputSchema`), an Anthropic one
(`input_schema`), and the schemas of public data sets (`dialects`). What comes out is valid JSON
Schema 2020-12 without references to anywhere else, because every later stage validates against it.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from looptool.errors import DataError, shorten
from looptool.patterns import compile_pattern
from looptool.records import JsonObject, ToolSpec, make_tool
from looptool.seed.dialects import MAX_DEPTH, as_object_schema, kinds_of, translate_schema

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_NAME = 64
MAX_VALUES = 50_000
"""Values in one schema; what YAML anchors share counts each time."""
_ALIASES = {
    "parameters": ("parameters", "inputSchema", "input_schema", "arguments"),
    "output": ("output", "outputSchema", "output_schema", "returns", "response"),
}
_LITERAL = ("enum", "const", "default", "examples")
_SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
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
    texts = {
        "description": " ".join((description or "").split()),
        "domain": given if isinstance(given, str) and given else domain,
        "original_name": "" if fit == original else original,
    }
    _check_text([source, *texts.values()], original)
    return make_tool(
        fit,
        parameters=check_parameters(_first(function, "parameters"), original),
        # Some data sets describe the result in words; that is no schema.
        output=check_schema(output, f"the result of {original}") if _is_schema(output) else None,
        source=source,
        **texts,
    )


def _is_schema(output: Any) -> bool:
    return bool(output) and not isinstance(output, str)


def _check_text(texts: Iterable[str], name: str) -> None:
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as exc:
        raise DataError(
            f"{fit_name(name)}: half a character (a lone surrogate) in its text"
        ) from exc


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
    """The tools in order, later bearers of a name as `name_2`, `name_3`, …: the map is injective.

    A name that its owner brought goes before one that was made to fit.
    """
    listed = list(tools)
    names: dict[int, str] = {}
    taken: set[str] = set()
    last: dict[str, int] = {}
    for place in sorted(range(len(listed)), key=lambda n: bool(listed[n].original_name)):
        name = own = listed[place].name
        while name in taken:
            last[own] = last.get(own, 1) + 1
            ending = f"_{last[own]}"
            name = own[: MAX_NAME - len(ending)] + ending
        taken.add(name)
        names[place] = name
    for place, tool in enumerate(listed):
        yield tool if names[place] == tool.name else rename(tool, names[place])


def rename(tool: ToolSpec, name: str) -> ToolSpec:
    """The same tool under another name."""
    kept = tool.model_dump(include={"output", "domain", "source"})
    original = tool.original_name or tool.name
    return make_tool(name, tool.description, tool.parameters, original_name=original, **kept)


def check_parameters(schema: Any, name: str) -> JsonObject:
    """The schema of the arguments, `type: object` with `properties`; raises DataError."""
    what = f"the parameters of {shorten(name)}"
    if schema is None or schema == {}:
        return {"type": "object", "properties": {}}
    _check_size(schema, what)
    schema = as_object_schema(schema)
    if not isinstance(schema, Mapping):
        raise DataError(f"{what} are no object: {shorten(schema)}")
    checked = {"type": "object", "properties": {}} | check_schema(_open_reference(schema), what)
    if "object" not in kinds_of(checked):
        raise DataError(f"{what} must be of type object, got {shorten(checked['type'])}")
    checked["type"] = "object"
    checked.pop("default", None)  # arguments are always there
    unknown = set(checked.get("required", [])) - set(checked["properties"])
    if unknown:
        raise DataError(f"{what} require {shorten(sorted(unknown))}, which are not declared")
    return checked


def _open_reference(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with what its own `$ref` says written out: endpoints look at `properties`."""
    for _ in range(MAX_DEPTH):
        reference = schema.get("$ref")
        target = find_target(reference, schema) if isinstance(reference, str) else None
        if not isinstance(target, Mapping):
            return schema
        schema = {**target, **{key: schema[key] for key in schema if key != "$ref"}}
    return schema


def check_schema(schema: Any, what: str) -> JsonObject:
    """A plain copy of a JSON Schema that can be used by itself; raises DataError."""
    what = shorten(what)
    if not isinstance(schema, Mapping):
        raise DataError(f"{what}: expected a JSON Schema, got {shorten(schema)}")
    _check_size(schema, what)
    try:
        text = json.dumps(schema, allow_nan=False, ensure_ascii=False)
        text.encode()
        document: JsonObject = translate_schema(json.loads(text))
        if not _is_surely_valid(document):
            Draft202012Validator.check_schema(document)
    except DataError as exc:
        raise DataError(f"{what}: {exc}") from exc
    except SchemaError as exc:
        place = "/".join(str(part) for part in exc.absolute_path) or "the schema"
        reason = f"no valid JSON Schema 2020-12 at {shorten(place)}: {shorten(exc.message)}"
        raise DataError(f"{what}: {reason}") from exc
    except (ValueError, TypeError, RecursionError) as exc:
        raise DataError(f"{what}: no JSON ({shorten(exc)})") from exc
    try:
        _check_parts(document, document, what, 0)
        if '"$ref"' in text:
            _check_loops(document, document, what, {})
    except RecursionError as exc:
        raise DataError(f"{what}: its references form too long a chain") from exc
    return document


def _is_surely_valid(document: Any) -> bool:
    """The compiled check takes a five-hundredth of the time; where it objects, or cannot tell,
    jsonschema decides and has the words."""
    try:
        return bool(jsonschema_rs.meta.is_valid(document))
    except (ValueError, TypeError):
        return False


def _check_size(schema: Any, what: str) -> None:
    waiting, left = [schema], MAX_VALUES
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list | tuple):
            waiting.extend(value.values() if isinstance(value, dict) else value)
        left -= 1
        if left < len(waiting):
            raise DataError(f"{what}: more than {MAX_VALUES:,} values, too many for a model")


def _check_parts(node: Any, root: JsonObject, what: str, depth: int) -> None:
    """References stay inside the document, and patterns are ones that Python can search for."""
    if depth > MAX_DEPTH:
        raise DataError(f"{what}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, list):
        for child in node:
            _check_parts(child, root, what, depth + 1)
    if not isinstance(node, dict):
        return
    for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
        reference = node.get(keyword)
        target = find_target(reference, root) if keyword == "$ref" else None
        if isinstance(reference, str) and (target is None or not _is_surely_valid(target)):
            raise DataError(f"{what}: the reference {shorten(reference)} leads nowhere")
    patterns = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
    for pattern in [*patterns, *_mapping(node.get("patternProperties"))]:
        try:
            compile_pattern(pattern)
        except (re.error, RecursionError, OverflowError) as exc:
            raise DataError(f"{what}: the pattern {shorten(pattern)} is unusable: {exc}") from exc
    for child in _children(node):
        _check_parts(child, root, what, depth + 1)


def _children(node: Mapping[str, Any]) -> Iterator[Any]:
    for key, child in node.items():
        if key in _NAMED:
            yield from _mapping(child).values()
        elif key not in _LITERAL:
            yield child


def _check_loops(node: Any, root: JsonObject, what: str, states: dict[int, bool]) -> None:
    """No schema asks for itself about the same value: no validator would ever end."""
    if isinstance(node, list):
        for child in node:
            _check_loops(child, root, what, states)
    if not isinstance(node, dict):
        return
    _follow(node, root, what, states)
    for child in _children(node):
        _check_loops(child, root, what, states)


def _follow(node: Any, root: JsonObject, what: str, states: dict[int, bool]) -> None:
    """Visit what applies to the value that `node` applies to; `states` says if that is done."""
    if not isinstance(node, dict) or states.get(id(node)):
        return
    if id(node) in states:
        raise DataError(f"{what}: a reference leads back to itself")
    states[id(node)] = False
    reference = node.get("$ref")
    if isinstance(reference, str):
        _follow(find_target(reference, root), root, what, states)
    for key in _SAME_VALUE:
        inner = node.get(key)
        for child in inner if isinstance(inner, list) else [inner]:
            _follow(child, root, what, states)
    for child in _mapping(node.get("dependentSchemas")).values():
        _follow(child, root, what, states)
    states[id(node)] = True


def find_target(reference: Any, root: Mapping[str, Any]) -> Any:
    """What a reference within the document (`#/a/b`) points at; None for any other."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    target: Any = root
    for part in unquote(reference).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and key.isdecimal() and int(key) < len(target):
            target = target[int(key)]
        elif isinstance(target, dict) and key in target:
            target = target[key]
        else:
            return None
    return target if isinstance(target, dict | bool) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
