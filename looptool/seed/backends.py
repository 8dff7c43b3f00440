"""Who answers the calls of a dialogue: the teacher in the tools' place, or the real MCP servers
(method, section 2, agent "tool").

    ToolDesk      one per dialogue: a fault if one is due, then whoever answers this tool
    ├── simulated the teacher's answer, checked against the output schema and the dialogue so far
    └── ToolServers, shared by all dialogues: real calls, recorded and read back

The paper plays all tools by the model and keeps no record of it; real servers are ours.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType
from typing import Self

from looptool.config import SeedConfig, ToolBackendConfig
from looptool.decisions import is_failure
from looptool.errors import ConfigError, DataError, shorten
from looptool.records import JsonObject, Kind, Message, ToolCall, ToolSpec, canonical_json
from looptool.seed.agents import Scene
from looptool.seed.faults import CHANGED_SCHEMA, Fault, change_shape, draw_fault
from looptool.seed.mcp_session import McpServer, McpSession
from looptool.seed.mcp_tools import as_mcp_server, is_mcp_location
from looptool.seed.memory import Memory, find_problem
from looptool.seed.recording import RecordedCall, Recording, question_of


class CallNotRecorded(DataError):
    """A replay came to a call that the recording does not hold."""


class ToolDesk:
    """Answers the calls of one dialogue, in their order."""

    def __init__(self, scene: Scene, rng: Random) -> None:
        self._scene = scene
        self._rng = rng
        self._fault = draw_fault(scene.kind, scene.faults, rng)
        self._memory = Memory()
        self._made: dict[str, int] = {}

    async def answer(self, call: ToolCall, messages: Sequence[Message]) -> str:
        """The JSON text of the result; raises TeacherError, CallNotRecorded and ConfigError."""
        tool = next((tool for tool in self._scene.tools if tool.name == call.name), None)
        if tool is None:
            return canonical_json({"error": f"there is no tool {call.name}"})
        fault = self._fault
        if fault is not None and fault.name != CHANGED_SCHEMA:
            self._fault = None
            return await self._fail(tool, call, messages, fault)
        content = await self._run(tool, call, messages)
        return content if fault is None else self._change(content, tool, call)

    async def _run(self, tool: ToolSpec, call: ToolCall, messages: Sequence[Message]) -> str:
        servers = self._scene.servers
        if servers is not None and servers.serves(tool):
            key = canonical_json([tool.name, call.arguments])
            number = self._made[key] = self._made.get(key, -1) + 1
            return await servers.call(tool, call.arguments, self._scene.nonce, number)
        return await self._simulate(tool, call, messages)

    async def _fail(
        self, tool: ToolSpec, call: ToolCall, messages: Sequence[Message], fault: Fault
    ) -> str:
        """The fault in the words of whoever plays the tool; a real server is not asked to fail."""
        servers = self._scene.servers
        said = fault.text
        if servers is None or not servers.serves(tool):
            reply = await self._scene.play_tool(tool, call, messages, fault=fault.text)
            said = reply.error or fault.text
        return canonical_json(fault.as_result(said, bare=self._scene.kind is Kind.RETRY))

    def _change(self, content: str, tool: ToolSpec, call: ToolCall) -> str:
        """The result in another shape; kept for a later call where this one has no fields."""
        if is_failure(content):
            return content
        changed = canonical_json(change_shape(json.loads(content), self._rng))
        if changed == content:
            return content
        self._fault = None
        self._memory.keep(tool, call, changed)
        return changed

    async def _simulate(self, tool: ToolSpec, call: ToolCall, messages: Sequence[Message]) -> str:
        known = self._memory.recall(tool, call)
        if known is not None:
            return known
        problem = ""
        for attempt in range(self._scene.tool_backend.attempts):
            reply = await self._scene.play_tool(
                tool, call, messages, attempt=attempt, problem=problem
            )
            problem = find_problem(reply, tool) or self._memory.find_problem(reply, tool, call)
            if not problem:
                content = reply.as_json()
                self._memory.keep(tool, call, content)
                return content
        return canonical_json({"error": f"bad result: {problem}", "code": "bad_result"})


class ToolServers:
    """The MCP servers of a run, each opened with the first call that needs it.

        async with ToolServers(servers, config.seed.tool_backend) as shared:
            ...

    Several dialogues may call at once. Servers of the same program show the same name in
    `ToolSpec.source`; among those the one that lists the tool is called.
    """

    def __init__(self, servers: Iterable[McpServer], config: ToolBackendConfig) -> None:
        """Raises ConfigError for a recording that cannot be read."""
        self._servers: dict[str, list[McpServer]] = {}
        for server in servers if config.kind == "mcp" else ():
            self._servers.setdefault(server.shown, []).append(server)
        self._live = config.calls != "replay"
        recorded = config.calls != "live" and self._servers
        self._recording = Recording(config.recording) if recorded else None
        self._sessions: dict[tuple[str, int], McpSession] = {}
        self._listed: dict[tuple[str, int], set[str]] = {}
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def serves(self, tool: ToolSpec) -> bool:
        """Whether the tool is one of a server that calls may be sent to."""
        return _origin(tool) in self._servers

    async def call(self, tool: ToolSpec, arguments: JsonObject, dialogue: str, number: int) -> str:
        """The answer to the call that `dialogue` makes for the `number`-th time, from 0.

        Raises CallNotRecorded in a replay, and ConfigError for a server or file that is no use.
        """
        origin, name = _origin(tool), tool.original_name or tool.name
        found = self._find(dialogue, number, question_of(origin, name, arguments))
        if found is not None:
            return found.content
        if not self._live:
            path = self._recording.path if self._recording else "the recording"
            raise CallNotRecorded(
                f"{name} with {shorten(canonical_json(arguments))} is not in {path}; run with "
                'seed.tool_backend.calls = "record" to add it'
            )
        answer = await (await self._session(origin, name)).call_tool(name, arguments)
        if self._recording is not None:
            self._recording.add(
                RecordedCall(
                    dialogue=dialogue,
                    number=number,
                    server=origin,
                    tool=name,
                    arguments=arguments,
                    content=answer.content,
                    failed=answer.failed,
                )
            )
        return answer.content

    def _find(self, dialogue: str, number: int, question: str) -> RecordedCall | None:
        if self._recording is None:
            return None
        found = self._recording.find(dialogue, number, question)
        if found is None and not self._live:
            return self._recording.find_elsewhere(number, question)
        return found

    async def _session(self, origin: str, name: str) -> McpSession:
        """The open connection to the server that has the tool."""
        async with self._opening:
            numbers = range(len(self._servers[origin]))
            if len(numbers) == 1:
                return await self._open(origin, 0)
            for number in numbers:
                session = await self._open(origin, number)
                if (origin, number) not in self._listed:
                    tools = await session.list_tools()
                    self._listed[origin, number] = {str(tool.get("name")) for tool in tools}
                if name in self._listed[origin, number]:
                    return session
        raise ConfigError(f"no server {origin} has the tool {name} any more; import the tools anew")

    async def _open(self, origin: str, number: int) -> McpSession:
        place = (origin, number)
        if place not in self._sessions:
            session = McpSession(self._servers[origin][number])
            self._sessions[place] = await self._stack.enter_async_context(session)
        return self._sessions[place]


def open_servers(config: SeedConfig) -> ToolServers:
    """The MCP servers among a profile's sources, to be used as `async with`."""
    sources = [
        source
        for source in config.sources
        if source.command or source.format == "mcp" or is_mcp_location(source.location)
    ]
    return ToolServers(map(as_mcp_server, sources), config.tool_backend)


def _origin(tool: ToolSpec) -> str:
    return tool.source.partition("#")[0]
