"""The policy behind the OpenAI chat API, for benchmarks on machines without vLLM: an ASGI application.

POST /v1/chat/completions and GET /v1/models. Prompts are rendered by the checkpoint's own chat template with
`tools=`, answers are read by `parse_reply` and come back as `tool_calls`: what a benchmark measures is what
probe and reward measure. Requests that wait while the engine works go to it together, as one batch.

Decoding is greedy whatever a request says; a reply whose calls cannot be read comes back as text, as it is.
Left out: streaming, sampling, `tool_choice`.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looptool.calls import parse_reply
from looptool.engines import Engine, Generation, Limits, Prompt
from looptool.errors import DataError, LoopToolError, shorten

JsonObject = dict[str, Any]
ROLES = ("system", "user", "assistant", "tool")
MODEL = "policy"
GATHER_S = 0.005
"""How long a batch waits for requests that come with its first one."""

log = logging.getLogger("looptool")


def create_chat_app(engine: Engine, limits: Limits) -> Starlette:
    """The engine as an ASGI application; one event loop at a time may run it."""
    batcher = _Batcher(engine, limits)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(batcher.run())
        yield
        work.cancel()

    async def complete(request: Request) -> Response:
        try:
            body = read_body(await request.body())
            prompt = read_prompt(body)
        except DataError as exc:
            return _error(400, str(exc))
        try:
            generation = await batcher.ask(prompt)
        except LoopToolError as exc:
            return _error(500, shorten(exc, 300))
        if generation.failure:
            return _error(400, f"{generation.failure}: {generation.prompt_tokens} tokens")
        return JSONResponse(render_completion(generation, with_tools=bool(prompt.tools)))

    async def list_models(_: Request) -> Response:
        root = engine.info().checkpoint
        row = {"id": MODEL, "object": "model", "created": 0, "owned_by": "looptool", "root": root}
        return JSONResponse({"object": "list", "data": [row]})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/v1/models", list_models, methods=["GET"]),
        ],
        lifespan=lifespan,
    )


class _Batcher:
    """Hands waiting prompts to the engine, as many at once as `limits` allow."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._waiting: asyncio.Queue[tuple[Prompt, asyncio.Future[Generation]]] = asyncio.Queue()

    async def ask(self, prompt: Prompt) -> Generation:
        """The answer to one prompt; raises what the engine raised."""
        answer: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        await self._waiting.put((prompt, answer))
        return await answer

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            batch = [await self._waiting.get()]
            await asyncio.sleep(GATHER_S)
            while len(batch) < self._limits.batch_size and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._answer(batch)

    async def _answer(self, batch: Sequence[tuple[Prompt, "asyncio.Future[Generation]"]]) -> None:
        prompts = [prompt for prompt, _ in batch]
        try:
            found = await asyncio.to_thread(self._engine.generate, prompts, self._limits)
        except Exception as exc:
            log.warning("the policy did not answer %d requests: %s", len(batch), shorten(exc, 300))
            found_exc = exc if isinstance(exc, LoopToolError) else LoopToolError(shorten(exc, 300))
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(found_exc)
            return
        for (_, answer), generation in zip(batch, found, strict=True):
            if not answer.done():
                answer.set_result(generation)


def read_body(raw: bytes) -> JsonObject:
    """The request as an object; DataError if it is none, or asks for what is left out."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"the body is no JSON: {shorten(exc)}") from exc
    if not isinstance(body, dict):
        raise DataError("the body is no JSON object")
    if body.get("stream"):
        raise DataError("streaming is not supported here")
    return body


def read_prompt(body: Mapping[str, Any]) -> Prompt:
    """Messages and tools as the chat template takes them; DataError for what cannot be one."""
    messages, tools = body.get("messages"), body.get("tools") or []
    if not isinstance(messages, list) or not messages:
        raise DataError("`messages` must be a list of messages")
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise DataError("`tools` must be a list of objects")
    return Prompt(messages=[_read_message(message) for message in messages], tools=tools)


def _read_message(message: Any) -> JsonObject:
    """One message with the fields that chat templates know; what a client adds is dropped."""
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        raise DataError(f"no message with one of the roles {', '.join(ROLES)}: {shorten(message)}")
    content = message.get("content")
    found: JsonObject = {"role": message["role"], "content": "" if content is None else content}
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [_read_call(call) for call in calls]
    for name in ("tool_call_id", "name"):
        if isinstance(message.get(name), str):
            found[name] = message[name]
    return found


def _read_call(call: Any) -> JsonObject:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(f"a tool call without a function: {shorten(call)}")
    arguments: Any = function.get("arguments")
    with contextlib.suppress(ValueError, TypeError):
        arguments = json.loads(arguments)  # templates write it as JSON themselves
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}}


def render_completion(generation: Generation, *, with_tools: bool) -> JsonObject:
    """The answer in the shape of the chat API; without tools in the request it is text alone."""
    reply = parse_reply(generation.text)
    calls = reply.calls if with_tools else ()
    readable = with_tools and reply.error is None
    content = (reply.text if readable else generation.text) or None
    message: JsonObject = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [_render_call(n, call) for n, call in enumerate(calls)]
    reason = "length" if generation.truncated else "tool_calls" if calls else "stop"
    prompt, answer = generation.prompt_tokens, len(generation.token_ids)
    return {
        "id": "chatcmpl-policy",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        },
    }


def _render_call(number: int, call: Mapping[str, Any]) -> JsonObject:
    arguments = call["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": call["name"], "arguments": text},
    }


def _error(status: int, message: str) -> Response:
    kind = "invalid_request_error" if status == 400 else "server_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSONResponse(body, status_code=status)
