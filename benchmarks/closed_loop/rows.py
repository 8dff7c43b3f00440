"""The rows on disk: JSON lines, each appended whole when its round is finished.

A run is told by study, setting, arm, seed, and the teacher's noise and judge; of several rows for one
round of it the last counts. A line that was cut off by a kill is passed over.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Identity = tuple[Any, ...]
IDENTITY = ("study", "setting", "arm", "seed", "noise", "judge")


def identify(row: Mapping[str, Any]) -> Identity:
    """What tells the run of a row from others."""
    return tuple(row[name] for name in IDENTITY)


class RowFile:
    """One file of rows that several processes append to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Row]:
        """All rows that are whole, in the order in which they came."""
        if not self.path.exists():
            return []
        found: list[Row] = []
        for line in self.path.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                found.append(row)
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row, on disk when this returns; what a kill left of an earlier one ends first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            torn = b""
            if size:
                file.seek(size - 1)
                torn = b"" if file.read(1) == b"\n" else b"\n"
            file.write(torn + text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def rounds_of(self, identity: Identity) -> dict[int, Row]:
        """The rows of one run by round."""
        return pick_rounds(self.read(), identity)


def pick_rounds(rows: Iterable[Row], identity: Identity) -> dict[int, Row]:
    """The last row of each round of one run."""
    return {
        row["round"]: row for row in rows if row["kind"] == "round" and identify(row) == identity
    }
