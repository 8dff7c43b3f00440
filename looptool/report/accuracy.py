"""Held-out accuracy by round, and what was learnt and forgotten between rounds."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import polars as pl

from looptool.records import Kind
from looptool.report.charts import draw_shares, draw_stack
from looptool.report.flow import Link, draw_flow
from looptool.report.lake import Found, Lake
from looptool.report.sections import Cell, Figure, Grid, Section, percent

SIDES = {"all": "ink2", "seen": "c1", "unseen": "c8", "static": "grey"}
"""Series of the accuracy charts and their colours."""
CALLING = {"relevance": "c2", "irrelevance": "c5"}
STATES = {"mastered": "c2", "borderline": "c3", "failed": "c6"}
SHOWN = 4
"""Most checkpoints side by side in one flow."""
_SCORE = {
    "slice": pl.String,
    "n": pl.Int64,
    "correct": pl.Int64,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
_PROBE = {
    "sample_id": pl.String,
    "matched": pl.Boolean,
    "ppl_output": pl.Float64,
    "pass_rate": pl.Float64,
    "failure": pl.String,
}

Scores = Mapping[int, Mapping[str, Mapping[str, float]]]
"""Checkpoint number -> slice -> n, correct, accuracy, low, high."""


def read_scores(lake: Lake) -> Scores:
    """Held-out scores of M_0 and of every round that has been evaluated."""
    found: dict[int, Mapping[str, Mapping[str, float]]] = {}
    for number in (0, *lake.rounds):
        rows = lake.read(lake.stage(number, "evaluate"), "scores", _SCORE).to_dicts()
        if rows:
            found[number] = {row["slice"]: row for row in rows}
    return found


def show_accuracy(lake: Lake, static: Lake | None) -> Section:
    """By round, by kind and by seen and unseen tools, with 95% Wilson intervals."""
    section = Section(
        "accuracy",
        "Accuracy",
        "Share of held-out samples answered exactly right, by checkpoint: M0 is the model before "
        "training, M1 the one after round 1. Whiskers are 95% Wilson intervals: where they overlap "
        "widely, the difference may be chance. Seen tools (blue) occur in training, unseen ones (orange) "
        "never do. Relevance: a call was due and one was made, right or not; irrelevance: none was due "
        "and none was made.",
    )
    scores = read_scores(lake)
    if not scores:
        section.remarks.append("No checkpoint has been evaluated yet.")
        return section
    if len(scores) == 1:
        section.remarks.append("Only one checkpoint has been evaluated, so there is no course yet.")
    fixed = read_scores(static) if static else {}
    if static and not fixed:
        section.remarks.append(f"The static campaign {static.name} has no scores.")
    sides = {side: side for side in ("all", "seen", "unseen")}
    whole = accuracy_lines(scores, sides) + [
        {**row, "series": "static", "dashed": True}
        for row in accuracy_lines(fixed, {"static": "all"})
    ]
    calls = {"all": "calls", "seen": "seen/calls", "unseen": "unseen/calls"}
    for title, lines, colours in (
        ("All held-out samples", whole, SIDES),
        ("Where a call was due: the right one", accuracy_lines(scores, calls), SIDES),
        (
            "To call or not to call",
            accuracy_lines(scores, {name: name for name in CALLING}),
            CALLING,
        ),
    ):
        if lines:
            section.figures.append(_figure(title, lines, colours))
    for kind in Kind:
        lines = accuracy_lines(scores, {side: f"{side}/kind:{kind}" for side in ("seen", "unseen")})
        if lines:
            section.figures.append(_figure(f"Kind {kind}", lines, SIDES, small=True))
    section.grids.append(_score_table(scores))
    return section


Line = dict[str, Any]


def _figure(
    title: str, rows: Sequence[Line], colours: Mapping[str, str], small: bool = False
) -> Figure:
    cells: list[Sequence[Cell]] = [
        [f"M{r['x']}", r["series"], percent(r["y"]), f"{percent(r['low'])} – {percent(r['high'])}",
         r["n"]]
        for r in rows
    ]  # fmt: skip
    data = Grid(title, ["checkpoint", "series", "right", "95% interval", "samples"], cells)
    return Figure(title, draw_shares(rows, colours, small=small), data, small)


def accuracy_lines(scores: Scores, slices: Mapping[str, str]) -> list[Line]:
    """One row for each series (name -> slice) and checkpoint; series stand a little apart."""
    return [
        {
            "x": number,
            "at": number + 0.1 * (place - (len(slices) - 1) / 2),
            "y": score["accuracy"],
            "low": score["low"],
            "high": score["high"],
            "n": int(score["n"]),
            "series": name,
            "dashed": False,
            "tip": f"M{number}, {name}: {percent(score['accuracy'])} of {score['n']} "
            f"({percent(score['low'])} to {percent(score['high'])})",
        }
        for place, (name, slice_) in enumerate(slices.items())
        for number, found in scores.items()
        if (score := found.get(slice_))
    ]


def _score_table(scores: Scores) -> Grid:
    slices = dict.fromkeys(name for found in scores.values() for name in found)
    rows: list[Sequence[Cell]] = []
    for name in slices:
        cells = [scores[number].get(name) for number in scores]
        n = next(int(cell["n"]) for cell in cells if cell)
        shown = [
            f"{percent(c['accuracy'])} ({percent(c['low'], 0)}–{percent(c['high'], 0)})"
            if c
            else None
            for c in cells
        ]
        rows.append([name, n, *shown])
    return Grid("Every slice", ["slice", "samples", *(f"M{number}" for number in scores)], rows)


def states_of(frame: pl.DataFrame, unsure: float) -> dict[str, str]:
    """Sample -> mastered, borderline or failed.

    A right answer is borderline if a training rollout failed or, where there were none, if its
    perplexity is above `unsure`. Samples that could not be probed are left out.
    """
    states: dict[str, str] = {}
    for row in frame.iter_rows(named=True):
        if row["failure"]:
            continue
        rate, ppl = row["pass_rate"], row["ppl_output"]
        doubt = rate < 1.0 if rate is not None else ppl is not None and ppl > unsure
        states[row["sample_id"]] = (
            "failed" if not row["matched"] else "borderline" if doubt else "mastered"
        )
    return states


def show_movement(lake: Lake) -> Section:
    """Transitions of the held-out samples between checkpoints, and forgetting."""
    section = Section("movement", "Learnt and forgotten", "")
    frames = {
        number: frame
        for number in (0, *lake.rounds)
        if (frame := lake.read(lake.stage(number, "evaluate"), "probes", _PROBE)).height
    }
    unsure = _unsure(list(frames.values()))
    section.lead = (
        "Every held-out sample over the checkpoints. Mastered: right and sure; borderline: right "
        f"with a perplexity above {unsure:.4f}, the upper quarter of all right answers; failed: "
        "wrong. Forgotten means right before and wrong now. Of training samples, those are borderline of "
        "which some rollout failed."
    )
    if len(frames) < 2:
        section.remarks.append("It takes two evaluated checkpoints to see a movement.")
        return section
    states = {number: states_of(frame, unsure) for number, frame in frames.items()}
    shown = sorted(states)[-SHOWN:]
    section.figures.append(_movement_flow(states, shown))
    rows = [_moved(a, b, states[a], states[b]) for a, b in pairwise(states)]
    section.figures.append(_forgetting(rows))
    section.grids.append(_kept_samples(lake, unsure))
    return section


def _unsure(frames: Sequence[pl.DataFrame]) -> float:
    """The upper quartile of the perplexities of right answers; 1 without any."""
    right = [f.filter(pl.col("matched") & (pl.col("failure") == ""))["ppl_output"] for f in frames]
    value = pl.concat(right).drop_nulls().quantile(0.75) if right else None
    return value if value is not None and math.isfinite(value) else 1.0


def _movement_flow(states: Mapping[int, Mapping[str, str]], shown: Sequence[int]) -> Figure:
    links: list[Link] = []
    rows: list[Sequence[Cell]] = []
    for column, (a, b) in enumerate(pairwise(shown)):
        moves = Counter((states[a][i], states[b][i]) for i in states[a].keys() & states[b].keys())
        for (old, colour), new in product(STATES.items(), STATES):
            if count := moves[old, new]:
                links.append(Link(column, old, new, count, colour))
                rows.append([f"M{a} → M{b}", old, new, count])
    spec = draw_flow(links, [f"M{number}" for number in shown], [list(STATES)] * len(shown), STATES)
    title = "Held-out samples by state"
    return Figure(title, spec, Grid(title, ["step", "before", "after", "samples"], rows))


def _moved(a: int, b: int, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    both = before.keys() & after.keys()
    was = {i for i in both if before[i] != "failed"}
    now = {i for i in both if after[i] != "failed"}
    return {
        "from": a,
        "to": b,
        "samples": len(both),
        "right_before": len(was),
        "learnt": len(now - was),
        "forgotten": len(was - now),
    }


def _forgetting(rows: Sequence[Mapping[str, int]]) -> Figure:
    bars = []
    cells: list[Sequence[Cell]] = []
    for row in rows:
        step = f"M{row['from']}→M{row['to']}"
        lost = row["forgotten"] / row["right_before"] if row["right_before"] else None
        bars += [
            {"x": step, "y": row["learnt"], "series": "learnt", "tip": f"{step}: {row['learnt']} learnt"},
            {
                "x": step,
                "y": -row["forgotten"],
                "series": "forgotten",
                "tip": f"{step}: {row['forgotten']} forgotten, {percent(lost)} of what was right",
            },
        ]  # fmt: skip
        cells.append([step, row["right_before"], row["learnt"], row["forgotten"], percent(lost)])
    spec = draw_stack(
        bars, {"learnt": "c1", "forgotten": "c8"}, [str(bar["x"]) for bar in bars], "samples"
    )
    heads = ["step", "right before", "learnt", "forgotten", "share forgotten"]
    title = "Learnt (up) and forgotten (down)"
    return Figure(title, spec, Grid(title, heads, cells))


def _kept_samples(lake: Lake, unsure: float) -> Grid:
    """The same transitions for training samples that stayed from one dataset to the next."""
    rows: list[Sequence[Cell]] = []
    before: dict[str, str] = {}
    for number in lake.rounds:
        probes: Found | None = lake.stage(number, "probe")
        after = states_of(lake.read(probes, "probes", _PROBE), unsure)
        moves = Counter((before[i], after[i]) for i in before.keys() & after.keys())
        rows += [
            [f"{number - 1} → {number}", old, *(moves[old, new] for new in STATES)]
            for old in STATES
            if any(moves[old, new] for new in STATES)
        ]
        before = after
    return Grid(
        "Training samples in two rounds running: state before and after",
        ["rounds", "before", *STATES],
        rows,
        beside=True,
    )
