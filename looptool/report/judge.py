"""The judge, measured by planted pairs whose verdict was known."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from looptool.records import as_mapping
from looptool.report.charts import draw_matrix, draw_shares
from looptool.report.lake import Lake
from looptool.report.sections import Cell, Figure, Grid, Section, percent
from looptool.report.text import clean_text
from looptool.report.verdicts import TRUTHS, VERDICTS

PRECISION = "precision"
FLOOR = "floor"
COLOURS = {PRECISION: "c8", FLOOR: "grey"}
SHOWN = 2
"""Rounds whose confusion matrix is drawn; the table has all."""

Row = Mapping[str, Any]


def show_judge(lake: Lake) -> Section:
    """Confusion with known verdicts, precision against its floor, votes by model and by order."""
    section = Section(
        "judge",
        "The judge, measured",
        "Pairs with a known verdict were planted among the mismatches; the judge cannot tell them from "
        "real ones. Rows are the truth, columns what it said; the diagonal is right. Pairs of earlier "
        "rounds with the same judge count as well. Labels are replaced only while the lower end of the "
        "precision's 95% interval is at or above the floor.",
    )
    judged = [n for n in lake.rounds if lake.stage(n, "judge") is not None]
    measures = {n: measure for n in judged if (measure := _measure(lake, n))}
    if not judged:
        section.remarks.append("No round has been judged.")
    section.remarks += [
        f"Round {number}: no pairs with a known verdict were planted."
        for number in judged
        if number not in measures
    ]
    section.remarks += [_trust(number, measure) for number, measure in measures.items()]
    if course := _course(measures, lake.settings.get("judge.precision_floor")):
        section.figures.append(course)
    for number in list(measures)[-SHOWN:]:
        section.figures.append(_confusion(number, as_mapping(measures[number].get("confusion"))))
    rows = [row for number, measure in measures.items() for row in _rates(number, measure)]
    if rows:
        heads = ["round", "what", "right", "95% interval", "of", "unreadable"]
        section.grids.append(Grid("By truth, judge model, order and corruption", heads, rows))
    return section


def _measure(lake: Lake, number: int) -> Row:
    found = lake.stage(number, "judge")
    measure = as_mapping(found.stats.get("measure")) if found else {}
    return measure if as_mapping(measure.get("confusion")) else {}


def _trust(number: int, measure: Row) -> str:
    trust = as_mapping(measure.get("trust"))
    what = "labels were replaced" if trust.get("trusted") else "no label was replaced"
    return f"Round {number}: {what}. {clean_text(trust.get('reason', ''), 300)}"


def _course(measures: Mapping[int, Row], floor: object) -> Figure | None:
    """The precision of LABEL_WRONG by round, and the floor that it is held against."""
    rows: list[dict[str, Any]] = []
    cells: list[Sequence[Cell]] = []
    for number, measure in measures.items():
        precision = as_mapping(measure.get("precision"))
        if not precision:
            continue
        value, low, high = (float(precision[name]) for name in ("estimate", "low", "high"))
        tip = f"round {number}: {percent(value)} ({percent(low)} to {percent(high)})"
        place = {"x": number, "at": number}
        rows.append(
            {**place, "y": value, "low": low, "high": high, "series": PRECISION, "dashed": False,
             "tip": tip}
        )  # fmt: skip
        if isinstance(floor, int | float) and floor:
            ends = dict.fromkeys(("y", "low", "high"), floor)
            rows.append({**place, **ends, "series": FLOOR, "dashed": True, "tip": f"floor {floor}"})
        cells.append([number, percent(value), f"{percent(low)} – {percent(high)}"])
    if not rows:
        return None
    title = "Share of right ones among LABEL_WRONG"
    data = Grid(title, ["round", "precision", "95% interval"], cells)
    return Figure(title, draw_shares(rows, COLOURS, prefix="round "), data)


def _confusion(number: int, confusion: Row) -> Figure:
    truths = [name for name in TRUTHS if name in confusion]
    cells = []
    rows: list[Sequence[Cell]] = []
    for truth in truths:
        counts = {said: int(as_mapping(confusion[truth]).get(said, 0)) for said in VERDICTS}
        total = max(1, sum(counts.values()))
        cells += [
            {
                "truth": truth,
                "said": said,
                "n": n,
                "share": n / total,
                "tip": f"{truth} called {said}: {n} of {total} ({percent(n / total)})",
            }
            for said, n in counts.items()
        ]
        rows.append([truth, *counts.values()])
    title = f"Round {number}: truth (rows) and verdict"
    return Figure(
        title, draw_matrix(cells, truths, VERDICTS), Grid(title, ["truth", *VERDICTS], rows)
    )


def _rates(number: int, measure: Row) -> Iterator[Sequence[Cell]]:
    for truth, rate in as_mapping(measure.get("recall")).items():
        yield _rate(number, f"truth {truth}", rate)
    for model, votes in as_mapping(measure.get("by_model")).items():
        yield _rate(number, f"votes of {model}", votes)
    for order, votes in as_mapping(measure.get("by_order")).items():
        yield _rate(number, f"votes, {order}", votes)
    yield _rate(number, "first answer blamed (no bias: 50%)", measure.get("first_blamed"))
    for change, rate in as_mapping(measure.get("by_change")).items():
        yield _rate(number, f"corruption {change}", rate)


def _rate(number: int, name: str, found: object) -> Sequence[Cell]:
    votes = as_mapping(found)
    rate = as_mapping(votes.get("right", found))
    interval = f"{percent(rate.get('low'))} – {percent(rate.get('high'))}"
    return [
        number,
        clean_text(name, 80),
        percent(rate.get("rate")),
        interval,
        rate.get("n"),
        votes.get("unreadable"),
    ]
