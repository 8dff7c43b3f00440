"""Tools from an OpenAPI 3.0 or 3.1 document: one per operation.

Parameters of path, query, header and cookie and the properties of a JSON body become one flat
object, because that is what models fill in well; a name that occurs twice gets its place as an
ending. Whatever authenticates is left out: a model must not see, invent or pass on secrets. So are
optional headers of the transport (tracing, caching, versions).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from os import PathLike
from typing import Any

from looptool.errors import ConfigError, DataError, shorten
from looptool.records import JsonObject, Rejection, ToolSpec, as_mapping
from looptool.seed.dialects import kinds_of, read_examples
from looptool.seed.json_file import reject
from looptool.seed.normalise import make_names_unique, normalise_tool
from looptool.seed.openapi_schema import SchemaReader, merge_schemas
from looptool.seed.read import TIMEOUT_S, as_object, parse_document, read_text, show_location

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LEFT_OUT = frozenset(
    "authorization proxy-authorization cookie accept content-type user-agent host".split()
)
"""Headers that OpenAPI says are no parameters, or that authenticate."""
SECRETS = frozenset(
    "x-api-key api-key apikey api_key x-auth-token x-access-token access_token x-csrf-token "
    "x-xsrf-token csrf_token".split()
)
"""Names that authenticate wherever they stand, also where no security scheme says so."""
TRANSPORT = re.compile(
    r"accept-.*|content-.*|if-.*|cache-control|connection|traceparent|tracestate|baggage"
    r"|x-forwarded-.*|x-b3-.*|x-(.*-)?(request|correlation|trace)(-id)?|(.*-)?api-version"
)
"""Optional headers that are the business of the transport: tracing, caching, versions."""
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
    *,
    tags: Sequence[str] = (),
    paths: Sequence[str] = (),
    include_deprecated: bool = False,
    timeout_s: float = TIMEOUT_S,
    shown: str = "openapi",
) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a document (path, URL or parsed), and the operations that cannot be one.

    `tags` and `paths` choose operations, as `ToolSource` says; `shown` names a parsed document.
    Raises ConfigError for what is no OpenAPI 3 document, has no operations, or none that is chosen.
    """
    if not isinstance(document, Mapping):
        location = str(document)
        shown = show_location(location)
        document = as_object(parse_document(read_text(location, timeout_s), shown), shown)
    _check_version(document, shown)
    items = as_object(document.get("paths") or {}, f"`paths` of {shown}")
    if not items:
        raise ConfigError(f"the OpenAPI document {shown} has no paths, so it gives no tools")
    wanted = _Choice(frozenset(tags), tuple(paths), include_deprecated)
    found = _read_operations(document, items, shown, wanted)
    if (tags or paths) and not any(found):
        known = ", ".join(sorted(wanted.tags_seen)[:10]) or "none"
        asked = ", ".join([*tags, *paths])
        raise ConfigError(f"{shown} has no operation for {shorten(asked)}; its tags are: {known}")
    return found


def _check_version(document: Mapping[str, Any], shown: str) -> None:
    version = str(document.get("openapi", ""))
    if version.startswith("3."):
        return
    found = f"swagger {document['swagger']}" if "swagger" in document else version or "none"
    raise ConfigError(
        f"{shown} must be an OpenAPI 3.x document (3.0 and 3.1 are read); its version is "
        f"{shorten(found)}" + ("; convert it to OpenAPI 3 first" if "swagger" in document else "")
    )


@dataclass(slots=True)
class _Choice:
    """Which operations become tools."""

    tags: frozenset[str]
    paths: tuple[str, ...]
    deprecated: bool
    tags_seen: set[str] = field(default_factory=set)

    def takes_path(self, path: str) -> bool:
        return not self.paths or any(_lies_below(path, place) for place in self.paths)

    def takes_tags(self, operation: Mapping[str, Any]) -> bool:
        tags = {tag for tag in _list(operation.get("tags")) if isinstance(tag, str)}
        self.tags_seen |= tags
        return not self.tags or bool(self.tags & tags)


def _lies_below(path: str, place: str) -> bool:
    start = place.rstrip("/")
    return path in (place, start) or path.startswith(f"{start}/") or fnmatchcase(path, place)


def _read_operations(
    document: Mapping[str, Any], paths: Mapping[str, Any], shown: str, wanted: _Choice
) -> tuple[list[ToolSpec], list[Rejection]]:
    reader = SchemaReader(document)
    secret = _secret_parameters(document)
    tools: list[ToolSpec] = []
    rejections: list[Rejection] = []
    for path, raw in paths.items():
        if not wanted.takes_path(path) or path.startswith("x-"):
            continue
        try:
            item = reader.follow(raw)
        except DataError as exc:
            rejections.append(reject(path, "bad_tool", str(exc), raw))
            continue
        for method, operation in _operations_of(item):
            if not wanted.takes_tags(operation):
                continue
            place = f"{method.upper()} {path}"
            if operation.get("deprecated") is True and not wanted.deprecated:
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
        low = name.lower()
        header = place == "header" and (
            low in LEFT_OUT or (not needed and TRANSPORT.fullmatch(low) is not None)
        )
        if not name or header or (place, low) in secret or (place != "path" and low in SECRETS):
            continue
        arguments.add(name, place, _parameter_schema(reader, parameter), required=needed)
    _read_body(reader, operation, arguments)
    tags = [tag for tag in _list(operation.get("tags")) if isinstance(tag, str) and tag]
    words = [part for part in path.split("/") if part and not part.startswith("{")]
    given = operation.get("operationId")
    return {
        "name": given if isinstance(given, str) and given.strip() else f"{method}_{path}",
        "description": _describe(operation, method, path),
        "parameters": arguments.as_schema(),
        "output": _read_result(reader, operation),
        "domain": (tags or words or [""])[0],
    }


def _parameters(
    reader: SchemaReader, item: Mapping[str, Any], operation: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Those of the path, replaced by those of the operation with the same name and place."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for holder in (item, operation):
        for raw in _list(holder.get("parameters")):
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
    _add_examples(schema, _examples_of(parameter))
    return schema


def _examples_of(holder: Mapping[str, Any]) -> list[Any]:
    """The examples that a parameter or a body gives beside its schema."""
    if "example" in holder:
        return [holder["example"]]
    return read_examples(holder["examples"]) if "examples" in holder else []


def _add_examples(schema: JsonObject, examples: list[Any]) -> None:
    if examples and "examples" not in schema:
        schema["examples"] = examples


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
    schema = _without_null(reader.read(raw, hidden="readOnly"))
    examples = _examples_of(_json_form_of(as_mapping(content)) or {})
    flat = schema.get("properties") and "object" in (kinds_of(schema) or ["object"])
    if not flat or schema.get("anyOf") or schema.get("oneOf"):
        if schema or required:
            _add_examples(schema, examples)
            arguments.add("body", "body", schema, required=required)
        return
    needed = _list(schema.get("required")) if required else []
    for name, inner in schema["properties"].items():
        _add_examples(inner, [e[name] for e in examples if isinstance(e, Mapping) and name in e])
        arguments.add(name, "body", inner, required=name in needed)


def _without_null(schema: JsonObject) -> JsonObject:
    """A body that may be null is one that may be left out."""
    for key in ("anyOf", "oneOf"):
        branches = [b for b in schema.get(key, []) if b.get("type") != "null"]
        if len(branches) == 1 < len(schema[key]):
            return merge_schemas({k: v for k, v in schema.items() if k != key}, branches[0])
    return schema


def _json_schema_of(content: Mapping[str, Any]) -> Any:
    """The schema of a content map, {} where it has none; None where nothing can be written."""
    media = _json_form_of(content)
    if media is None:
        return None
    schema = media.get("schema")
    return schema if isinstance(schema, Mapping) else {}


def _json_form_of(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON form of a content map, else a web form; None without either."""
    for ending in ("json", "x-www-form-urlencoded", "form-data"):
        for kind, media in content.items():
            plain = kind.split(";")[0].strip().lower()
            matches = plain.endswith(ending) or (ending == "json" and plain == "*/*")
            if matches and isinstance(media, Mapping):
                return media
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


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _describe(operation: Mapping[str, Any], method: str, path: str) -> str:
    texts = [operation.get(key) for key in ("summary", "description")]
    summary, description = (text.strip() if isinstance(text, str) else "" for text in texts)
    if summary and description and not description.startswith(summary):
        return _trim(f"{summary.rstrip('.')}. {description}")
    return _trim(description or summary or f"{method.upper()} {path}")


def _trim(text: str) -> str:
    return shorten(text, MAX_DESCRIPTION)
