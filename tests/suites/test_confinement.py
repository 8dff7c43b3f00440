"""A benchmark's program reaches the policy's socket and nothing else, and ends when it should."""

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from looptool.errors import BenchmarkError
from looptool.suites.process import PROGRAMS, run_program
from looptool.suites.serving import create_relay_app, serve_on_socket

HEAD = """
import json, os, sys
from pathlib import Path
import confine
job = json.loads(Path(sys.argv[1]).read_text())
confine.end_with_parent()
confine.limit(job["memory_gib"], job["cpu_s"])
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Where a test's program stands, beside `confine`."""
    folder = tmp_path / "programs"
    folder.mkdir()
    shutil.copy(PROGRAMS / "confine.py", folder)
    return folder / "program.py"


def run(program: Path, body: str, tmp_path: Path, *, timeout_s: float = 60.0, **job: object) -> str:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    program.write_text(HEAD + textwrap.dedent(body))
    settings = {"memory_gib": 4.0, "cpu_s": 60.0} | job
    run_program(program, settings, work, python=Path(sys.executable), timeout_s=timeout_s)
    return (work / "log").read_text()


def test_it_gets_no_secret_and_no_path_of_ours(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPTOOL_TEACHER_API_KEY", "key-of-the-teacher")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key-of-the-store")
    said = run(program, "print(json.dumps(dict(os.environ)), sys.path)", tmp_path)
    assert "key-of" not in said
    assert "PYTHONPATH" not in said


def test_model_text_that_is_evaluated_reaches_nothing(program: Path, tmp_path: Path) -> None:
    """What BFCL's grader would do with it: `__import__` passes its deny list."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = run(
            program,
            f"""
            confine.refuse_the_outside()
            for text in (
                "__import__('socket').create_connection(('127.0.0.1', {listener.getsockname()[1]}))",
                "__import__('socket').socket().connect(('127.0.0.1', {listener.getsockname()[1]}))",
                "__import__('os').system('touch {tmp_path}/touched')",
                "__import__('subprocess').run(['touch', '{tmp_path}/touched'])",
                "__import__('os').fork()",
                "__import__('os').execv('/bin/touch', ['touch', '{tmp_path}/touched'])",
            ):
                try:
                    eval(text)
                    print("reached", text)
                except PermissionError as error:
                    print("refused", error)
            """,
            tmp_path,
        )
    assert [line.split()[0] for line in said.splitlines()] == ["refused"] * 6
    assert not (tmp_path / "touched").exists()


def test_it_may_not_take_all_memory_nor_run_for_ever(program: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="MemoryError"):
        run(program, "bytearray(3 << 30)", tmp_path, memory_gib=2.0)
    with pytest.raises(BenchmarkError, match="took longer than 1 s"):
        run(program, "import time; time.sleep(60)", tmp_path, timeout_s=1.0)


def test_it_ends_when_the_one_who_waits_for_it_is_killed(program: Path, tmp_path: Path) -> None:
    program.write_text(
        HEAD + "import time; Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    )
    work = tmp_path / "work"
    work.mkdir()
    code = (
        "from pathlib import Path; from looptool.suites.process import run_program; "
        f"run_program(Path({str(program)!r}), {{'memory_gib': 4, 'cpu_s': 60}}, Path({str(work)!r}), "
        f"python=Path({sys.executable!r}), timeout_s=60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    pid = 0
    while not pid:
        pid = int((work / "pid").read_text() or 0) if (work / "pid").is_file() else 0
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def test_it_asks_the_policy_and_the_key_stays_outside(program: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    async def complete(request: Request) -> JSONResponse:
        seen.append((request.headers["authorization"], await request.json()))
        message = {"role": "assistant", "content": "hello"}
        return JSONResponse(
            {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    relay = create_relay_app(f"http://127.0.0.1:{port}/v1", "served-name", "the-key", 77)
    with serve_on_socket(relay) as path:
        said = run(
            program,
            """
            client = confine.connect(job["socket"], 30.0)
            confine.refuse_the_outside()
            messages = [{"role": "user", "content": "hi"}]
            answer = client.chat.completions.create(model="any", messages=messages, temperature=0.0)
            print(json.dumps([answer.choices[0].message.content, dict(os.environ)]))
            """,
            tmp_path,
            socket=str(path),
        )
    server.should_exit = True
    thread.join()
    content, environment = json.loads(said)
    assert content == "hello"
    assert "the-key" not in json.dumps(environment)
    ((key, body),) = seen
    assert key == "Bearer the-key"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("served-name", 77, 0.0)
