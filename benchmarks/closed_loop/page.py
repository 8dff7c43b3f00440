"""docs/evidence.md, written from the rows: no figure and no verdict in it is typed by hand.

What has no rows yet says so, with the command that makes them.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.closed_loop import charts
from benchmarks.closed_loop.comparison import add_ablations, add_paper, add_rounds, add_setup
from benchmarks.closed_loop.consequences import add_cost, add_data
from benchmarks.closed_loop.document import RUN, Page
from benchmarks.closed_loop.judged import add_judged
from benchmarks.closed_loop.rows import Row, RowFile
from benchmarks.closed_loop.sweeps import add_sweeps
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


def add_head(page: Page) -> None:
    """What the page is, and which aims hold."""
    page.lines.insert(0, "# Evidence")
    page.lines.insert(
        1,
        f"Written by `{RUN} --page` from `benchmarks/results/closed_loop.jsonl`, study "
        f"`{page.study}`; not to be edited. Does closing the loop beat static training with the same "
        "work, on our own ground: the laptop profile, its small policy and its scripted teacher with noise?",
    )
    page.head("Which aims hold")
    lines = [[aim.text, f"**{aim.verdict}**", aim.evidence] for aim in judge_aims(page.rows)]
    page.table(["aim", "", "measured"], lines)
    page.say(
        "Intervals are 95%, from a hierarchical bootstrap over seeds and held-out dialogues; differences are "
        "paired sample by sample (`benchmarks/closed_loop/bootstrap.py` says what they cover and what not)."
    )


def add_reproducibility(page: Page) -> None:
    """What a second run of a seed gives."""
    page.head("Run again")
    if not page.rows.checks:
        page.missing(f"{RUN} --verify loop 0")
        return
    page.say(
        "One run again in a fresh store with the same number of threads; compared are the digests of dataset "
        "and checkpoint, and the answers on the held-out samples."
    )
    lines = [
        [f"`{check['arm']}`, seed {check['seed']}", str(check["threads"]), str(row["round"])]
        + ["same" if row[part] else "**differs**" for part in ("dataset", "checkpoint", "answers")]
        for check in page.rows.checks
        for row in check["rounds"]
    ]
    page.table(["run", "threads", "round", "D_j", "M_j", "answers"], lines)
    if not all(check["same_code"] for check in page.rows.checks):
        page.say("The second run was made with another version of the stages' code than the first.")
    if any("**differs**" in line for line in lines):
        page.say(
            "Samples, verdicts and datasets are drawn by hashes: they are the same as long as the policies "
            "are. Where a checkpoint is the first thing to differ, it is the training that is not reproduced "
            "to the bit: torch does not promise the order in which floating-point numbers are added up."
        )


def add_commands(page: Page) -> None:
    """How all of it is run."""
    page.head("Commands")
    page.say(
        f"    {RUN}                  # everything, the most telling runs first\n"
        f"    {RUN} --list           # what is finished\n"
        f"    {RUN} --gradients      # which groups carried one, of the runs in this store\n"
        f"    {RUN} --verify loop 0  # a run again, digests compared\n"
        f"    {RUN} --page           # this page"
    )
    page.say(
        "Killed at any point, the first command goes on after the last finished stage of each run. "
        "`--jobs 2` (the default) runs two side by side with half of the cores each."
    )


SECTIONS: tuple[Callable[[Page], None], ...] = (
    add_head,
    add_setup,
    add_rounds,
    add_ablations,
    add_judged,
    add_data,
    add_cost,
    add_sweeps,
    add_paper,
    add_reproducibility,
    add_commands,
)
