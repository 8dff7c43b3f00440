"""What a report is made of: sections of figures and tables, each with a plain explanation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from looptool.records import JsonObject

Cell = str | int | float | None
"""A figure of a table: text, a count, a plain number, or unknown."""


@dataclass(frozen=True, slots=True)
class Grid:
    """One table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    beside: bool = False
    """Whether it is small enough to stand beside the charts."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart, with the figures that it shows."""

    title: str
    spec: JsonObject
    """Vega-Lite, or Vega if it has `marks`."""
    data: Grid | None = None
    small: bool = False
    """Whether two of them fit side by side on a phone."""


@dataclass(slots=True)
class Section:
    """One part of the page."""

    name: str
    """Its anchor."""
    title: str
    lead: str
    """What one sees, in plain words."""
    figures: list[Figure] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What there is nothing to show of and why, and what else is to be said."""


def percent(share: float | None, digits: int = 1) -> str:
    """A share 0..1 as `53.7%`; a dash if it is unknown."""
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def count_table(
    title: str, head: str, columns: Mapping[str, Mapping[str, int]], total: bool = True
) -> Grid:
    """Counts by name (rows) and by column, most frequent first."""
    sums: dict[str, int] = {}
    for counts in columns.values():
        for name, number in counts.items():
            sums[name] = sums.get(name, 0) + number
    names = sorted(sums, key=lambda name: (-sums[name], name))
    rows: list[Sequence[Cell]] = [
        [name, *(counts.get(name, 0) for counts in columns.values())] for name in names
    ]
    if total and names:
        rows.append(["all", *(sum(counts.values()) for counts in columns.values())])
    return Grid(title, [head, *columns], rows)
