"""Where a benchmark's process reaches the policy: an ASGI application on a Unix socket.

A socket in a private folder and not a port: it passes into a process without any network, nobody else on
the machine can ask it, and the key of a remote endpoint stays on this side of it.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looptool.chat.transport import AsgiApp
from looptool.config import LoopConfig
from looptool.engines import EngineOptions, Limits, check_model_folder
from looptool.engines.chat_server import create_chat_app
from looptool.engines.client import VLLM_ENV, borrow_engine, close_engines
from looptool.engines.interpreter import find_python
from looptool.engines.process import thread_env
from looptool.errors import ConfigError, EngineError, shorten

START_TIMEOUT_S = 30.0
"""Longest wait for our own server to listen."""
NVIDIA = Path("/dev/nvidiactl")
"""There where a driver is: without one, vLLM runs on the CPU and compiles nothing."""
HOP_HEADERS = {
    "content-length",
    "transfer-encoding",
    "connection",
    "content-encoding",
    "date",
    "server",
}
"""Of an endpoint's answer: what describes the connection and not the answer."""


@contextlib.contextmanager
def serve_on_socket(app: AsgiApp) -> Iterator[Path]:
    """The application on a Unix socket while the block runs; the socket's path."""
    import uvicorn

    folder = Path(tempfile.mkdtemp(prefix="looptool-"))  # mode 0700
    path = folder / "policy"
    config = uvicorn.Config(
        app, uds=str(path), log_level="critical", access_log=False, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise EngineError(f"the policy's server did not start on {path}")
            time.sleep(0.01)
        yield path
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_policy_app(
    config: LoopConfig, folder: str | Path, options: EngineOptions
) -> Iterator[AsgiApp]:
    """The chat API of a checkpoint by the profile's engine.

    `vllm`: `vllm serve` for the time of the block, with its own tool parser. `endpoint`: the server that
    runs already; ConfigError unless it serves this checkpoint. `transformers`: our own server.
    """
    checkpoint = check_model_folder(folder)
    limits = config.evaluate
    if config.policy.engine == "vllm":
        close_engines()
        with serve_vllm(checkpoint, config, options) as url:
            yield create_relay_app(url, find_served(url, checkpoint, ""), "", limits.max_new_tokens)
    elif config.policy.engine == "endpoint":
        key = os.environ.get(config.policy.api_key_env, "")
        url = config.policy.endpoint
        yield create_relay_app(url, find_served(url, checkpoint, key), key, limits.max_new_tokens)
    else:
        with borrow_engine(config.policy.engine, checkpoint, options) as engine:
            yield create_chat_app(
                engine, Limits(limits.max_new_tokens, limits.max_prompt_tokens, limits.batch_size)
            )


def find_served(url: str, checkpoint: Path, key: str) -> str:
    """Name under which an endpoint serves this checkpoint; ConfigError if it serves another."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx2.get(f"{url.rstrip('/')}/models", headers=headers, timeout=30.0)
        models = answer.raise_for_status().json()["data"]
        roots = {str(row.get("root")): str(row["id"]) for row in models}
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as exc:
        raise EngineError(
            f"endpoint {url} does not list its models ({shorten(exc)}); is the server up?"
        ) from exc
    for root, name in roots.items():
        if Path(root).resolve() == checkpoint:
            return name
    raise ConfigError(
        f"endpoint {url} serves {shorten(', '.join(roots) or 'nothing', 300)}, not {checkpoint}; start "
        f"it with `vllm serve {checkpoint} --enable-auto-tool-choice --tool-call-parser hermes`"
    )


def create_relay_app(url: str, model: str, key: str, max_tokens: int) -> Starlette:
    """Passes chat requests on to an endpoint, under its model's name and with its key."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    client = httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(600.0, connect=30.0),
        limits=httpx2.Limits(max_connections=None),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    async def complete(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            asked = {"max_tokens": max_tokens} | body | {"model": model}
        except (ValueError, TypeError):
            return JSONResponse({"error": {"message": "the body is no JSON object"}}, 400)
        try:
            answer = await client.post(f"{url.rstrip('/')}/chat/completions", json=asked)
        except httpx2.HTTPError as exc:
            message = f"the endpoint does not answer: {shorten(type(exc).__name__)}"
            return JSONResponse({"error": {"message": message, "type": "server_error"}}, 503)
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_HEADERS}
        return Response(answer.content, answer.status_code, kept)

    return Starlette(
        routes=[Route("/v1/chat/completions", complete, methods=["POST"])], lifespan=lifespan
    )


@contextlib.contextmanager
def serve_vllm(checkpoint: Path, config: LoopConfig, options: EngineOptions) -> Iterator[str]:
    """`vllm serve` on a free port of this machine while the block runs; its base URL.

    Raises EngineError with the end of its log if it ends or is not ready within `policy.timeout_s`.
    """
    python = find_python("vllm", options.python)
    port = _free_port()
    url = f"http://127.0.0.1:{port}/v1"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - the engines' own program, no shell
            [str(python.parent / "vllm"), *vllm_arguments(checkpoint, config, options, port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                **VLLM_ENV,
                **thread_env(options.threads),
                "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
                "HF_HUB_OFFLINE": "1",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                "OMP_WAIT_POLICY": "PASSIVE",
            },
            start_new_session=True,
        )
        try:
            _wait_ready(url, process, log, options.timeout_s)
            yield url
        finally:
            _end_group(process)


def vllm_arguments(
    checkpoint: Path, config: LoopConfig, options: EngineOptions, port: int
) -> list[str]:
    """Arguments of `vllm serve` for this profile."""
    found = ["serve", str(checkpoint), "--host", "127.0.0.1", "--port", str(port)]
    found += ["--dtype", options.dtype, "--generation-config", "vllm"]
    found += ["--max-model-len", str(context_length(checkpoint, options))]
    found += ["--enable-auto-tool-choice", "--tool-call-parser", config.benchmarks.tool_parser]
    found += ["--tensor-parallel-size", str(options.tensor_parallel)]
    found += ["--gpu-memory-utilization", str(options.gpu_memory_rate)]
    on_cpu = not NVIDIA.exists()
    cache_gib = options.cache_gib or (1.0 if on_cpu else None)
    if cache_gib is not None:
        found += ["--kv-cache-memory-bytes", str(int(cache_gib * (1 << 30)))]
    return [*found, "--enforce-eager"] if on_cpu else found


def context_length(checkpoint: Path, options: EngineOptions) -> int:
    """Tokens of the longest prompt and answer: what the profile wants and the model allows."""
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    allowed = int(config.get("max_position_embeddings", 1 << 17))
    return min(allowed, options.context_tokens or allowed)


def _wait_ready(url: str, process: "subprocess.Popen[bytes]", log: Any, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"{url.removesuffix('/v1')}/health", timeout=2.0).status_code == 200:
                return
        time.sleep(0.5)
    log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
    said = log.read().decode("utf-8", "replace").strip()
    raise EngineError(f"vllm serve was not ready within {timeout_s:.0f} s; last output:\n{said}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10.0)
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
