"""Tools from an OpenAPI 3.0 or 3.1 document: one per operation.

Parameters of path, query, cookie and (where required) header and the properties of a JSON body
become one flat object, because that is what models fill in well; a name that occurs twice gets its
place as an ending. Whatever authenticates is left out: a model must not see, invent or pass on
secrets.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from looptool.errors import ConfigError, DataError, shorten
from looptool.records import JsonObject, Rejection, ToolSpec
from looptool.seed.json_file import reject
from looptool.seed.normalise import make_names_unique, normalise_tool
from looptool.seed.openapi_schema import SchemaReader
from looptool.seed.read import as_object, parse_yaml, read_text, show_location

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LEFT_OUT = frozenset(
    {
        "authorization",
        "accept",
        "content-type",
        "cookie",
        "user-agent",
        "host",
        "proxy-authorization",
    }
)
MAX_DESCRIPTION = 400
RESULT_DEPTH = 3


@dataclass(slots=True)
class _Arguments:
    """The one object that an operation's inputs become."""

    properties: JsonObject = field(default_factory=dict)
    required: list[str] = field(default_factory=list)

    def add(self, name: str, place: str, schema: JsonObject, *, required: bool) -> None:
        while name in self.properties:
            name = f"{name}_{place}"
        self.properties[name] = schema
        if required:
            self.required.append(name)

    def as_schema(self) -> JsonObject:
        schema: JsonObject = {"type": "object", "properties": self.properties}
        if self.required:
            schema["required"] = self.required
        return schema


def load_openapi_tools(
    document: str | PathLike[str] | Mapping[str, Any],
) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a document (path, URL or parsed), and the operations that cannot be one.

    Raises ConfigError for what is no OpenAPI 3 document, or has no operations.
    """
    if isinstance(document, Mapping):
        shown, parsed = "openapi", document
    else:
        location = str(document)
        shown = show_location(location)
        parsed = _parse(read_text(location), shown)
    version = str(parsed.get("openapi", ""))
    if not version.startswith("3."):
        found = f"swagger {parsed['swagger']}" if "swagger" in parsed else version or "none"
        raise ConfigError(f"{shown} must be an OpenAPI 3.x document; its version is {found}")
    paths = as_object(parsed.get("paths") or {}, f"`paths` of {shown}")
    if not paths:
        raise ConfigError(f"the OpenAPI document {shown} has no paths, so it gives no tools")
    return _read_operations(parsed, paths, shown)


def _parse(text: str, shown: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = parse_yaml(text, shown)
    return as_object(parsed, shown)


def _read_operations(
    document: Mapping[str, Any], paths: Mapping[str, Any], shown: str
) -> tuple[list[ToolSpec], list[Rejection]]:
    reader = SchemaReader(document)
    secret = _secret_parameters(document)
    tools: list[ToolSpec] = []
    rejections: list[Rejection] = []
    for path, raw in paths.items():
        try:
            item = reader.follow(raw)
        except DataError as exc:
            rejections.append(reject(path, "bad_tool", str(exc), raw))
            continue
        for method, operation in _operations_of(item):
            place = f"{method.upper()} {path}"
            if operation.get("deprecated") is True:
                rejections.append(reject(place, "deprecated", "marked as deprecated", operation))
                continue
            try:
                tool = _read_operation(reader, path, method, item, operation, secret)
                tools.append(normalise_tool(tool, source=f"{shown}#{place}"))
            except (DataError, RecursionError) as exc:
                rejections.append(reject(place, "bad_tool", shorten(exc, 400), operation))
    return list(make_names_unique(tools)), rejections


def _operations_of(item: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for method in METHODS:
        operation = item.get(method) if isinstance(item, Mapping) else None
        if isinstance(operation, Mapping):
            yield method, operation


def _secret_parameters(document: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """(place, name in lower case) of the API keys that the security schemes name."""
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    values = schemes.values() if isinstance(schemes, Mapping) else ()
    return frozenset(
        (str(scheme.get("in")), str(scheme.get("name")).lower())
        for scheme in values
        if isinstance(scheme, Mapping) and scheme.get("type") == "apiKey"
    )


def _read_operation(
    reader: SchemaReader,
    path: str,
    method: str,
    item: Mapping[str, Any],
    operation: Mapping[str, Any],
    secret: frozenset[tuple[str, str]],
) -> JsonObject:
    arguments = _Arguments()
    for parameter in _parameters(reader, item, operation):
        place, name = str(parameter.get("in")), str(parameter.get("name") or "")
        needed = parameter.get("required") is True or place == "path"
        # Optional headers are the transport's business: versions, tracing, caching.
        header = place == "header" and (name.lower() in LEFT_OUT or not needed)
        if not name or header or (place, name.lower()) in secret:
            continue
        arguments.add(name, place, _parameter_schema(reader, parameter), required=needed)
    _read_body(reader, operation, arguments)
    tags = operation.get("tags")
    words = [part for part in path.split("/") if part and not part.startswith("{")]
    given = operation.get("operationId")
    return {
        "name": given if isinstance(given, str) and given.strip() else f"{method}_{path}",
        "description": _describe(operation, method, path),
        "parameters": arguments.as_schema(),
        "output": _read_result(reader, operation),
        "domain": str(tags[0]) if isinstance(tags, list) and tags else (words or [""])[0],
    }


def _parameters(
    reader: SchemaReader, item: Mapping[str, Any], operation: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Those of the path, replaced by those of the operation with the same name and place."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for holder in (item, operation):
        listed = holder.get("parameters")
        for raw in listed if isinstance(listed, list) else ():
            parameter = reader.follow(raw)
            if isinstance(parameter, Mapping):
                found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    order = {"path": 0, "query": 1, "header": 2, "cookie": 3}
    return sorted(found.values(), key=lambda parameter: order.get(str(parameter.get("in")), 4))


def _parameter_schema(reader: SchemaReader, parameter: Mapping[str, Any]) -> JsonObject:
    content = parameter.get("content")
    raw = _json_schema_of(content) if isinstance(content, Mapping) else parameter.get("schema")
    schema = reader.read(raw, hidden="readOnly")
    description = parameter.get("description")
    if isinstance(description, str) and description.strip():
        schema["description"] = _trim(description)
    if "example" in parameter and "examples" not in schema:
        schema["examples"] = [parameter["example"]]
    return schema


def _read_body(reader: SchemaReader, operation: Mapping[str, Any], arguments: _Arguments) -> None:
    body = reader.follow(operation.get("requestBody"))
    if not isinstance(body, Mapping):
        return
    content = body.get("content")
    raw = _json_schema_of(content) if isinstance(content, Mapping) else None
    required = body.get("required") is True
    if raw is None:
        if required:
            kinds = ", ".join(content) if isinstance(content, Mapping) else "nothing"
            raise DataError(f"its body is no JSON: {shorten(kinds)}")
        return
    schema = reader.read(raw, hidden="readOnly")
    kind = schema.get("type", "object")
    flat = schema.get("properties") and (kind == "object" or "object" in kind)
    if not flat or schema.get("anyOf") or schema.get("oneOf"):
        if schema or required:
            arguments.add("body", "body", schema, required=required)
        return
    needed = schema.get("required", []) if required else []
    for name, inner in schema["properties"].items():
        arguments.add(name, "body", inner, required=name in needed)


def _json_schema_of(content: Mapping[str, Any]) -> Any:
    """The schema of the JSON form of a content map, else of a web form; None without either."""
    for ending in ("json", "x-www-form-urlencoded", "form-data"):
        for kind, media in content.items():
            plain = kind.split(";")[0].strip().lower()
            matches = plain.endswith(ending) or (ending == "json" and plain == "*/*")
            if matches and isinstance(media, Mapping):
                schema = media.get("schema")
                return schema if isinstance(schema, Mapping) else {}
    return None


def _read_result(reader: SchemaReader, operation: Mapping[str, Any]) -> JsonObject | None:
    """The schema of a successful answer, cut where it gets deep; None where it cannot be told."""
    responses = operation.get("responses")
    for code in ("200", "201", "202", "2XX", "default"):
        try:
            response = reader.follow(as_mapping(responses).get(code))
            raw = _json_schema_of(as_mapping(as_mapping(response).get("content")))
            if raw:
                return reader.read(raw, hidden="writeOnly", depth=RESULT_DEPTH) or None
        except DataError:
            return None
    return None


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _describe(operation: Mapping[str, Any], method: str, path: str) -> str:
    texts = [operation.get(key) for key in ("summary", "description")]
    summary, description = (text.strip() if isinstance(text, str) else "" for text in texts)
    if summary and description and not description.startswith(summary):
        return _trim(f"{summary.rstrip('.')}. {description}")
    return _trim(description or summary or f"{method.upper()} {path}")


def _trim(text: str) -> str:
    return shorten(text, MAX_DESCRIPTION)
