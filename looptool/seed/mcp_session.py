"""One connection to an MCP server, over stdio or streamable HTTP, by the official SDK.

A session lists the tools and calls them; what a call answers has the shape of every tool result
here: JSON text, `{"error": …}` for a failure. Left out: prompts, resources, sampling and
elicitation, which no tool document speaks of. The SDK is imported at the first connection (extra
`mcp`).

The connection lives in a task of its own: the SDK's cancel scopes must be left by the task that
entered them, and a transport that breaks must not cancel whoever waits for an answer.
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Self

import httpx2
from pydantic import ValidationError

from looptool.errors import ConfigError, shorten
from looptool.records import JsonObject, canonical_json
from looptool.seed.read import show_location

MAX_TOOLS = 10_000
"""A server that lists more, or never ends, is refused."""
CLOSE_S = 10.0
"""Longest wait for a server to end; the SDK kills the process before that."""

# What the SDK logs goes where the program's logs go; without any they would tear the terminal.
logging.getLogger("mcp").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class McpServer:
    """Where a server is: a command to start, or the URL of its endpoint."""

    command: tuple[str, ...] = ()
    """Program and arguments; started as they are, never by a shell."""
    url: str = ""
    env: tuple[str, ...] = ()
    """Names of the environment variables that the command gets beside PATH, HOME and the like."""
    token_env: str = ""
    """Name of the environment variable with the bearer token of the endpoint."""
    timeout_s: float = 30.0
    """Longest wait for the connection, for the whole list of tools, and for each call."""

    @property
    def shown(self) -> str:
        """The server in a message: no arguments and no query, which may hold secrets."""
        return show_location(self.url) if self.url else f"mcp:{self.command[0]}"


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a call brought."""

    content: str
    """JSON text of the result, `{"error": …}` for a failure."""
    failed: bool


class McpSession:
    """A connection for the length of an `async with`; many tasks may use it at once.

        async with McpSession(McpServer(command=("my-server", "--quiet"))) as session:
            tools = await session.list_tools()
            answer = await session.call_tool("get_time", {"city": "Oslo"})

    Every method raises ConfigError when the server cannot be started or reached, breaks the
    protocol, ends, or takes longer than `timeout_s`; a call that fails or takes too long is an
    answer.
    """

    def __init__(self, server: McpServer) -> None:
        if bool(server.command) == bool(server.url):
            raise ConfigError("an MCP server is given by a command or by a URL, one of the two")
        self.server = server
        self._ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._client: Any = None
        self._host: asyncio.Task[None] | None = None
        self._last_words = ""

    async def __aenter__(self) -> Self:
        """Connect and agree on a version of the protocol."""
        _check_sdk()
        ready = asyncio.create_task(self._ready.wait())
        self._host = asyncio.create_task(self._hold_open())
        try:
            await asyncio.wait(
                {self._host, ready},
                timeout=self.server.timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
            failure = None if self._ready.is_set() else await self._close()
        if not self._ready.is_set():
            raise self._broken(failure or TimeoutError()) from failure
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection; a server that was started is ended."""
        await self._close()

    async def list_tools(self) -> list[JsonObject]:
        """Every page of `tools/list`, each tool as the server wrote it."""
        self._check_open()
        tools: list[JsonObject] = []
        seen: set[str] = set()
        cursor: str | None = None
        try:
            async with asyncio.timeout(self.server.timeout_s):
                while True:
                    page = await self._client.list_tools(cursor=cursor)
                    tools += [_as_document(tool) for tool in page.tools]
                    cursor = page.next_cursor
                    if not cursor:
                        return tools
                    if cursor in seen or len(tools) > MAX_TOOLS:
                        raise self._broken("lists tools without end")
                    seen.add(cursor)
        except ConfigError:
            raise
        except Exception as exc:
            raise self._broken(exc) from exc

    async def call_tool(
        self, name: str, arguments: Mapping[str, Any], timeout_s: float | None = None
    ) -> ToolAnswer:
        """The answer of one call; what the tool or the protocol refuses is a failed one.

        `timeout_s` is this call's own limit, in place of the server's.
        """
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        self._check_open()
        limit = self.server.timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit):
                result = await self._client.call_tool(name, dict(arguments))
        except TimeoutError:
            return _fail(f"timed out after {limit:g} s")
        except MCPError as exc:
            if exc.code == CONNECTION_CLOSED:
                raise self._broken(exc) from exc
            late = exc.code == REQUEST_TIMEOUT
            return _fail(f"timed out after {limit:g} s" if late else exc.message)
        except (RuntimeError, ValueError) as exc:  # the result breaks its own schema
            return _fail(shorten(exc, 300))
        except Exception as exc:
            raise self._broken(exc) from exc
        return _read_answer(result)

    def _check_open(self) -> None:
        if self._host is None or self._host.done() or not self._ready.is_set():
            raise self._broken("is not connected")

    async def _hold_open(self) -> None:
        """The task that enters and leaves the connection."""
        from mcp import Client

        async with self._open_transport() as transport, Client(transport) as client:
            self._client = client
            self._ready.set()
            await self._closing.wait()

    @asynccontextmanager
    async def _open_transport(self) -> AsyncIterator[Any]:
        from mcp import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        server = self.server
        if server.url:
            token = _read_variable(server.token_env) if server.token_env else ""
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            limits = httpx2.Timeout(server.timeout_s)
            async with httpx2.AsyncClient(headers=headers, timeout=limits) as web:
                yield streamable_http_client(server.url, http_client=web)
            return
        secrets = {name: _read_variable(name) for name in server.env}
        program, *arguments = server.command
        parameters = StdioServerParameters(command=program, args=arguments, env=secrets)
        # A file of its own: what servers log would tear the progress bars of the terminal.
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            try:
                yield stdio_client(parameters, errlog=log)
            finally:
                self._last_words = _last_line(log, secrets.values())

    async def _close(self) -> BaseException | None:
        """End the connection's task; what it failed of, if it did."""
        host = self._host
        if host is None:
            return None
        self._closing.set()
        if not self._ready.is_set():
            host.cancel()
        done, _ = await asyncio.wait({host}, timeout=CLOSE_S)
        if not done:
            host.cancel()
            return None
        return None if host.cancelled() else host.exception()

    def _broken(self, reason: BaseException | str) -> ConfigError:
        """The one error of a server that cannot be used."""
        if isinstance(reason, ConfigError):
            return reason
        words = reason if isinstance(reason, str) else _explain(reason, self.server.timeout_s)
        said = f"; it said: {self._last_words}" if self._last_words else ""
        return ConfigError(f"the MCP server {self.server.shown} {words}{said}")


def _check_sdk() -> None:
    if find_spec("mcp") is None:
        raise ConfigError(
            "MCP servers need the mcp package; install it by `pip install 'looptool[mcp]'`"
        )


def _read_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"the environment variable {name}, which an MCP server needs, is not set")
    return value


def _explain(error: BaseException, timeout_s: float) -> str:
    """What happened, to follow the name of the server."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return f"gave no answer within {timeout_s:g} s"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"cannot be started ({error.strerror}); give a program that is on the PATH"
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False)[0]
        place = "/".join(str(part) for part in problem["loc"])
        return f"breaks the protocol: {shorten(problem['msg'])} at {place}"
    return f"cannot be used ({shorten(f'{type(error).__name__}: {error}')})"


def _last_line(log: IO[str], secrets: Iterable[str]) -> str:
    """The last line that a server logged, without the values that it was given."""
    log.seek(0)
    lines = [line.strip() for line in log.read()[-4000:].splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    for secret in secrets:
        last = last.replace(secret, "***")
    return shorten(last)


def _as_document(tool: Any) -> JsonObject:
    document: JsonObject = tool.model_dump(by_alias=True, mode="json", exclude_none=True)
    return document


def _fail(reason: str) -> ToolAnswer:
    return ToolAnswer(canonical_json({"error": reason or "the call failed"}), failed=True)


def _read_answer(result: Any) -> ToolAnswer:
    """The structured content if there is some, else the text, as JSON where it is JSON."""
    parts = [_read_block(block) for block in result.content]
    value = parts[0] if len(parts) == 1 else parts
    if result.is_error:
        return _fail(value if isinstance(value, str) else canonical_json(value))
    if result.structured_content is not None:
        value = result.structured_content
    try:
        return ToolAnswer(canonical_json(value), failed=False)
    except ValueError as exc:
        return _fail(f"the result is no JSON: {exc}")


def _read_block(block: Any) -> Any:
    """Text, parsed where it is an object or a list; of images and files what they are."""
    if block.type != "text":
        kept = block.model_dump(by_alias=True, mode="json", exclude_none=True)
        return {key: value for key, value in kept.items() if key not in ("data", "blob", "_meta")}
    try:
        value = json.loads(block.text)
    except (ValueError, RecursionError):
        return block.text
    return value if isinstance(value, dict | list) else block.text
