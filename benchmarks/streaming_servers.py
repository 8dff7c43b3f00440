"""Two machines for `benchmarks.streaming`: a policy and a teacher, each with a delay and so many places.

    python -m benchmarks.streaming_servers policy --answers answers.json --delay 0.05 --places 2

A request waits for a place, then takes the delay and what its answer needs. The policy speaks as much of
vLLM's completions API as the engine `endpoint` uses and answers from a table (token ids -> token ids); the
teacher is the scripted one. The first line printed is the port; `GET /load` says what was served.
"""

import argparse
import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from looptool.config import NoiseConfig, SimulatorConfig
from looptool.simulator import create_app

Asgi = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
LOGPROB = -0.1
"""Of every token; what the policy is unsure of plays no part here."""


class Machine:
    """An ASGI application behind a delay, with so many requests at a time."""

    def __init__(self, app: Asgi, delay_s: float, places: int) -> None:
        self._app, self._delay_s = app, delay_s
        self._places = asyncio.Semaphore(places)
        self.requests, self.busy_s = 0, 0.0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        if scope["path"] == "/load":
            load = {"requests": self.requests, "busy_s": self.busy_s}
            await JSONResponse(load)(scope, receive, send)
        elif scope["method"] == "GET":
            await self._app(scope, receive, send)
        else:
            async with self._places:
                began = time.monotonic()
                await asyncio.sleep(self._delay_s)
                await self._app(scope, receive, send)
                self.requests += 1
                self.busy_s += time.monotonic() - began


def prompt_key(token_ids: list[int]) -> str:
    """Digest of a prompt."""
    return hashlib.sha256(json.dumps(token_ids).encode()).hexdigest()


def create_policy(answers: dict[str, list[int]], folder: str) -> Starlette:
    """A server of the checkpoint in a folder that gives these answers to these prompts."""

    async def list_models(request: Request) -> JSONResponse:
        model = {"id": "policy", "object": "model", "created": 0, "owned_by": "x", "root": folder}
        return JSONResponse({"object": "list", "data": [model]})

    async def complete(request: Request) -> JSONResponse:
        body = await request.json()
        choice: dict[str, Any] = {"index": 0, "text": "", "finish_reason": "stop"}
        if "prompt_logprobs" in body:
            choice["prompt_logprobs"] = [{str(t): {"logprob": LOGPROB}} for t in body["prompt"]]
        else:
            token_ids = answers[prompt_key(body["prompt"])]
            choice |= {
                "token_ids": token_ids,
                "logprobs": {"token_logprobs": [LOGPROB] * len(token_ids)},
            }
        return JSONResponse(
            {
                "id": "x",
                "object": "text_completion",
                "created": 0,
                "model": "policy",
                "choices": [choice],
            }
        )

    return Starlette(
        routes=[
            Route("/v1/models", list_models),
            Route("/v1/completions", complete, methods=["POST"]),
        ]
    )


async def serve(machine: Machine) -> None:
    """Serve on any free port until the process is ended."""
    settings = uvicorn.Config(
        machine, host="127.0.0.1", port=0, log_level="error", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(settings)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await task


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["policy", "teacher"])
    parser.add_argument("--answers", type=Path, help="policy: JSON of folder and answers")
    parser.add_argument("--noise", default="{}", help="teacher: JSON of its noise")
    parser.add_argument("--delay", type=float, required=True, help="seconds")
    parser.add_argument("--places", type=int, required=True)
    options = parser.parse_args()
    if options.role == "policy":
        table = json.loads(options.answers.read_text())
        app: Any = create_policy(table["answers"], table["folder"])
    else:
        noise = NoiseConfig.model_validate_json(options.noise)
        app = create_app(SimulatorConfig(noise=noise))

    async def run() -> None:
        await serve(Machine(app, options.delay, options.places))

    asyncio.run(run())


if __name__ == "__main__":
    main()
