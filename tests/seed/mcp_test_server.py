"""A real MCP server for the tests: `python mcp_test_server.py MODE [PORT]`.

Modes: `stdio`, `http`, `loop` (over stdio, lists pages for ever).
It lists one tool a page. `add` has a result schema, `greet` answers text, `fail` fails, `wait`
takes a minute, `leave` ends the server, `variables` tells the names of its environment, and
`broken` is no tool at all.
"""

import asyncio
import os
import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse

NUMBER = {"type": "number"}
PAIR = {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]}
SUM = {"type": "object", "properties": {"sum": NUMBER}, "required": ["sum"]}
NOTHING: dict[str, Any] = {"type": "object"}
TOOLS = [
    types.Tool(name="add", description="Add.", input_schema=PAIR, output_schema=SUM),
    types.Tool(name="greet", input_schema=NOTHING),
    types.Tool(
        name="broken", input_schema={"type": "object", "properties": {"x": {"type": "blob"}}}
    ),
    *(
        types.Tool(name=name, input_schema=NOTHING)
        for name in ("fail", "wait", "leave", "variables")
    ),
]
MODE = sys.argv[1]


async def list_tools(_: Any, params: Any) -> types.ListToolsResult:
    page = int(params.cursor) if params and params.cursor else 0
    last = page + 1 == len(TOOLS)
    following = "1" if MODE == "loop" else None if last else str(page + 1)
    return types.ListToolsResult(tools=[TOOLS[page]], next_cursor=following)


async def call_tool(_: Any, params: Any) -> types.CallToolResult:
    if params.name == "add":
        total = params.arguments["a"] + params.arguments["b"]
        return types.CallToolResult(content=[], structured_content={"sum": total})
    if params.name == "wait":
        await asyncio.sleep(60)
    if params.name == "leave":
        os._exit(3)
    text = {"greet": "hello", "fail": "no luck", "variables": str(sorted(os.environ))}[params.name]
    block = types.TextContent(type="text", text=text)
    return types.CallToolResult(content=[block], is_error=params.name == "fail")


server: Server[Any] = Server("test", on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_stdio() -> None:
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


class NeedsToken:
    """Answers 401 to whoever does not bring the token."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        wanted = os.environ.get("TEST_TOKEN", "")
        given = Request(scope).headers.get("authorization", "") if scope["type"] == "http" else ""
        if scope["type"] == "http" and wanted and given != f"Bearer {wanted}":
            await PlainTextResponse("no", 401)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


if __name__ == "__main__":
    if MODE == "http":
        app = server.streamable_http_app()
        app.user_middleware.append(Middleware(NeedsToken))
        uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
    else:
        asyncio.run(serve_stdio())
