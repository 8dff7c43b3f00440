"""Runs a command, and ends it with everything that it started when the caller goes away.

    python -m looptool.train.verl.supervise [--remove FOLDER] -- COMMAND …

A Ray cluster is a tree of processes in sessions of their own; killing its head leaves workers and
vLLM's engines behind. This process makes itself their reaper (`PR_SET_CHILD_SUBREAPER`): what loses
its parent becomes its child, so the whole tree can be found at any time. It ends the tree when the
command ends, on SIGTERM, and when its stdin closes: `kill -9` of the caller included; then it also
removes the folder. At the end it removes veRL's shared memory that no process maps any more. Linux
only; the standard library alone, as it starts in a moment.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
END_TIMEOUT_S = 60.0
POLL_S = 0.1
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shared_memory puts its files
WEIGHTS = "verl_weights_*"


def main(arguments: list[str]) -> int:
    """Run the command after `--`; the exit code is the command's, 143 if it was ended."""
    cut = arguments.index("--")
    folders = [Path(a) for a in arguments[:cut] if a != "--remove"]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=_wait_for_caller, args=(ended,), daemon=True).start()
    child = subprocess.Popen(  # noqa: S603 - the caller's own command
        arguments[cut + 1 :], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return _wait(child.pid, ended)
    finally:
        end_processes(lambda: find_descendants(os.getpid()))
        if ended.is_set():  # otherwise the caller lives, and may want to read what is in there
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
        remove_shared_memory()


def _wait_for_caller(ended: threading.Event) -> None:
    while os.read(0, 1 << 12):
        pass
    ended.set()


def _wait(pid: int, ended: threading.Event) -> int:
    """Reap whatever ends until the command does, or the caller."""
    while not ended.wait(POLL_S):
        for gone, status in _reap():
            if gone == pid:
                return os.waitstatus_to_exitcode(status)
    return 128 + signal.SIGTERM


def _reap() -> Iterable[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


def end_processes(find: Callable[[], list[int]], timeout_s: float = END_TIMEOUT_S) -> list[int]:
    """Kill what `find` finds until it finds nothing; returns what was left at the deadline."""
    deadline = time.monotonic() + timeout_s
    while found := find():
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        list(_reap())
        if time.monotonic() > deadline:
            return found
        time.sleep(POLL_S)
    return []


def find_descendants(root: int) -> list[int]:
    """Processes below `root`, those that have ended and wait to be reaped included."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = stat.read_text().rsplit(")", 1)[1].split()[1]
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def remove_shared_memory() -> None:
    """Remove weight buffers of veRL that no process maps."""
    left = set(SHARED_MEMORY.glob(WEIGHTS))
    if not left:
        return
    mapped = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            text = maps.read_text()
            mapped |= {path for path in left if str(path) in text}
    for path in left - mapped:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
