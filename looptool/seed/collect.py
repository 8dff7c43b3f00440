"""All sources of a profile as one list of tools with unique names."""

from collections.abc import Sequence
from dataclasses import dataclass

from looptool.config import ToolSource
from looptool.errors import ConfigError
from looptool.records import Rejection, ToolSpec
from looptool.seed.catalogue import load_catalogue
from looptool.seed.json_file import load_json_tools
from looptool.seed.normalise import make_names_unique
from looptool.seed.openapi import load_openapi_tools
from looptool.seed.read import show_location


@dataclass(frozen=True, slots=True)
class ToolCollection:
    """Tools that can be used, and those that cannot, with reasons."""

    tools: tuple[ToolSpec, ...]
    rejections: tuple[Rejection, ...]


def collect_tools(sources: Sequence[ToolSource]) -> ToolCollection:
    """The tools of all sources in order; a tool that occurs twice counts once.

    Raises ConfigError for a source that cannot be read, or that gives no tool, and DataError for a
    tool without a name.
    """
    if not sources:
        raise ConfigError("seed.sources is empty; name at least one, or leave it to the catalogue")
    tools: dict[str, ToolSpec] = {}
    rejections: list[Rejection] = []
    for source in sources:
        found, refused = _load(source)
        rejections.extend(refused)
        tools.update((tool.tool_id, tool) for tool in found if tool.tool_id not in tools)
    return ToolCollection(tuple(make_names_unique(tools.values())), tuple(rejections))


def _load(source: ToolSource) -> tuple[list[ToolSpec], list[Rejection]]:
    if source.format == "catalogue":
        found, refused = list(load_catalogue()), list[Rejection]()
    elif source.format == "json":
        found, refused = load_json_tools(source.location)
    else:
        found, refused = load_openapi_tools(source.location)
    place = show_location(source.location) or source.format
    if not found:
        reasons = "; ".join(f"{r.row_id}: {r.detail}" for r in refused[:3]) or "it is empty"
        raise ConfigError(f"tool source {place} gives no tool ({reasons})")
    if source.include:
        found = [tool for tool in found if _includes(source, tool.name, tool.source)]
        refused = [row for row in refused if _includes(source, row.row_id, "")]
        if not found:
            wanted = ", ".join(source.include)
            raise ConfigError(f"tool source {place} has no tool whose name or path holds {wanted}")
    return found[: source.limit], refused


def _includes(source: ToolSource, name: str, origin: str) -> bool:
    place = origin.rpartition("#")[2]
    path = place if "/" in place and "#" in origin else ""
    return any(part in name or part in path for part in source.include)
