"""Tools of real MCP servers, over stdio and over HTTP, and of servers that misbehave."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from looptool.config import ToolSource
from looptool.errors import ConfigError
from looptool.seed import McpServer, McpSession, collect_tools, load_mcp_tools
from looptool.seed.mcp_tools import as_mcp_server

pytest.importorskip("mcp")

T = TypeVar("T")
SCRIPT = str(Path(__file__).with_name("mcp_test_server.py"))
NAMES = ["add", "greet", "fail", "wait", "leave", "variables"]


def command(mode: str) -> tuple[str, ...]:
    return (sys.executable, SCRIPT, mode)


def use(work: Callable[[McpSession], Awaitable[T]], server: McpServer) -> T:
    """What `work` brings from a session with the server."""

    async def run() -> T:
        async with McpSession(server) as session:
            return await work(session)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the server answers over HTTP, to whoever brings the token `t0p-secret`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"TEST_TOKEN": "t0p-secret"}
    process = subprocess.Popen([*command("http"), str(port)], env=environment)
    try:
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "t0p-secret")


def test_every_page_of_a_server_over_stdio_is_read_and_bad_tools_are_rejected() -> None:
    tools, rejections = load_mcp_tools(McpServer(command=command("stdio")))
    assert [tool.name for tool in tools] == NAMES
    assert tools[0].description == "Add."
    assert tools[0].parameters["required"] == ["a", "b"]
    assert tools[0].output is not None
    assert tools[0].output["required"] == ["sum"]
    assert [(r.row_id, r.rule) for r in rejections] == [("broken", "bad_tool")]
    assert "blob" in rejections[0].detail


def test_the_same_over_http_with_a_token_from_the_environment(url: str) -> None:
    found = collect_tools([ToolSource(location=f"mcp+{url}", token_env="MY_TOKEN")])
    assert [tool.name for tool in found.tools] == NAMES
    assert found.tools[0].source == f"{url}#0"


def test_a_server_that_asks_for_a_token_refuses_who_has_none(url: str) -> None:
    with pytest.raises(ConfigError, match=url):
        collect_tools([ToolSource(format="mcp", location=url)])


def test_calls_bring_structured_results_text_and_errors_and_time_out() -> None:
    async def work(session: McpSession) -> list[tuple[str, bool]]:
        answers = [
            await session.call_tool("add", {"a": 1, "b": 2.5}),
            await session.call_tool("wait", {}, timeout_s=0.5),
            await session.call_tool("greet", {}),
            await session.call_tool("fail", {}),
        ]
        return [(answer.content, answer.failed) for answer in answers]

    assert use(work, McpServer(command=command("stdio"))) == [
        ('{"sum":3.5}', False),
        ('{"error":"timed out after 0.5 s"}', True),
        ('"hello"', False),
        ('{"error":"no luck"}', True),
    ]


def test_calls_work_over_http_and_many_at_once(url: str) -> None:
    async def work(session: McpSession) -> list[str]:
        calls = (session.call_tool("add", {"a": n, "b": 1}) for n in range(20))
        return [answer.content for answer in await asyncio.gather(*calls)]

    sums = use(work, McpServer(url=url, token_env="MY_TOKEN"))
    assert [json.loads(text)["sum"] for text in sums] == list(range(1, 21))


def test_a_server_that_ends_in_the_middle_is_an_error_and_so_is_every_later_call() -> None:
    async def work(session: McpSession) -> None:
        with pytest.raises(ConfigError, match="Connection closed"):
            await session.call_tool("leave", {})
        with pytest.raises(ConfigError):
            await session.call_tool("greet", {})

    use(work, McpServer(command=command("stdio")))


def test_a_server_gets_only_the_variables_that_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "1")
    monkeypatch.setenv("OTHER_KEY", "1")

    async def work(session: McpSession) -> str:
        return (await session.call_tool("variables", {})).content

    names = use(work, McpServer(command=command("stdio"), env=("MY_KEY",)))
    assert "'MY_KEY'" in names
    assert "OTHER_KEY" not in names
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        use(work, McpServer(command=command("stdio"), env=("NO_SUCH_KEY",)))


HANG = (
    "import os, sys, time; print('waiting for', os.environ['MY_KEY'], file=sys.stderr, flush=True)"
)


def test_a_server_that_hangs_is_given_up_and_its_last_words_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "hunter2")
    words = (sys.executable, "-c", f"{HANG}; time.sleep(600)")
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"no answer within 6 s; it said: waiting for") as caught:
        load_mcp_tools(McpServer(command=words, env=("MY_KEY",), timeout_s=6))
    assert "hunter2" not in str(caught.value)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("no-such-program-anywhere",), "cannot be started"),
        ((sys.executable, "-c", "import sys; sys.exit('no config')"), "it said: no config"),
        ((sys.executable, "-c", "print('Welcome!')"), "cannot be used"),
        (command("loop"), "lists tools without end"),
    ],
)
def test_a_server_that_cannot_be_used_says_why(words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        collect_tools([ToolSource(command=words)])


def test_an_address_where_no_mcp_server_is_says_so() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9/mcp cannot be used") as caught:
        collect_tools([ToolSource(location="mcp+http://u:pw@127.0.0.1:9/mcp?key=secret")])
    assert "secret" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_command_is_split_but_never_given_to_a_shell() -> None:
    source = ToolSource(location="mcp:run --name 'two words' ; rm -rf $HOME")
    assert as_mcp_server(source).command == (
        "run",
        "--name",
        "two words",
        ";",
        "rm",
        "-rf",
        "$HOME",
    )
    for location in ("mcp:", "mcp:'"):
        with pytest.raises(ConfigError):
            as_mcp_server(ToolSource(location=location))


def test_a_source_is_a_location_or_a_command_not_both() -> None:
    with pytest.raises(ValueError, match="not both"):
        ToolSource(location="tools.json", command=("server",))
    with pytest.raises(ValueError, match="cannot be json"):
        ToolSource(format="json", command=("server",))
    with pytest.raises(ConfigError, match="one of the two"):
        McpSession(McpServer())
