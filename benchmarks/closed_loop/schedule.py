"""Runs side by side, each in a process of its own, for hours without anybody watching.

A run starts when what it shares with others is there and no run of its name is under way; one that fails is
tried once more and then left. When this process is killed, so are its children: each waits for the end of its
standard input. Started again, finished runs are passed over and the others go on after their last stage.
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from benchmarks.closed_loop.arms import BASE, Run
from benchmarks.closed_loop.rows import RowFile
from benchmarks.closed_loop.run import missing_rounds
from benchmarks.closed_loop.study import Study

ATTEMPTS = 2
POLL_S = 0.5
TAIL_CHARS = 1500


def with_bases(runs: Sequence[Run]) -> list[Run]:
    """The runs, each after the one that makes what it shares."""
    return list(dict.fromkeys(run for wanted in runs for run in (wanted.base(), wanted)))


def die_with_parent() -> None:
    """End this process as soon as its standard input ends; children of it do the same."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass
class Schedule:
    """The runs of one study that are not finished, and those under way."""

    study: Study
    command: Callable[[Run], list[str]]
    """Command line of the process that does a run."""
    jobs: int
    say: Callable[[str], None] = lambda text: print(f"{datetime.now():%H:%M:%S} {text}", flush=True)
    _active: dict[str, tuple[Run, "subprocess.Popen[bytes]", float]] = field(default_factory=dict)
    _tries: Counter[Run] = field(default_factory=Counter)

    def work(self, runs: Sequence[Run]) -> list[Run]:
        """Do all runs; those that failed."""
        waiting = [run for run in with_bases(runs) if not self._is_finished(run)]
        self.say(f"{len(waiting)} runs to do, {self.jobs} at a time, rows in {self.study.out}")
        failed: list[Run] = []
        while waiting or self._active:
            while len(self._active) < self.jobs and (ready := self._next(waiting)):
                waiting.remove(ready)
                self._start(ready)
            if not self._active:
                self.say(f"{len(waiting)} runs cannot start: what they share was not made")
                return [*failed, *waiting]
            for run in self._wait():
                if self._tries[run] < ATTEMPTS:
                    waiting.insert(0, run)
                else:
                    failed.append(run)
        return failed

    def _wait(self) -> list[Run]:
        """Wait until a process has ended; the runs that ended without being finished."""
        while all(process.poll() is None for _, process, _ in self._active.values()):
            time.sleep(POLL_S)
        return self._collect()

    def _next(self, waiting: Sequence[Run]) -> Run | None:
        """The first run that can start now."""
        for run in waiting:
            ready = run.arm == BASE or self._is_finished(run.base())
            if ready and run.name not in self._active:
                return run
        return None

    def _is_finished(self, run: Run) -> bool:
        return not missing_rounds(run, self.study, RowFile(self.study.out).read())

    def _start(self, run: Run) -> None:
        self._tries[run] += 1
        log = self.study.root / "logs" / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        threads = {} if self.study.threads is None else {"POLARS_MAX_THREADS": self.study.threads}
        environment = {
            **os.environ,
            "LOOPTOOL_CACHE": str((self.study.root / "cache").resolve()),
            **{name: str(value) for name, value in threads.items()},
        }
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.command(run),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self._active[run.name] = (run, process, time.monotonic())
        self.say(f"{run.name} starts, log in {log}")

    def _collect(self) -> list[Run]:
        """Take leave of the processes that have ended."""
        broken: list[Run] = []
        for name, (run, process, began) in list(self._active.items()):
            code = process.poll()
            if code is None:
                continue
            del self._active[name]
            if process.stdin:
                process.stdin.close()
            minutes = (time.monotonic() - began) / 60
            if code == 0 and self._is_finished(run):
                self.say(f"{name} is finished after {minutes:.1f} min")
                continue
            log = self.study.root / "logs" / f"{name}.log"
            tail = log.read_text(errors="replace")[-TAIL_CHARS:]
            self.say(f"{name} failed after {minutes:.1f} min, exit {code}:\n{tail}")
            broken.append(run)
        return broken


def default_threads(jobs: int) -> int:
    """An equal share of the cores for each run, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // jobs)


def python_command() -> list[str]:
    """This interpreter and this package."""
    return [sys.executable, "-m", "benchmarks.closed_loop"]
