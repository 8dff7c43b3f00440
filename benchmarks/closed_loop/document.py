"""A Markdown page in the making, and how figures are written in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.closed_loop.arms import ARMS
from benchmarks.closed_loop.bootstrap import Estimate
from benchmarks.closed_loop.tables import Rows
from looptool.records import JsonObject

RUN = "python -m benchmarks.closed_loop"


@dataclass
class Page:
    """A page in the making."""

    rows: Rows
    study: str
    lines: list[str] = field(default_factory=list)
    charts: dict[str, JsonObject] = field(default_factory=dict)
    """Specifications by file name."""

    @property
    def text(self) -> str:
        """The page as Markdown."""
        return "\n\n".join(self.lines) + "\n"

    def head(self, title: str, level: int = 2) -> None:
        """A heading."""
        self.lines.append(f"{'#' * level} {title}")

    def say(self, text: str) -> None:
        """A paragraph."""
        self.lines.append(text)

    def missing(self, command: str) -> None:
        """That something was not run yet, and what runs it."""
        self.say(f"Not run yet: `{command}`.")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table."""
        lines = [heads, ["---"] * len(heads), *rows]
        self.lines.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))

    def chart(self, name: str, title: str, spec: JsonObject) -> None:
        """A chart in a file of its own."""
        self.charts[f"evidence-{name}.svg"] = spec
        self.say(f"![{title}](images/evidence-{name}.svg)")


def percent(found: Estimate | None) -> str:
    """`51.2 (49.0 to 53.5)`."""
    if found is None:
        return "-"
    return f"{100 * found.mean:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def share(value: float | None) -> str:
    """A share as percent, without the sign."""
    return "-" if value is None else f"{100 * value:.1f}"


def most(values: Iterable[int]) -> str:
    """`400`, or `398 to 400` where they differ."""
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def point(series: str, x: float, found: Estimate) -> JsonObject:
    """A row of a chart of curves; `series` is an arm, or any text."""
    title = ARMS[series].title if series in ARMS else series
    return {"series": title, "x": x, "y": found.mean, "low": found.low, "high": found.high}
