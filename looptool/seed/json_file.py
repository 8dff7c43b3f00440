"""Tools from a JSON file: OpenAI functions, bare functions, or the `tools/list` of an MCP
server."""

import json
import reprlib
from collections.abc import Mapping
from os import PathLike
from typing import Any

from looptool.errors import ConfigError, DataError, shorten
from looptool.records import Rejection, ToolSpec, content_id
from looptool.seed.normalise import make_names_unique, normalise_tool
from looptool.seed.read import read_text, show_location

MAX_NODES = 10_000
"""Values in a rejected document that is kept whole."""


def load_json_tools(path: str | PathLike[str]) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a file or URL, and those that break the contract.

    The document is a list of tools, or an object with the list under `tools` (also inside `result`,
    as MCP servers answer). Raises ConfigError when it is not JSON or holds no list, and DataError
    for a tool without a name: that file is not what the user thinks it is.
    """
    location = str(path)
    shown = show_location(location)
    entries = _find_list(_parse(read_text(location), shown), shown)
    if not entries:
        raise ConfigError(f"tool source {shown} holds no tools")
    for number, entry in enumerate(entries):
        if not _name_of(entry):
            raise DataError(
                f"{shown}: tool number {number + 1} has no name: {shorten(entry)}; give every "
                'tool a "name"'
            )
    tools: list[ToolSpec] = []
    rejections: list[Rejection] = []
    for number, entry in enumerate(entries):
        try:
            tools.append(normalise_tool(entry, source=f"{shown}#{number}"))
        except DataError as exc:
            rejections.append(reject(_name_of(entry), "bad_tool", str(exc), entry))
    return list(make_names_unique(tools)), rejections


def reject(name: str, rule: str, detail: str, row: Any) -> Rejection:
    """The rejection of one tool document; what is no JSON, or huge, stays out of the record."""
    kept = row if isinstance(row, dict) and _is_keepable(row) else {"document": reprlib.repr(row)}
    return Rejection(
        stage="seed", row_id=name or content_id("tool", detail), rule=rule, detail=detail, row=kept
    )


def _is_keepable(row: Any) -> bool:
    """Whether it can be written as JSON of sensible size. Shared parts (YAML) count each time."""
    waiting, left = [row], MAX_NODES
    while waiting and left:
        value = waiting.pop()
        left -= 1
        if isinstance(value, dict | list):
            waiting.extend(list(value.values() if isinstance(value, dict) else value)[: left + 1])
    if waiting:
        return False
    try:
        json.dumps(row, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _parse(text: str, shown: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"tool source {shown} is not JSON: {shorten(exc)}") from exc


def _find_list(document: Any, shown: str) -> list[Any]:
    if isinstance(document, Mapping) and isinstance(document.get("result"), Mapping):
        document = document["result"]
    if isinstance(document, Mapping):
        document = document.get("tools", document.get("functions"))
    if not isinstance(document, list):
        raise ConfigError(
            f'tool source {shown} must be a list of tools or an object with "tools": [...]'
        )
    return document


def _name_of(entry: Any) -> str:
    function = entry.get("function", entry) if isinstance(entry, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name.strip() if isinstance(name, str) else ""
