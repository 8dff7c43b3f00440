"""No process outlives its caller, and Ray's answers become our errors."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from looptool.config import TrainConfig
from looptool.errors import ConfigError, TrainingError
from looptool.train.api import TrainRequest
from looptool.train.verl.cluster import RayJobs, free_port, open_jobs
from looptool.train.verl.run import Run, WorkFolder
from looptool.train.verl.supervise import find_descendants, remove_shared_memory

SUPERVISE = [sys.executable, "-P", "-m", "looptool.train.verl.supervise"]
# A child in a session of its own whose parent ends: killing the group of its caller misses it.
ORPHAN = "setsid sleep 300 & setsid sleep 300 & echo started > {file}; exec sleep 300"


def _start(tmp_path: Path) -> subprocess.Popen[bytes]:
    folder = tmp_path / "work"
    folder.mkdir()
    file = tmp_path / "started"
    command = ["sh", "-c", f"sh -c '{ORPHAN.format(file=file)}'"]
    arguments = ["--remove", str(folder), "--", *command]
    process = subprocess.Popen([*SUPERVISE, *arguments], stdin=subprocess.PIPE)
    _wait_for(file.exists)
    return process


def _wait_for(claim: object, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not (callable(claim) and claim()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_tree_ends_when_its_caller_closes_the_pipe(tmp_path: Path) -> None:
    process = _start(tmp_path)
    pids = find_descendants(process.pid)
    assert len(pids) >= 3
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 143
    assert _is_gone(pids)
    assert not (tmp_path / "work").exists()


def test_the_tree_ends_when_its_caller_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "started"
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen({[*SUPERVISE, '--', 'sh', '-c', ORPHAN.format(file=file)]!r},"
        " stdin=subprocess.PIPE)\nprint(p.pid, flush=True)\ntime.sleep(300)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert caller.stdout is not None
    supervisor = int(caller.stdout.readline())
    _wait_for(file.exists)
    pids = [supervisor, *find_descendants(supervisor)]
    assert len(pids) >= 4
    os.kill(caller.pid, signal.SIGKILL)
    caller.wait()
    _wait_for(lambda: _is_gone(pids))
    caller.stdout.close()


def test_the_tree_ends_with_its_command_and_leaves_the_folder_to_the_caller(
    tmp_path: Path,
) -> None:
    arguments = ["--remove", str(tmp_path), "--", "sh", "-c", "setsid sleep 300 & exit 3"]
    process = subprocess.Popen([*SUPERVISE, *arguments], stdin=subprocess.PIPE)
    assert process.wait(30) == 3
    assert tmp_path.exists()
    assert process.stdin is not None
    process.stdin.close()


def test_only_shared_memory_that_nobody_maps_is_removed() -> None:
    import mmap

    name = f"verl_weights_test_{os.getpid()}"
    used, left = Path(f"/dev/shm/{name}_used"), Path(f"/dev/shm/{name}_left")
    used.write_bytes(b"x" * 4096)
    left.write_bytes(b"x" * 4096)
    try:
        with used.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
            remove_shared_memory()
            assert used.exists()
            assert not left.exists()
        remove_shared_memory()
        assert not used.exists()
    finally:
        used.unlink(missing_ok=True)
        left.unlink(missing_ok=True)


class _Ray(BaseHTTPRequestHandler):
    """A head that knows one job and one token."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != "Bearer right":
            self._answer(401, {})
        elif self.path == "/api/version":
            self._answer(200, {"ray_version": "2.60.0"})
        elif self.path == "/api/jobs/known":
            self._answer(200, {"status": "RUNNING", "message": "at work"})
        elif self.path == "/api/jobs/broken":
            self._answer(200, {"status": "FAILED", "message": "out of memory"})
        else:
            self._answer(404, {})

    def _answer(self, code: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def head() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ray)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _config(address: str) -> TrainConfig:
    return TrainConfig(trainer="verl", ray_address=address, ray_token_env="TEST_RAY_TOKEN")


def test_the_token_comes_from_the_environment(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_RAY_TOKEN", "right")
    with open_jobs(_config(head), Path(sys.executable), None, tmp_path) as jobs:
        assert jobs.status("known") == ("RUNNING", "at work")
        assert jobs.status("other")[0] == "UNKNOWN"


def test_a_refused_token_names_the_setting(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_RAY_TOKEN", "wrong")
    with (
        pytest.raises(ConfigError, match=r"train\.ray_token_env"),
        open_jobs(_config(head), Path(sys.executable), None, tmp_path),
    ):
        pass


def test_an_address_that_is_no_jobs_api_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="dashboard"),
        open_jobs(_config("ray://head:10001"), Path(sys.executable), None, tmp_path),
    ):
        pass


def test_a_cluster_that_is_not_there_is_a_retryable_error() -> None:
    jobs = RayJobs(f"http://127.0.0.1:{free_port()}", "")
    with pytest.raises(TrainingError, match="does not answer") as caught:
        jobs.version()
    assert caught.value.retryable
    jobs.close()


def _run(tmp_path: Path, head: str, job: str, **settings: float) -> Run:
    """A run whose job was submitted by an earlier caller."""
    config = TrainConfig(trainer="verl", ray_address=head, **settings)
    request = TrainRequest((), tmp_path, tmp_path / "m1", config, random_seed=0)
    work = WorkFolder(tmp_path / ".m1.verl", 0)
    (work.folder / "log").mkdir(parents=True)
    work.log.write_text("the last words\n")
    metrics = str(work.folder / "metrics.jsonl")
    text = json.dumps({"name": job, "address": head, "metrics": metrics})
    (work.folder / "job.json").write_text(text)
    return Run(request, work, Path(sys.executable), None)


def test_a_job_that_still_runs_is_followed_and_not_started_again(tmp_path: Path, head: str) -> None:
    jobs = RayJobs(head, "right")
    assert _run(tmp_path / "a", head, "known").find_running(jobs) == "known"
    assert _run(tmp_path / "b", head, "broken").find_running(jobs) is None
    assert _run(tmp_path / "c", head, "other").find_running(jobs) is None
    jobs.close()


@pytest.mark.parametrize("setting", ["stall_timeout_s", "timeout_s"])
def test_a_job_that_makes_no_step_has_a_deadline(tmp_path: Path, head: str, setting: str) -> None:
    jobs = RayJobs(head, "right")
    with pytest.raises(TrainingError, match=rf"train\.{setting} [^$]*resumes from step 0"):
        _run(tmp_path, head, "known", **{setting: 0.1}).follow(jobs, "known", 10)
    jobs.close()


def test_a_failed_job_is_told_with_rays_message_and_the_end_of_the_log(
    tmp_path: Path, head: str
) -> None:
    jobs = RayJobs(head, "right")
    with pytest.raises(TrainingError, match=r"FAILED: out of memory[^$]*the last words"):
        _run(tmp_path, head, "broken").follow(jobs, "broken", 10)
    jobs.close()
