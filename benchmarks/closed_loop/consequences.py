"""The page on what becomes of the data, and what it costs."""

from collections.abc import Sequence

import numpy as np

from benchmarks.closed_loop import charts
from benchmarks.closed_loop.arms import ARMS, ROUNDS
from benchmarks.closed_loop.document import RUN, Page, most, share
from benchmarks.closed_loop.rows import Row
from benchmarks.closed_loop.tables import forgotten, wrong_rate


def add_data(page: Page) -> None:
    """Labels and forgetting."""
    page.head("What becomes of the data")
    rows = page.rows
    arms = [] if rows.empty else [arm for arm in ARMS if rows.last_round(arm) > 1]
    if not arms:
        page.missing(f"{RUN} --only main")
        return
    last = min(ROUNDS, max(map(rows.last_round, arms)))
    shares = {arm: [rows.mean(arm, n, wrong_rate) for n in range(1, last + 1)] for arm in arms}
    page.say("Wrong labels in D_j, percent (the truth is known to the measurement alone):")
    page.table(
        ["arm", *(f"D_{n}" for n in range(1, last + 1))],
        [[ARMS[arm].title, *(share(value) for value in values)] for arm, values in shares.items()],
    )
    page.chart(
        "labels",
        "Wrong labels by round",
        charts.curves(
            [
                {"series": ARMS[arm].title, "x": n, "y": value, "low": value, "high": value}
                for arm, values in shares.items()
                for n, value in enumerate(values, 1)
                if value is not None
            ],
            "dataset",
            "wrong labels",
            zero=True,
        ),
    )
    _add_changes(page, arms, last)


def _add_changes(page: Page, arms: Sequence[str], last: int) -> None:
    rows = page.rows
    lines = []
    for arm in arms:
        found = rows.refreshed(arm)
        changed = [row["changes"] for row in found if row["changes"]]
        asked = [row["forgetting"] for row in found if row["forgetting"]]
        lines.append(
            [
                ARMS[arm].title,
                *(
                    total(changed, name)
                    for name in ("changed", "corrected", "spoilt", "still_wrong")
                ),
                _rate(asked),
                ", ".join(share(forgotten(rows, arm, n)) for n in range(1, last + 1)),
            ]
        )
    page.say(
        "Label changes of all rounds and seeds, by what they did. *Forgotten, retired*: of the training "
        "samples that were mastered and dropped earlier and are probed again, those that fail now. "
        "*Forgotten, held out*: of what M_{j-1} answered right, the share that M_j does not, percent by round."
    )
    page.table(
        [
            "arm",
            "changed",
            "wrong to right",
            "right to wrong",
            "still wrong",
            "forgotten, retired",
            "forgotten, held out",
        ],
        lines,
    )


def total(rows: Sequence[Row], name: str) -> str:
    """The sum of one figure, or a dash without rows."""
    return str(sum(row[name] for row in rows)) if rows else "-"


def _rate(rows: Sequence[Row]) -> str:
    asked = sum(row["asked"] for row in rows)
    lost = sum(row["forgotten"] for row in rows)
    return f"{lost} of {asked} ({lost / asked:.0%})" if asked else "-"


def add_cost(page: Page) -> None:
    """Teacher and time."""
    page.head("What it costs")
    rows = page.rows
    arms = [] if rows.empty else [arm for arm in ARMS if rows.last_round(arm) > 1]
    if not arms:
        page.missing(f"{RUN} --only main")
        return
    lines = []
    for arm in arms:
        found = rows.refreshed(arm)
        teacher = [row["teacher"] for row in found]
        scouting = [row["scouting"] for row in found if row["scouting"]]
        lines.append(
            [
                ARMS[arm].title,
                f"{np.mean([t['requests'] for t in teacher]):,.0f}",
                f"{np.mean([t['prompt_tokens'] for t in teacher]) / 1000:,.0f}",
                f"{np.mean([t['completion_tokens'] for t in teacher]) / 1000:,.0f}",
                f"{np.mean([s['answers'] for s in scouting]):,.0f}" if scouting else "-",
                _minutes(found, 0),
                _minutes(found, 1),
                _minutes(found, 1, "train"),
                _minutes(found, 1, "scout") if scouting else "-",
            ]
        )
    page.say(
        "For a round from the second on, means over rounds and seeds; planted pairs are among the requests. "
        "Rollouts of training are the same in all arms; the answers of the probe and of scouting come on top. "
        "Minutes are those of the stages that made D_j and M_j, the held-out answers among them, beside "
        f"other runs and with {most(row['threads'] for row in rows.all_rounds())} thread(s) for each run."
    )
    page.table(
        [
            "arm",
            "teacher requests",
            "prompt tokens, thousands",
            "completion tokens, thousands",
            "answers for scouting",
            "minutes",
            "processor minutes",
            "of these training",
            "and scouting",
        ],
        lines,
    )


def _minutes(rows: Sequence[Row], place: int, stage: str = "") -> str:
    """Mean minutes; a round of which a stage has no time is left out."""
    found = [
        sum(took[place] for name, took in row["times"].items() if not stage or name == stage) / 60
        for row in rows
        if "train" in row["times"]
    ]
    return f"{np.mean(found):.1f}" if found else "-"
