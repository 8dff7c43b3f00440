"""A benchmark's program in a process of its own: no secrets, no network but the policy's socket, limits.

The environment is made from nothing: no key of ours is in it. Where the system lets us (`unshare` and user
namespaces) the process has a network of its own, in which there is nothing; everywhere it runs under the
limits of `child/confine.py`. Files that the user may read it can read too.
"""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from looptool.errors import BenchmarkError, ConfigError

PROGRAMS = Path(__file__).parent / "child"
UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
POLL_S = 0.2
TAIL_CHARS = 2000
"""How much of a program's log an exception quotes."""

OnPoll = Callable[[], None]


@functools.cache
def isolation() -> tuple[str, ...]:
    """The command that takes the network away from another one; empty where there is none."""
    if shutil.which(UNSHARE[0]) is None:
        return ()
    try:
        done = subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return UNSHARE if done.returncode == 0 else ()


def run_program(
    program: Path,
    job: Mapping[str, Any],
    work: Path,
    *,
    python: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    require_isolation: bool = False,
    on_poll: OnPoll = lambda: None,
) -> None:
    """Run a script with a job to its end in the folder `work`; what it prints is in `work`/log.

    Raises BenchmarkError with the end of the log if it fails or takes longer than `timeout_s`.
    """
    if require_isolation and not isolation():
        raise ConfigError(
            "benchmarks.require_isolation: this system lets nobody take the network away from a process "
            "(`unshare --user --net` fails); allow user namespaces, or set it to false"
        )
    (work / "job.json").write_text(json.dumps(job), "utf-8")
    command = [*isolation(), str(python), "-E", "-s", str(program)]
    with _started([*command, str(work / "job.json")], work, env or {}, cwd or work) as process:
        deadline = time.monotonic() + timeout_s
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"{program.stem} took longer than {timeout_s:.0f} s; raise benchmarks.timeout_s, or set a "
                    f"limit of items. Last output:\n{tail(work)}"
                )
            on_poll()
            time.sleep(POLL_S)
        on_poll()
        if process.returncode != 0:
            raise BenchmarkError(
                f"{program.stem} failed (exit {process.returncode}); last output:\n{tail(work)}"
            )


@contextlib.contextmanager
def _started(
    command: list[str], work: Path, env: Mapping[str, str], cwd: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process while the block runs; it and all that it started are gone afterwards."""
    with (work / "log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command,
            cwd=cwd,
            env=minimal_env(work) | dict(env),
            stdin=subprocess.PIPE,  # its end is how the program learns that we are gone
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def minimal_env(work: Path) -> dict[str, str]:
    """An environment without anything of ours."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(work),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def tail(work: Path) -> str:
    """The end of a program's log."""
    data = (work / "log").read_bytes() if (work / "log").is_file() else b""
    return data[-TAIL_CHARS:].decode("utf-8", "replace").strip() or "(nothing)"
