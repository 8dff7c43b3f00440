"""All sources of a profile as one list of tools with unique names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from looptool.config import ToolSource
from looptool.errors import ConfigError, shorten
from looptool.records import JsonObject, Rejection, ToolSpec, content_id
from looptool.seed.catalogue import load_catalogue
from looptool.seed.detect import detect_place, read_document
from looptool.seed.json_file import load_json_tools, read_json_tools
from looptool.seed.mcp_tools import as_mcp_server, load_mcp_tools
from looptool.seed.normalise import make_names_unique
from looptool.seed.openapi import load_openapi_tools
from looptool.seed.python_tools import load_python_tools
from looptool.seed.read import show_location
from looptool.seed.tool_files import load_parquet_tools

Loaded = tuple[list[ToolSpec], list[Rejection]]
Reason = Literal["content", "name_and_properties"]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A tool that was left out, because an earlier one says the same."""

    kept: ToolSpec
    dropped: ToolSpec
    why: Reason
    """Whether all of it is the same, or the name and the names of the properties."""


@dataclass(frozen=True, slots=True)
class ToolCollection:
    """Tools that can be used, and those that cannot, with reasons."""

    tools: tuple[ToolSpec, ...]
    rejections: tuple[Rejection, ...]
    duplicates: tuple[Duplicate, ...] = ()

    def as_json(self) -> JsonObject:
        """Everything, for a program: tools whole, the others by place and reason."""
        return {
            "tools": [tool.model_dump(mode="json") for tool in self.tools],
            "rejected": [
                {"place": row.row_id, "rule": row.rule, "reason": row.detail}
                for row in self.rejections
            ],
            "duplicates": [
                {"kept": twin.kept.source, "dropped": twin.dropped.source, "why": twin.why}
                for twin in self.duplicates
            ],
        }


def collect_tools(sources: Sequence[ToolSource]) -> ToolCollection:
    """The tools of all sources in order; of duplicates the first one counts.

    Raises ConfigError for a source that cannot be read, or that gives no tool, and DataError for a
    tool without a name.
    """
    if not sources:
        raise ConfigError("seed.sources is empty; name at least one, or leave it to the catalogue")
    found: list[ToolSpec] = []
    rejections: list[Rejection] = []
    for source in sources:
        tools, refused = _load(source)
        rejections.extend(refused)
        found.extend(tools)
    kept, duplicates = drop_duplicates(found)
    return ToolCollection(tuple(make_names_unique(kept)), tuple(rejections), duplicates)


def drop_duplicates(tools: Iterable[ToolSpec]) -> tuple[list[ToolSpec], tuple[Duplicate, ...]]:
    """The first tool of each content, and of each name with the same properties.

    Copies that differ in a few words would end up on both sides of the held-out split, and make
    labels ambiguous. Different operations of one API are never duplicates.
    """
    kept: list[ToolSpec] = []
    duplicates: list[Duplicate] = []
    by_content: dict[str, ToolSpec] = {}
    by_shape: dict[str, ToolSpec] = {}
    for tool in tools:
        name = tool.original_name or tool.name
        operation = _operation_of(tool.source)
        properties = sorted(tool.parameters.get("properties", {}))
        content = content_id("tool", name, operation, tool.description, tool.parameters)
        shape = content_id("shape", name, operation, properties)
        first = by_content.get(content)
        if first or shape in by_shape:
            why: Reason = "content" if first else "name_and_properties"
            duplicates.append(Duplicate(first or by_shape[shape], tool, why))
            continue
        by_content[content] = by_shape[shape] = tool
        kept.append(tool)
    return kept, tuple(duplicates)


def _load(source: ToolSource) -> Loaded:
    """The tools of one source, filtered."""
    place = show_location(source.location) or " ".join(source.command[:1]) or "catalogue"
    found, refused = _load_all(source)
    if not found:
        reasons = "; ".join(f"{r.row_id}: {r.detail}" for r in refused[:3]) or "it is empty"
        raise ConfigError(f"tool source {place} gives no tool ({shorten(reasons, 500)})")
    if source.include:
        found = [tool for tool in found if _includes(source, tool.name, tool.source)]
        refused = [row for row in refused if _includes(source, row.row_id, "")]
        if not found:
            wanted = ", ".join(source.include)
            raise ConfigError(f"tool source {place} has no tool whose name or path holds {wanted}")
    return found[: source.limit], refused


def _load_all(source: ToolSource) -> Loaded:
    kind, document = detect_place(source) if source.format == "auto" else source.format, None
    if kind == "document":
        kind, document = read_document(source)
    if kind != "openapi" and (source.tags or source.paths):
        raise ConfigError(
            f"tags and paths choose among the operations of an OpenAPI document; "
            f"{show_location(source.location) or kind} is {kind}, use include"
        )
    match kind:
        case "catalogue":
            return list(load_catalogue()), []
        case "mcp":
            return load_mcp_tools(as_mcp_server(source))
        case "python":
            return load_python_tools(source.location)
        case "parquet":
            return load_parquet_tools(source.location)
        case "openapi":
            return _load_openapi(source, document)
        case _:
            return _load_json(source, document)


def _load_json(source: ToolSource, document: Any) -> Loaded:
    if document is None:
        return load_json_tools(source.location, timeout_s=source.timeout_s)
    return read_json_tools(document, show_location(source.location))


def _load_openapi(source: ToolSource, document: Any) -> Loaded:
    return load_openapi_tools(
        source.location if document is None else document,
        tags=source.tags,
        paths=source.paths,
        include_deprecated=source.include_deprecated,
        timeout_s=source.timeout_s,
        shown=show_location(source.location),
    )


def _includes(source: ToolSource, name: str, origin: str) -> bool:
    path = _operation_of(origin).partition(" ")[2]
    return any(part in name or part in path for part in source.include)


def _operation_of(origin: str) -> str:
    """`METHOD /path` of a tool from an OpenAPI document, else nothing."""
    method, _, path = origin.rpartition("#")[2].partition(" ")
    return f"{method} {path}" if method.isupper() and path.startswith("/") else ""
