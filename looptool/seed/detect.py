"""Where a location leads, and what kind of tool source is there.

The location decides where it can (`mcp:`, a file, a URL, a module); documents are told apart by
what they hold, never by their name. Nothing is imported to find out.
"""

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from looptool.config import ToolSource
from looptool.errors import ConfigError, shorten
from looptool.seed.json_file import holds_tools
from looptool.seed.mcp_tools import is_mcp_location
from looptool.seed.read import is_url, parse_document, read_text, show_location

_MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)*(:\w+)?")


def detect_place(source: ToolSource) -> str:
    """The format of an `auto` source, or `document` for a text that has to be looked into.

    Raises ConfigError that lists what was tried.
    """
    location = source.location
    if source.command or is_mcp_location(location):
        return "mcp"
    if location in ("", "catalogue"):
        return "catalogue"
    if is_url(location):
        return "document"
    if _is_file(location):
        return "parquet" if _is_parquet(location) else "document"
    if _MODULE.fullmatch(location) and _is_module(location):
        return "python"
    raise ConfigError(
        f"tool source {shorten(location)} is no file, no http(s) URL, no MCP server (mcp:COMMAND "
        "ARGS or mcp+https://…) and no importable Python module (package.module[:function])"
    )


def read_document(source: ToolSource) -> tuple[str, Any]:
    """The format of a document, `openapi` or `json`, and its parsed value; raises ConfigError."""
    shown = show_location(source.location)
    if source.location.endswith(".py"):
        raise ConfigError(f"{shown} is Python; give its module, as in package.module[:function]")
    document = parse_document(read_text(source.location, source.timeout_s), shown)
    if isinstance(document, Mapping) and {"openapi", "swagger"} & document.keys():
        return "openapi", document
    if holds_tools(document):
        return "json", document
    keys = ", ".join(map(str, document)) if isinstance(document, Mapping) else repr(document)
    raise ConfigError(
        f"{shown} is no OpenAPI document (it has no `openapi`) and no list of tools (nor an object "
        f'with "tools": [...]); it holds {shorten(keys)}'
    )


def _is_file(location: str) -> bool:
    try:
        return Path(location).exists()
    except (OSError, ValueError):
        return False


def _is_parquet(location: str) -> bool:
    try:
        with Path(location).open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def _is_module(location: str) -> bool:
    """Whether its top package can be found; finding runs no code of it."""
    top = location.partition(":")[0].partition(".")[0]
    if top in sys.modules or _is_file(f"{top}.py") or _is_file(top):
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False
