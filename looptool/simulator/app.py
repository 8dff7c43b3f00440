"""The OpenAI-compatible face of the scripted teacher: an ASGI app, in process or over a port.

POST /v1/chat/completions (no streaming) and GET /v1/models. Faults of transport are real ones: statuses
with Retry-After, and bodies that end before their announced length.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looptool.config import SimulatorConfig
from looptool.records import JsonObject
from looptool.simulator.noise import Noise
from looptool.simulator.reading import UnreadablePrompt, read_prompt
from looptool.simulator.roles import answer_prompt
from looptool.simulator.speak import make_rng

MODELS = ("scripted", "scripted-expert")
CHARACTERS_PER_TOKEN = 4
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ConnectionCut(ConnectionResetError):
    """The scripted teacher cut the connection on purpose."""


class CutResponse(Response):
    """A response whose connection breaks in the middle of its body."""

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Announce the whole body, send half of it, and break off."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        raise ConnectionCut("connection cut by the scripted teacher")


def create_app(config: SimulatorConfig) -> Starlette:
    """The scripted teacher as an ASGI application."""
    noise = Noise(config)

    async def complete(request: Request) -> Response:
        return await _complete(await request.body(), noise)

    async def list_models(request: Request) -> Response:
        rows = [{"id": m, "object": "model", "created": 0, "owned_by": "looptool"} for m in MODELS]
        return JSONResponse({"object": "list", "data": rows})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/v1/models", list_models, methods=["GET"]),
        ]
    )


async def _complete(raw: bytes, noise: Noise) -> Response:
    try:
        body = json.loads(raw)
        if not isinstance(body, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as exc:
        return _error(400, f"the body is not a JSON object: {exc}")
    if body.get("stream"):
        return _error(400, "streaming is not supported by the scripted teacher", "stream")
    model = body.get("model")
    if model not in MODELS:
        return _error(
            404, f"model {model!r} does not exist; there are {', '.join(MODELS)}", "model"
        )
    key = _digest(body.get("messages"))
    request_key = f"{key}/{body.get('seed')}/{model}"
    fault = noise.next_fault(request_key)
    delay = noise.rates.latency_s + (noise.rates.slow_s if fault == "slow" else 0.0)
    if delay:
        await asyncio.sleep(delay)
    if fault == "error":
        return _unavailable(noise, request_key)
    try:
        prompt = read_prompt(
            body.get("messages"), key, body.get("seed"), expert=model == "scripted-expert"
        )
        content = json.dumps(answer_prompt(prompt, noise), ensure_ascii=False)
    except UnreadablePrompt as exc:
        return _error(400, str(exc), "messages")
    if fault == "malformed":
        content = noise.garble(content, request_key)
    reply = _completion(str(model), key, content, body.get("messages"))
    return (
        CutResponse(_encode(reply), media_type="application/json")
        if fault == "cut"
        else Response(_encode(reply), media_type="application/json")
    )


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _digest(messages: Any) -> str:
    text = json.dumps(messages, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _completion(model: str, key: str, content: str, messages: Any) -> JsonObject:
    prompt_tokens = _count_tokens("".join(str(m.get("content") or "") for m in messages))
    completion_tokens = _count_tokens(content)
    return {
        "id": f"chatcmpl-{key[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _count_tokens(text: str) -> int:
    """A rough count: one token for four characters."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _unavailable(noise: Noise, key: str) -> Response:
    rng = make_rng("status", noise.seed, key, noise.tries(key))
    status = rng.choice((429, 503))
    message = "rate limit reached" if status == 429 else "the model is overloaded"
    kind = "rate_limit_error" if status == 429 else "server_error"
    wait = rng.choice(("0", "0", "1"))
    return _error(status, message, kind=kind, headers={"Retry-After": wait})


def _error(
    status: int,
    message: str,
    param: str | None = None,
    *,
    kind: str = "invalid_request_error",
    headers: dict[str, str] | None = None,
) -> Response:
    body = {"error": {"message": message, "type": kind, "param": param, "code": None}}
    return JSONResponse(body, status_code=status, headers=headers)


def serve(config: SimulatorConfig, host: str = "127.0.0.1", port: int = 8020) -> None:
    """Serve the scripted teacher over a port until interrupted."""
    import uvicorn

    uvicorn.run(create_app(config), host=host, port=port, log_level="critical", access_log=False)
