"""What the adapters of all benchmarks share: their environments, the items that a program leaves, errors."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import looptool
from looptool.errors import BenchmarkError, ConfigError, EngineError, shorten
from looptool.records import BenchmarkItem, BenchmarkName, canonical_json
from looptool.suites.strict import Verdict

Judge = Callable[[str, Mapping[str, Any]], Verdict]
"""Our rule on one item of a category."""


def find_environment(name: BenchmarkName, configured: str = "") -> Path:
    """The interpreter of a benchmark's environment; ConfigError with the command that makes it."""
    if configured:
        python = Path(configured).expanduser().absolute()
        if not python.is_file():
            raise ConfigError(f"benchmarks.{name}.python = {configured}: no such file")
        return python
    folder = f".venv-{name.replace('_', '-')}"
    for parent in dict.fromkeys((Path.cwd(), Path(looptool.__file__).resolve().parent.parent)):
        if (python := parent / folder / "bin" / "python").is_file():
            return python
    raise ConfigError(
        f"no {folder} here; run `make {name.partition('_')[0]}`, or set benchmarks.{name}.python to an "
        "interpreter that has what the benchmark needs"
    )


def count_results(folder: Path) -> int:
    """Answers written so far."""
    return sum(file.read_bytes().count(b"\n") for file in folder.rglob("*_result.json"))


def read_items(work: Path) -> Iterator[dict[str, Any]]:
    """The lines that the program left; BenchmarkError if they cannot be read."""
    try:
        for line in (work / "items.jsonl").read_text("utf-8").splitlines():
            yield json.loads(line)
    except (OSError, ValueError) as exc:
        raise BenchmarkError(f"the benchmark left no readable items: {shorten(exc)}") from exc


def grade(
    name: BenchmarkName, category: str, row: Mapping[str, Any], judge: Judge
) -> BenchmarkItem:
    """One item with both verdicts; a failed request has neither."""
    answer = row["answer"]
    text = answer if isinstance(answer, str) else canonical_json(answer)
    verdict = Verdict(None) if row["failed"] else judge(category, row)
    return BenchmarkItem(
        benchmark=name,
        category=category,
        item_id=row["id"],
        official=None if row["failed"] else row["valid"],
        strict=verdict.matched,
        called=has_call(answer),
        error=shorten(text, 300) if row["failed"] else "",
        official_note="" if row["failed"] else row["why"],
        strict_note=shorten(verdict.note, 300),
        answer="" if row["failed"] else text,
    )


def has_call(answer: Any) -> bool:
    """Whether the policy called anything, in any turn; of an answer in text alone nobody can say."""
    if isinstance(answer, list):
        return any(map(has_call, answer))
    return isinstance(answer, dict) and bool(answer)


def check_errors(items: Sequence[BenchmarkItem], where: str) -> None:
    """EngineError if no request was answered at all, for another reason than its length."""
    broken = [item for item in items if item.error and "prompt_too_long" not in item.error]
    if items and len(broken) == len(items):
        raise EngineError(f"{where}: none of {len(items)} requests was answered: {broken[0].error}")
