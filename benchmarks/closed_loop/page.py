"""docs/evidence.md, written from the rows: no figure and no verdict in it is typed by hand.

What has no rows yet says so, with the command that makes them.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.closed_loop import charts
from benchmarks.closed_loop.rows import Row, RowFile
from benchmarks.closed_loop.sections import SECTIONS, Page
from benchmarks.closed_loop.tables import Rows, judge_aims, points

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PREFIX = "evidence-"


def write_page(rows: RowFile, study: str | None = None, docs: Path = DOCS) -> list[Path]:
    """Write the page and its charts below `docs`, remove charts that it no longer has; what was written."""
    page = make_page(rows.read(), study)
    target = docs / "evidence.md"
    target.write_text(page.text, encoding="utf-8")
    images = docs / "images"
    images.mkdir(exist_ok=True)
    for old in images.glob(f"{PREFIX}*.svg"):
        if old.name not in page.charts:
            old.unlink()
    written = [target]
    for name, spec in page.charts.items():
        path = images / name
        path.write_text(charts.draw(spec), encoding="utf-8")
        written.append(path)
    return written


def make_page(rows: Sequence[Row], study: str | None = None) -> Page:
    """The page about one study, the last one by default, with the others in short."""
    measured = [row for row in rows if not row.get("rehearsed")] or list(rows)
    names = list(dict.fromkeys(row["study"] for row in measured))
    chosen = study or (names[-1] if names else "main")
    page = Page(Rows(pick_study(measured, chosen)), chosen)
    if any(row.get("rehearsed") for row in measured):
        page.say("**A rehearsal with a simulated policy: none of these figures is a measurement.**")
    for section in SECTIONS:
        section(page)
    _add_others(page, {n: Rows(pick_study(measured, n)) for n in names if n != chosen})
    return page


def pick_study(rows: Iterable[Row], study: str) -> list[Row]:
    """The rows of a study, under the setting that most of them have."""
    own = [row for row in rows if row["study"] == study]
    settings = [row["setting"] for row in own]
    if not settings:
        return []
    common = max(dict.fromkeys(settings), key=settings.count)
    return [row for row in own if row["setting"] == common]


def _add_others(page: Page, others: dict[str, Rows]) -> None:
    if not others:
        return
    page.head("Other studies")
    page.say(
        "Runs with another method or setting, kept beside these. "
        "Loop minus static after the last round that both have:"
    )
    lines = []
    for name, rows in others.items():
        last = min(rows.last_round("loop"), rows.last_round("static")) if not rows.empty else 0
        found = rows.difference(("loop", last), ("static", last)) if last else None
        aims = "; ".join(f"{aim.text}: {aim.verdict}" for aim in judge_aims(rows))
        lines.append([name, str(last), points(found) if found else "-", aims])
    page.table(["study", "rounds", "loop minus static, points", "aims"], lines)


Section = Callable[[Page], None]
