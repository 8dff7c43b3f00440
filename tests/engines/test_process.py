"""A child process answers, reports, and never outlives the one who asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from looptool.engines.process import Child, run_in_child
from looptool.errors import DataError, EngineError, TrainingError

HERE = Path(__file__).parent
ENV = {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}


def _ask(op: str, **fields: Any) -> dict[str, Any]:
    options = {k: fields.pop(k) for k in ("on_line", "error") if k in fields}
    timeout_s = fields.pop("timeout_s", 60)
    request = {"op": op, **fields}
    return run_in_child("child_jobs", request, timeout_s=timeout_s, env=ENV, **options)


def _gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rsplit(")", 1)[1].split()[0] == "Z"


def _wait(claim: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if claim():
            return True
        time.sleep(0.05)
    return claim()


def test_progress_lines_come_in_order_and_prints_do_not_disturb_the_result() -> None:
    lines: list[dict[str, Any]] = []
    result = _ask("count", to=5, on_line=lines.append)
    assert [line["i"] for line in lines] == [0, 1, 2, 3, 4]
    assert _wait(lambda: _gone(result["pid"]))


def test_one_child_answers_many_requests_also_large_ones() -> None:
    with Child("child_jobs", env=ENV) as child:
        for size in (1, 3_000_000):
            value = "ü" * size
            assert child.request({"op": "echo", "value": value}, timeout_s=60) == {"value": value}
        assert child.alive
    assert not child.alive
    with pytest.raises(EngineError, match="closed"):
        child.request({"op": "echo", "value": 1}, timeout_s=60)


def test_an_error_of_ours_comes_back_as_itself_and_a_stranger_with_its_traceback() -> None:
    with pytest.raises(DataError, match="row 3 is broken"):
        _ask("refuse")
    with pytest.raises(TrainingError, match=r"(?s)ValueError: no such thing.*child_jobs.py"):
        _ask("raise", error=TrainingError)


def test_a_crash_is_an_engine_error_with_the_end_of_the_log() -> None:
    with pytest.raises(EngineError, match=r"(?s)SIGABRT.*the last words"):
        _ask("crash")


def test_a_module_that_does_not_start_says_why() -> None:
    with pytest.raises(EngineError, match="No module named no_such_job"):
        run_in_child("no_such_job", {"op": "x"}, timeout_s=60, env=ENV)


def test_a_deadline_kills_the_child_and_what_it_started() -> None:
    pids: dict[str, int] = {}
    with pytest.raises(EngineError, match="no result within 3 s"):
        _ask("sleep", timeout_s=3, on_line=pids.update)
    assert _wait(lambda: _gone(pids["pid"]) and _gone(pids["grandchild"]))


def test_a_cancelled_parent_kills_the_child() -> None:
    pids: dict[str, int] = {}

    def cancel(line: dict[str, Any]) -> None:
        pids.update(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ask("sleep", on_line=cancel)
    assert _wait(lambda: _gone(pids["pid"]) and _gone(pids["grandchild"]))


def test_a_parent_killed_with_sigkill_takes_the_child_along() -> None:
    script = (
        "from looptool.engines.process import run_in_child\n"
        "run_in_child('child_jobs', {'op': 'sleep'}, timeout_s=60,\n"
        "             on_line=lambda line: print(line['pid'], line['grandchild'], flush=True))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **ENV},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child, grandchild = map(int, parent.stdout.readline().split())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert _wait(lambda: _gone(child) and _gone(grandchild))


def test_a_child_outlives_the_thread_that_started_it() -> None:
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(Child("child_jobs", env=ENV)))
    thread.start()
    thread.join()
    with children[0] as child:
        assert child.request({"op": "echo", "value": 7}, timeout_s=60) == {"value": 7}
