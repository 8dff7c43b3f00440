"""The page on where the loop stops helping: more rounds, noise, the judge's accuracy."""

from benchmarks.closed_loop import charts
from benchmarks.closed_loop.arms import ARMS, LONG_ROUNDS, ROUNDS
from benchmarks.closed_loop.bootstrap import Estimate
from benchmarks.closed_loop.consequences import total
from benchmarks.closed_loop.document import RUN, Page, percent, point, share
from benchmarks.closed_loop.tables import Level, Rows, points, wrong_rate

_COLUMNS = {"the loop": 1, "static training": 2}


def add_sweeps(page: Page) -> None:
    """More rounds, noise, and the judge's accuracy."""
    page.head("Where the loop stops helping")
    _add_long(page)
    _add_noise(page)
    _add_judge(page)


def _add_long(page: Page) -> None:
    page.head(f"{LONG_ROUNDS} rounds, one seed", 3)
    rows = page.rows
    last = 0 if rows.empty else min(rows.last_round("loop"), rows.last_round("static"))
    if last <= ROUNDS:
        page.missing(f"{RUN} --only rounds")
        return
    values, lines = [], []
    for number in range(last + 1):
        both = [(arm, rows.answers(arm, 0, number, "all")) for arm in ("loop", "static")]
        means = {arm: float(group.values.mean()) for arm, group in both if group}
        found = rows.difference(("loop", number), ("static", number), seeds=[0])
        if found is None:
            continue
        values += [
            {"series": ARMS[arm].title, "x": number, "y": mean, "low": mean, "high": mean}
            for arm, mean in means.items()
        ]
        lines.append([str(number), *(f"{100 * m:.1f}" for m in means.values()), points(found)])
    page.chart(
        "long", "Accuracy over more rounds, seed 0", charts.curves(values, "round", "exact match")
    )
    page.table(["round", "loop", "static", "difference, points (dialogues alone)"], lines)
    best = {name: max(lines, key=lambda line: float(line[at])) for name, at in _COLUMNS.items()}
    highest = (
        f"{name} {best[name][at]} after round {best[name][0]}" for name, at in _COLUMNS.items()
    )
    page.say(f"Highest: {', '.join(highest)}.")


def _add_noise(page: Page) -> None:
    page.head("Noise of the teacher", 3)
    rows = page.rows
    usual = None if rows.empty else rows.usual
    levels = [] if usual is None else [
        at for at in rows.levels("loop") if at.judge == usual.judge and rows.row("loop", 0, ROUNDS, at)
    ]  # fmt: skip
    if len(levels) < 2:
        page.missing(f"{RUN} --only noise")
        return
    values, lines = [], []
    for at in levels:
        found = rows.difference(("loop", ROUNDS), ("static", ROUNDS), level=at, seeds=[0])
        cells = []
        for arm in ("loop", "static"):
            if estimate := _of_seed_0(rows, arm, at):
                values.append(point(arm, at.noise, estimate))
            cells.append(percent(_of_seed_0(rows, arm, at)))
        wrong = [share(_wrong_of(rows, n, at)) for n in (1, ROUNDS)]
        lines.append([f"{at.noise:.0%}", *wrong, *cells, points(found) if found else "-"])
    page.chart(
        "noise",
        f"Accuracy after round {ROUNDS} by noise, seed 0",
        charts.curves(
            sorted(values, key=lambda row: (str(row["series"]), float(row["x"]))),
            "wrong answers of the teacher",
            "exact match",
            percent=True,
        ),
    )
    page.table(
        [
            "wrong answers",
            "wrong in D_1, %",
            f"in the loop's D_{ROUNDS}, %",
            "loop, %",
            "static, %",
            "difference, points",
        ],
        lines,
    )


def _of_seed_0(rows: Rows, arm: str, level: Level) -> Estimate | None:
    return rows.accuracy(arm, ROUNDS, level=level, seeds=[0])


def _wrong_of(rows: Rows, number: int, level: Level) -> float | None:
    row = rows.row("loop", 0, number, level)
    return wrong_rate(row) if row else None


def _add_judge(page: Page) -> None:
    page.head("Accuracy of the judge", 3)
    rows = page.rows
    usual = None if rows.empty else rows.usual
    levels = [] if usual is None else [
        at for at in rows.levels("loop") if at.noise == usual.noise and rows.row("loop", 0, ROUNDS, at)
    ]  # fmt: skip
    if len(levels) < 2 or usual is None:
        page.missing(f"{RUN} --only judge")
        return
    values, lines = [], []
    for at in levels:
        found = _of_seed_0(rows, "loop", at)
        if found:
            values.append(point("loop", at.judge, found))
        changes = [
            row["changes"] for n in range(2, ROUNDS + 1) if (row := rows.row("loop", 0, n, at))
        ]
        lines.append(
            [
                f"{at.judge:.0%}",
                percent(found),
                share(_wrong_of(rows, ROUNDS, at)),
                total(changes, "changed"),
                total(changes, "corrected"),
                total(changes, "spoilt"),
            ]
        )
    static = _of_seed_0(rows, "static", usual)
    if static:
        values += [point("static", at.judge, static) for at in levels]
    page.chart(
        "judge",
        f"Accuracy after round {ROUNDS} by accuracy of the judge, seed 0",
        charts.curves(values, "right replies of the judge", "exact match", percent=True),
    )
    page.table(
        [
            "right replies",
            "loop, %",
            f"wrong in D_{ROUNDS}, %",
            "labels changed",
            "corrected",
            "spoilt",
        ],
        lines,
    )
    page.say(f"Static training of the same seed: {percent(static)}.")
