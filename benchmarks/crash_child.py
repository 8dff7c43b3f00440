"""The run that the crash matrix kills: a process that forks one child a run, and counts its writes.

Everything is imported once, before the first fork, while there is one thread. A child wraps the writing
methods of the store, notes every write in a journal, and ends itself with SIGKILL before or after the one
that it was given. The product knows nothing of this.

A job is one line of JSON on standard input: `config`, `journal`, and `kill`, e.g. [17, "before"], or null.
The answer is a line with the exit status, negative for a signal.
"""

import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.crash_round import POLICIES, run_round
from looptool.artifacts import Store
from looptool.config import LoopConfig

WRITES = ("put", "create", "upload")
"""Every method of the store that writes; `put` and `create` take (path, data), `upload` (file, path)."""


def count_writes(journal: Path, kill: tuple[int, str] | None) -> None:
    """Note every write of this process, and end it at one of them."""
    numbers = itertools.count(1)

    def wrap(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def write(self: Store, first: Any, second: Any) -> Any:
            number = next(numbers)
            path = second if kind == "upload" else first
            with journal.open("a") as file:
                file.write(json.dumps([number, kind, path.removeprefix(self.path())]) + "\n")
            if kill == (number, "before"):
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(self, first, second)
            if kill == (number, "after"):
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return write

    for kind in WRITES:
        setattr(Store, kind, wrap(kind, getattr(Store, kind)))


def run(job: dict[str, Any]) -> int:
    """One run in this process; its exit status."""
    kill = job["kill"]
    count_writes(Path(job["journal"]), (int(kill[0]), str(kill[1])) if kill else None)
    try:
        run_round(LoopConfig.model_validate(job["config"]), POLICIES[job["policy"]])
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Fork a child for every line."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = run(json.loads(line))
            sys.stderr.flush()
            os._exit(status)
        _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    main()
