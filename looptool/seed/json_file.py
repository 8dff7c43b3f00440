"""Tools from a JSON document: OpenAI functions, bare functions, the `tools/list` of an MCP server,
Anthropic tools, and lists of them from public data sets."""

import json
import reprlib
from collections.abc import Mapping
from os import PathLike
from typing import Any

from looptool.errors import ConfigError, DataError, shorten
from looptool.records import Rejection, ToolSpec, content_id
from looptool.seed.normalise import make_names_unique, normalise_tool
from looptool.seed.read import TIMEOUT_S, read_text, show_location

MAX_NODES = 10_000
"""Values in a rejected document that is kept whole."""
LISTS = ("tools", "functions", "functionDeclarations", "function_declarations")
"""Where an object may hold its list of tools."""


def load_json_tools(
    path: str | PathLike[str], *, timeout_s: float = TIMEOUT_S
) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a file or URL, and those that break the contract.

    The document is a list of tools, or an object with the list under `tools` (also inside `result`,
    as MCP servers answer). Raises ConfigError when it is not JSON or holds no list, and DataError
    for a tool without a name: that file is not what the user thinks it is.
    """
    location = str(path)
    shown = show_location(location)
    return read_json_tools(_parse(read_text(location, timeout_s), shown), shown)


def read_json_tools(document: Any, shown: str) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a parsed document, as `load_json_tools` gives them."""
    entries = _find_list(document, shown)
    if not entries:
        raise ConfigError(f"tool source {shown} holds no tools")
    for number, entry in enumerate(entries):
        if not name_of(entry):
            raise DataError(
                f"{shown}: tool number {number + 1} has no name: {shorten(entry)}; give every "
                'tool a "name"'
            )
    return read_entries(entries, shown)


def read_entries(entries: list[Any], shown: str) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a list, with unique names, and those that cannot be one."""
    tools: list[ToolSpec] = []
    rejections: list[Rejection] = []
    for number, entry in enumerate(entries):
        try:
            tools.append(normalise_tool(entry, source=f"{shown}#{number}"))
        except DataError as exc:
            place = name_of(entry) or f"tool number {number + 1}"
            rejections.append(reject(place, "bad_tool", str(exc), entry))
    return list(make_names_unique(tools)), rejections


def holds_tools(document: Any) -> bool:
    """Whether a document looks like a list of tools, for detecting its format."""
    if isinstance(document, Mapping):
        inner = document.get("result")
        found = inner if isinstance(inner, Mapping) else document
        return any(isinstance(found.get(key), list) for key in LISTS) or bool(name_of(document))
    return isinstance(document, list)


def reject(name: str, rule: str, detail: str, row: Any) -> Rejection:
    """The rejection of one tool document; what is no JSON, or huge, stays out of the record."""
    kept = row if isinstance(row, dict) and _is_keepable(row) else {"document": reprlib.repr(row)}
    return Rejection(
        stage="seed",
        row_id=_plain(name) or content_id("tool", detail),
        rule=rule,
        detail=_plain(detail),
        row=kept,
    )


def _plain(text: str) -> str:
    """The text with `?` for what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


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
        json.dumps(row, allow_nan=False, ensure_ascii=False).encode()
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
    if isinstance(document, Mapping) and name_of(document):
        return [document]
    if isinstance(document, Mapping):
        document = next((document[key] for key in LISTS if key in document), None)
    if not isinstance(document, list):
        raise ConfigError(
            f'tool source {shown} must be a list of tools or an object with "tools": [...]'
        )
    return [tool for entry in document for tool in _flatten(entry)]


def _flatten(entry: Any) -> list[Any]:
    """An entry may hold several declarations, as Gemini's `tools` do."""
    if isinstance(entry, Mapping) and not name_of(entry):
        for key in LISTS:
            if isinstance(entry.get(key), list):
                return list(entry[key])
    return [entry]


def name_of(entry: Any) -> str:
    """The name that a tool document gives itself, or an empty text."""
    function = entry.get("function", entry) if isinstance(entry, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name.strip() if isinstance(name, str) else ""
