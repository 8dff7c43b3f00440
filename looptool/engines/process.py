"""A child process that is asked in JSON lines, and that never outlives the one who asks.

Parent to child: requests on stdin, one JSON object a line. Child to parent: `progress`, `result`
and `error` lines on a pipe of their own, so that whatever libraries print cannot corrupt the
protocol; stdout and stderr go to a log whose tail is in the exception. The child leads its own
session: a deadline, a cancellation or any other exception in the parent kills the whole group.

The child also dies when the parent does, `kill -9` included: a thread of it waits on stdin, and end
of file there means that nobody will ever read the answer. PDEATHSIG is not used, because it fires
when the *thread* that started the child ends, and task runners start children from short-lived
threads.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import looptool
from looptool import errors
from looptool.errors import EngineError, LoopToolError

JsonObject = dict[str, Any]
LineHandler = Callable[[JsonObject], None]

TAIL_CHARS = 2000
"""How much of the child's log an exception quotes."""
POLL_S = 0.2
"""How often a waiting parent looks up, so that cancellation is noticed."""


class Child:
    """One child process, `python -m module`, answering by `looptool.engines.worker.serve`."""

    def __init__(
        self,
        module: str,
        *,
        env: Mapping[str, str] | None = None,
        error: type[LoopToolError] = EngineError,
        python: Path | None = None,
    ) -> None:
        """`python` is another environment's interpreter; None: the current one."""
        self.module = module
        self._error = error
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in kill()
        self._buffer = b""
        self._lock = threading.Lock()
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [str(python or sys.executable), "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(write_end,),
                env=_child_env(env, write_end, python),
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            self._log.close()
            raise
        finally:
            os.close(write_end)
        self._read_end = read_end

    @property
    def pid(self) -> int:
        """Process id, which is also its process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def request(
        self, request: JsonObject, *, timeout_s: float, on_line: LineHandler | None = None
    ) -> JsonObject:
        """Send one request, hand progress lines to `on_line`, return the result.

        Raises what the child raised if it is one of ours, else the child's error type (with the
        log's tail) when it fails, dies or is late. After any exception the child is dead.
        """
        with self._lock:
            try:
                deadline = time.monotonic() + timeout_s
                self._send(request)
                return self._wait_for_result(deadline, timeout_s, on_line)
            except BaseException:
                self.kill()
                raise

    def kill(self) -> None:
        """End the child and everything that it started; may be called twice."""
        if self._log.closed:
            return  # already reaped: the number may belong to somebody else by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()
        if self._read_end >= 0:
            os.close(self._read_end)
            self._read_end = -1
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def _send(self, request: JsonObject) -> None:
        if self._log.closed or self._process.stdin is None:
            raise self._error(f"{self.module}: its process was closed; open a new one")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as exc:
            raise self._died() from exc

    def _wait_for_result(
        self, deadline: float, timeout_s: float, on_line: LineHandler | None
    ) -> JsonObject:
        while True:
            line = self._next_line(deadline)
            if line is None:
                raise self._error(
                    f"{self.module}: no result within {timeout_s:.0f} s; raise the stage's timeout "
                    f"or make the work smaller. Last output:\n{self._tail()}"
                )
            event = line.get("event")
            if event == "result":
                return dict(line["value"])
            if event == "error":
                raise self._raised(line)
            if on_line is not None:
                on_line(line["value"])

    def _next_line(self, deadline: float) -> JsonObject | None:
        while b"\n" not in self._buffer:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            ready, _, _ = select.select([self._read_end], [], [], min(POLL_S, remaining))
            if ready:
                data = os.read(self._read_end, 1 << 16)
                if not data:
                    raise self._died()
                self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\n")
        line: JsonObject = json.loads(raw)
        return line

    def _raised(self, line: JsonObject) -> LoopToolError:
        kind = getattr(errors, str(line.get("type")), None)
        if isinstance(kind, type) and issubclass(kind, LoopToolError):
            return kind(str(line["message"]))
        return self._error(f"{self.module} failed: {line['message']}\n{line.get('traceback', '')}")

    def _died(self) -> LoopToolError:
        try:
            code: int | str = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = "unknown"
        if isinstance(code, int) and code < 0:
            code = f"signal {signal.Signals(-code).name}"
        return self._error(
            f"{self.module}: its process ended without a result (exit {code}); "
            f"last output:\n{self._tail()}"
        )

    def _tail(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - TAIL_CHARS))
        return self._log.read().decode("utf-8", "replace").strip() or "(nothing)"


def run_in_child(
    module: str,
    request: JsonObject,
    *,
    timeout_s: float,
    on_line: LineHandler | None = None,
    env: Mapping[str, str] | None = None,
    error: type[LoopToolError] = EngineError,
    python: Path | None = None,
) -> JsonObject:
    """One request to a fresh child; see `Child.request`."""
    with Child(module, env=env, error=error, python=python) as child:
        return child.request(request, timeout_s=timeout_s, on_line=on_line)


def thread_env(threads: int | None) -> dict[str, str]:
    """Environment that limits a child to so many CPU threads; None: all cores."""
    return {} if threads is None else {"OMP_NUM_THREADS": str(threads)}


def package_path(python: Path | None = None) -> str:
    """PYTHONPATH under which an interpreter finds this looptool and nothing that is not its own.

    Another environment must not see the packages beside an installed looptool: it gets the path of
    a checkout, and otherwise has a looptool of its own.
    """
    parent = Path(looptool.__file__).resolve().parent.parent
    own = python is None or python == Path(sys.executable) or (parent / "pyproject.toml").is_file()
    paths = [str(parent) if own else "", os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(p for p in paths if p)


def _child_env(
    extra: Mapping[str, str] | None, write_end: int, python: Path | None
) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": package_path(python),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        # On shared cores, threads that spin at a barrier take the core from the one they wait for:
        # measured 7 times slower than one thread beside another busy process.
        "OMP_WAIT_POLICY": "PASSIVE",
        **(extra or {}),
        "LOOPTOOL_RESULT_FD": str(write_end),
    }
