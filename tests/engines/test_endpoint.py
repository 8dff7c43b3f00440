"""A vLLM server answers as the offline engine does, when it serves the right checkpoint."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from looptool.engines import EngineOptions, Generation, open_engine
from looptool.errors import ConfigError, EngineError
from looptool.records import Sample

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

BASE = Path(__file__).parents[2] / "models" / "nano-base"


@pytest.fixture(scope="module")
def server(
    engines_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    environment = {
        **os.environ,
        "PATH": f"{engines_python.parent}{os.pathsep}{os.environ['PATH']}",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "2",
    }
    arguments = "--dtype float32 --max-model-len 1024 --enforce-eager --host 127.0.0.1".split()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [engines_python.parent / "vllm", "serve", BASE, "--port", str(port), *arguments],
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )
    deadline = time.monotonic() + 300
    while True:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                break
        except httpx2.HTTPError:
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}/v1", process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _options(url: str) -> EngineOptions:
    return EngineOptions(endpoint=url, python=sys.executable, timeout_s=300)


def test_a_server_answers_as_transformers_does(
    server: tuple[str, subprocess.Popen[bytes]],
    samples: list[Sample],
    ask: Callable[..., list[Generation]],
    check_equal: Callable[[list[Generation]], None],
) -> None:
    engine = open_engine("endpoint", BASE, _options(server[0]))
    seen: list[tuple[int, int]] = []
    check_equal(ask(engine, samples, on_progress=lambda *at: seen.append(at), batch_size=8))
    assert seen[-1] == (len(samples), len(samples))
    engine.close()


def test_a_server_of_another_checkpoint_is_refused(
    server: tuple[str, subprocess.Popen[bytes]], tiny_model: Path
) -> None:
    with pytest.raises(ConfigError, match=r"serves .*nano-base.*not .*tiny"):
        open_engine("endpoint", tiny_model, _options(server[0]))


def test_a_server_that_is_gone_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="is the server up"):
        open_engine("endpoint", BASE, _options("http://127.0.0.1:9/v1"))
