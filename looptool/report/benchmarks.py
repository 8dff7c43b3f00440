"""Published benchmarks by checkpoint: official accuracy, ours on the same answers, failed requests.

A table each, so that BFCL v3 and v4, which differ in their items, are never read side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from looptool.records import BENCHMARKS
from looptool.report.lake import Lake
from looptool.report.sections import Cell, Grid, Section, percent
from looptool.report.text import clean_text

_SCORE = {
    "version": pl.String,
    "category": pl.String,
    "n": pl.Int64,
    "available": pl.Int64,
    "errors": pl.Int64,
    "official": pl.Float64,
    "reported": pl.Float64,
    "decided": pl.Int64,
    "strict": pl.Float64,
    "only_official": pl.Int64,
    "only_strict": pl.Int64,
}
HEADS = (
    *("category", "policy", "items", "failed", "official", "strict"),
    *("decided", "only official", "only strict"),
)

Scores = Mapping[tuple[str, int], Mapping[str, Any]]
"""Category and number of the checkpoint -> its score."""


def show_benchmarks(lake: Lake) -> Section:
    """One table for each benchmark that was run."""
    section = Section(
        "benchmarks",
        "Published benchmarks",
        "Official: the benchmark's own verdict. Strict: our matching rule on the same answers, where it "
        "can be said (decided); the last two columns count the items on which the two disagree. A failed "
        "request is neither right nor wrong and stands in its own column. Where only some of a category's "
        "items were asked, the table says of how many: such a figure compares with nothing published.",
    )
    for name in BENCHMARKS:
        scores = read_benchmark(lake, name)
        if scores:
            versions = sorted({clean_text(score["version"], 60) for score in scores.values()})
            section.grids.append(
                Grid(f"{name} ({', '.join(versions)})", HEADS, list(_rows(scores)))
            )
    if not section.grids:
        section.remarks.append("No benchmark has been run: looptool-evaluate runs them.")
    return section


def read_benchmark(lake: Lake, name: str) -> Scores:
    """The score of each category and checkpoint; of several the one of most items, then the newest."""
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for number in (0, *lake.rounds):
        for artifact in lake.all_of(number, name):
            for row in lake.read(artifact, "benchmark_scores", _SCORE).to_dicts():
                key = clean_text(row["category"], 60), number
                if key not in found or row["n"] >= found[key]["n"]:
                    found[key] = row
    return found


def _rows(scores: Scores) -> Iterator[Sequence[Cell]]:
    order = list(dict.fromkeys(category for category, _ in scores))
    for category, number in sorted(scores, key=lambda key: (order.index(key[0]), key[1])):
        score = scores[category, number]
        n, available = score["n"], score["available"]
        yield (
            category,
            f"M{number}",
            str(n) if n == available else f"{n} of {available}",
            score["errors"],
            percent(score["official"]),
            percent(score["strict"]),
            score["decided"],
            score["only_official"],
            score["only_strict"],
        )
