"""What the programs of the benchmarks share: their files of JSON lines, the choice of items, the outcome."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ERROR = "Error during inference"
"""Beginning of an answer that is none: the request failed."""


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def choose(entries: list[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    """All of them, or so many, drawn by the hash of the id: always the same ones."""
    if limit is None or limit >= len(entries):
        return entries
    drawn = sorted(entries, key=lambda entry: hashlib.sha256(entry["id"].encode()).hexdigest())
    taken = {entry["id"] for entry in drawn[:limit]}
    return [entry for entry in entries if entry["id"] in taken]


def has_failed(answer: Any) -> bool:
    """Whether an answer only says that its request failed."""
    return isinstance(answer, str) and answer.startswith(ERROR)


def write_outcome(folder: Path, items: Iterable[dict[str, Any]], summary: dict[str, Any]) -> None:
    """`items.jsonl`, a line an item, and `summary.json`."""
    with (folder / "items.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item) + "\n" for item in items)
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
