"""An endpoint that knows a category's labels and answers every question with one: BFCL's own ceiling."""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ASKING = ("system", "user")
WORDS = "I have nothing to call for that."


class Echo:
    """The labels of one category of an installed bfcl-eval, found by what is asked."""

    def __init__(self, python: Path, version: str, category: str) -> None:
        (package,) = python.parents[1].glob("lib/python3*/site-packages/bfcl_eval")
        prefix = f"BFCL_{version}_{category}.json"
        rows = _read(package / "data" / "possible_answer" / prefix)
        labels = {row["id"]: row["ground_truth"] for row in rows}
        self.talks = False
        """Answer everything in words."""
        self._category = category
        self._entries: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for entry in _read(package / "data" / prefix):
            key = _key(entry["question"][0])
            self._entries.setdefault(key, []).append((entry, labels.get(entry["id"])))

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        messages, tools = body["messages"], body.get("tools", [])
        label = None if self.talks else self._find(messages, tools)
        if self.talks:
            calls = []
        elif "multi_turn" in self._category:
            calls = self._turn(messages, label, tools)
        elif "irrelevance" in self._category:
            calls = []
        elif "relevance" in self._category:
            calls = [(tools[0]["function"]["name"], {})]
        else:
            calls = [_first_choice(call, tools) for call in label]
        return JSONResponse(_completion(calls))

    def _find(self, messages: Sequence[Any], tools: Sequence[Any]) -> Any:
        """The label of what is asked; of several with one first question, the one of these tools."""
        later = [m for m in messages if m["role"] in ASKING]
        first = next(n for n in range(1, len(later) + 1) if _key(later[:n]) in self._entries)
        found = self._entries[_key(later[:first])]
        asked_tools = {_signature(tool["function"]) for tool in tools}
        own = [
            (entry, label)
            for entry, label in found
            if {_signature(f) for f in entry.get("function", [])} == asked_tools
        ] or found
        asked = [m["content"] for m in messages if m["role"] == "user"]
        for entry, label in own:
            turns = [turn[-1]["content"] if turn else None for turn in entry["question"]]
            if all(a == t or t is None for a, t in zip(asked[1:], turns[1:], strict=False)):
                return label
        return own[0][1]

    def _turn(self, messages: Sequence[Any], label: Any, tools: Sequence[Any]) -> list[Any]:
        if messages[-1]["role"] != "user":
            return []
        number = sum(message["role"] == "user" for message in messages) - 1
        return [_read_call(text, tools) for text in label[number]]


def _signature(function: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Name and property types, as far as the harness leaves them as they are."""
    plain = ("integer", "string", "boolean")
    properties = function["parameters"]["properties"]
    types = {k: v.get("type", "") for k, v in properties.items() if v.get("type") in plain}
    return function["name"].replace(".", "_"), tuple(sorted((k, t) for k, t in types.items()))


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def _key(messages: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps([[m["role"], m["content"]] for m in messages if m["role"] in ASKING])


def _schema(name: str, tools: Sequence[Any]) -> Mapping[str, Any]:
    found = (t["function"]["parameters"] for t in tools if t["function"]["name"] == name)
    return next(found, {"properties": {}})  # some labels name a function that there is not


def _first_choice(call: Mapping[str, Any], tools: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    ((name, arguments),) = call.items()
    name = name.replace(".", "_")
    required = _schema(name, tools).get("required", [])
    chosen = {}
    for key, values in arguments.items():
        if values and (key in required or "" not in values):
            chosen[key] = _choose(next((v for v in values if v != ""), ""))
    return name, chosen


def _choose(value: Any) -> Any:
    """Of a value whose own values are choices, the first ones."""
    if isinstance(value, dict):
        firsts = {k: v[0] if isinstance(v, list) and v else v for k, v in value.items()}
        optional = {k for k, v in value.items() if isinstance(v, list) and "" in v}
        return {k: _choose(v) for k, v in firsts.items() if k not in optional}
    if isinstance(value, list):
        return [_choose(item) for item in value]
    return value


def _read_call(text: str, tools: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    node = ast.parse(text.strip(), mode="eval").body
    assert isinstance(node, ast.Call)
    name = ast.unparse(node.func)
    positions = list(_schema(name, tools)["properties"])
    values = dict(zip(positions, map(ast.literal_eval, node.args), strict=False))
    return name, values | {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}


def _completion(calls: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else WORDS}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{n}", "type": "function",
             "function": {"name": re.sub(r"\.", "_", name), "arguments": json.dumps(arguments)}}
            for n, (name, arguments) in enumerate(calls)
        ]  # fmt: skip
    return {
        "id": "echo",
        "object": "chat.completion",
        "created": 0,
        "model": "echo",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
