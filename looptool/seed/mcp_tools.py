"""The tools that an MCP server lists (`mcp_session` is the connection)."""

import asyncio
import shlex
from concurrent.futures import ThreadPoolExecutor

from looptool.config import ToolSource
from looptool.errors import ConfigError, shorten
from looptool.records import JsonObject, Rejection, ToolSpec
from looptool.seed.json_file import read_entries
from looptool.seed.mcp_session import McpServer, McpSession

PREFIX = "mcp:"
WEB_PREFIX = "mcp+"


def is_mcp_location(location: str) -> bool:
    """Whether the location itself says that it is an MCP server."""
    return location.startswith((PREFIX, WEB_PREFIX))


def as_mcp_server(source: ToolSource) -> McpServer:
    """The server of a source; raises ConfigError when it names none.

    The words of a command are split as a shell would split them, but no shell runs them.
    """
    place = source.location.removeprefix(WEB_PREFIX)
    url = place if place.startswith(("http://", "https://")) else ""
    try:
        command = source.command or tuple(
            shlex.split(place.removeprefix(PREFIX)) if not url else ()
        )
    except ValueError as exc:
        raise ConfigError(f"the command {shorten(place)} cannot be split: {exc}") from exc
    if not url and not command:
        raise ConfigError("an MCP source needs a command (mcp:COMMAND ARGS) or mcp+https://…")
    return McpServer(
        command=command,
        url=url,
        env=source.env,
        token_env=source.token_env,
        timeout_s=source.timeout_s,
    )


def load_mcp_tools(server: McpServer) -> tuple[list[ToolSpec], list[Rejection]]:
    """The tools of a server, and those that break the contract; it is ended afterwards.

    Raises ConfigError for a server that cannot be used. It waits in a thread of its own, so that it
    may be called beside a running event loop.
    """
    with ThreadPoolExecutor(1) as thread:
        entries = thread.submit(asyncio.run, _list_tools(server)).result()
    return read_entries(list(entries), server.shown)


async def _list_tools(server: McpServer) -> list[JsonObject]:
    async with McpSession(server) as session:
        return await session.list_tools()
