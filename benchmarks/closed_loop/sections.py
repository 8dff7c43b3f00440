"""The sections of docs/evidence.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.closed_loop import charts
from benchmarks.closed_loop.arms import ABLATIONS, ARMS, LONG_ROUNDS, ROUNDS
from benchmarks.closed_loop.bootstrap import Estimate, over_seeds
from benchmarks.closed_loop.rows import Row
from benchmarks.closed_loop.tables import (
    Level,
    Rows,
    forgotten,
    judge_aims,
    points,
    wrong_rate,
)
from looptool.records import JsonObject

RUN = "python -m benchmarks.closed_loop"
SLICES = ("all", "seen", "unseen", "calls", "relevance", "irrelevance")
PAPER_ROUNDS = {
    "loop": (71.20, 73.00, 74.34, 74.93),
    "static": (71.16, 72.18, 73.45, 73.26),
}
"""BFCL-v3 overall of Qwen3-8B after each of four iterations; 65.19 before the first."""
PAPER_BASE = 65.19
PAPER_ABLATIONS = {
    "loop": 73.00,
    "no_high_ppl": 72.31,
    "no_jglv": 71.30,
    "no_edde": 71.50,
    "edde_as_high_ppl": 72.50,
    "edde_as_copies": 72.38,
}
"""The same at iteration 2."""
ORIGINS = {
    "error_seed": "error seeds",
    "expansion": "expansions",
    "high_ppl": "high-PPL",
    "seed": "unused seeds",
}


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


def add_setup(page: Page) -> None:
    """What is compared, with the sizes that the rows tell."""
    page.head("What is compared")
    rows = page.rows
    if rows.empty:
        page.missing(RUN)
    else:
        _say_sizes(page)
    page.say(
        "M_j is trained from M_{j-1} in every arm, as in the paper; promotion is off. The seed phase, M_0 and "
        "round 1 are the same in all arms of a seed. Every round of every arm has the same optimiser steps, "
        "prompts and rollouts, which is checked; where samples are missing or too long, others come once more."
    )
    page.table(
        ["arm", "what makes D_2, D_3, …"],
        [[f"{arm.title} (`{arm.name}`)", arm.about] for arm in ARMS.values()],
    )


def _say_sizes(page: Page) -> None:
    rows = page.rows
    every = list(rows.all_rounds())
    training = every[0]["training"]
    grounds = rows.grounds()
    counts = [ground["correct"] for ground in grounds]
    items = round(np.mean([c["all"][1] for c in counts]))
    seen = round(np.mean([c["seen"][1] for c in counts])) if "seen" in counts[0] else 0
    half = 100 * np.sqrt(0.25 / items)
    level = rows.usual
    pool = np.mean(
        [g["pool"]["wrong"] / g["pool"]["size"] for g in grounds if g["noise"] == level.noise]
    )
    page.say(
        f"A round: {training['steps']} GRPO steps, {training['rollouts']:,} rollouts, a dataset of "
        f"{_most(row['dataset']['size'] for row in every)} samples. The teacher errs in {level.noise:.0%} of its "
        f"answers, the judge in {1 - level.judge:.0%} of its replies; after validation {pool:.1%} of the labels "
        f"of the pool are wrong. Held out: {items:,} samples, {seen:,} over seen tools and {items - seen:,} over "
        "tools that occur nowhere in training, written by the teacher without noise and confirmed by it "
        f"({sum(g['left_out'] for g in grounds)} left out). An accuracy near 50% on them has a standard error "
        f"of {half:.1f} points for one seed."
    )
    if len({row["code"] for row in every}) > 1:
        page.say("The rows come from more than one version of the stages' code.")


def _most(values: Any) -> str:
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def add_rounds(page: Page) -> None:
    """Loop and static training over the rounds."""
    page.head("Loop and static training")
    rows = page.rows
    if rows.empty or not (rows.last_round("loop") and rows.last_round("static")):
        page.missing(f"{RUN} --only main")
        return
    arms = [arm for arm in ("loop", "static", "static_d1") if rows.last_round(arm)]
    last = min(ROUNDS, max(map(rows.last_round, arms)))
    values = [
        _point(arm, number, found)
        for arm in arms
        for number in range(last + 1)
        if (found := _common(rows, arm, number))
    ]
    page.chart(
        "rounds",
        "Held-out accuracy by round",
        charts.curves(values, "round (0: the base policy)", "exact match, held out"),
    )
    lines = [
        [ARMS[arm].title, *(percent(_common(rows, arm, n)) for n in range(last + 1))]
        for arm in arms
    ]
    page.say("Exact match on the held-out samples, percent, mean over the seeds:")
    page.table(["", *(f"M_{n}" for n in range(last + 1))], lines)
    _add_differences(page, arms, last)
    _add_slices(page, last)


def _common(rows: Rows, arm: str, number: int) -> Estimate | None:
    """Accuracy of an arm; of M_0 for the seeds of its first round."""
    if number or not (seeds := rows.seeds(arm, 1)):
        return rows.accuracy(arm, number)
    return rows.accuracy(arm, 0) if len(seeds) == len(rows.seeds(arm, 0)) else None


def _point(series: str, x: float, found: Estimate) -> JsonObject:
    title = ARMS[series].title if series in ARMS else series
    return {"series": title, "x": x, "y": found.mean, "low": found.low, "high": found.high}


def _add_differences(page: Page, arms: Sequence[str], last: int) -> None:
    lines = []
    for arm in arms[1:]:
        for number in range(1, last + 1):
            found = page.rows.difference(("loop", number), (arm, number))
            if found is None:
                continue
            student = over_seeds(found.by_seed)
            lines.append(
                [
                    ARMS[arm].title,
                    str(number),
                    points(found),
                    ", ".join(f"{100 * value:+.1f}" for value in found.by_seed),
                    f"{100 * student[0]:+.1f} to {100 * student[1]:+.1f}" if student else "-",
                ]
            )
    page.say("The loop minus static training, in points, paired:")
    page.table(["minus", "round", "difference", "by seed", "Student's interval over seeds"], lines)


def _add_slices(page: Page, last: int) -> None:
    rows = page.rows
    page.say(
        f"By slice after round {last}, percent. *relevance*: a call was made where one was due, right or not; "
        "*irrelevance*: words where none was due; *calls*: exact match where one was due."
    )
    seeds = rows.seeds("loop", last)
    known: dict[str, None] = {}
    for seed in seeds:
        ground = rows.row("loop", seed, 0)
        known |= dict.fromkeys(ground["correct"] if ground else ())
    lines = []
    for part in [*SLICES, *(name for name in known if name.startswith("kind:"))]:
        found = rows.difference(("loop", last), ("static", last), part)
        loop = rows.accuracy("loop", last, part)
        if loop is None:
            continue
        base, static = rows.accuracy("loop", 0, part), rows.accuracy("static", last, part)
        cells = [percent(base), percent(loop), percent(static), points(found) if found else "-"]
        lines.append([part.removeprefix("kind:"), str(loop.items), *cells])
    heads = ["slice", "answers", "M_0", "loop", "static", "loop minus static, points"]
    page.table(heads, lines)


def add_ablations(page: Page) -> None:
    """Each part of the loop taken out or replaced."""
    page.head("Without its parts")
    rows = page.rows
    names = [*ABLATIONS, "static_d1", "static"]
    last = ROUNDS
    found = {} if rows.empty else {
        arm: difference
        for arm in names
        if (difference := rows.difference((arm, last), ("loop", last)))
    }  # fmt: skip
    if not any(arm in found for arm in ABLATIONS):
        page.missing(f"{RUN} --only ablations")
        return
    page.chart(
        "ablations",
        f"Difference from the loop after round {last}",
        charts.dots(
            [
                {
                    "name": ARMS[arm].title,
                    "y": 100 * value.mean,
                    "low": 100 * value.low,
                    "high": 100 * value.high,
                }
                for arm, value in found.items()
            ],
            "points, against the loop of the same seeds",
        ),
    )
    lines = [
        [
            ARMS[arm].title,
            str(value.seeds),
            points(value),
            ", ".join(f"{100 * v:+.1f}" for v in value.by_seed),
            _minus_paper(arm),
            _parts_of(rows, arm),
        ]
        for arm, value in found.items()
    ]
    page.table(
        [
            "arm",
            "seeds",
            f"minus the loop after round {last}, points",
            "by seed",
            "the paper's, iteration 2",
            f"D_2 to D_{last} on average",
        ],
        lines,
    )
    page.say(f"The loop's own datasets: {_parts_of(rows, 'loop')}.")
    if absent := [arm for arm in ABLATIONS if arm not in found]:
        page.missing(f"{RUN} --only {' '.join(absent)}")


def _minus_paper(arm: str) -> str:
    value = PAPER_ABLATIONS.get(arm)
    if arm == "static":
        value = PAPER_ROUNDS["static"][1]
    return "-" if value is None else f"{value - PAPER_ABLATIONS['loop']:+.2f}"


def _parts_of(rows: Rows, arm: str) -> str:
    counts = dict.fromkeys(ORIGINS, 0.0)
    number = 0
    for at in range(2, ROUNDS + 1):
        for seed in rows.seeds(arm, at):
            row = rows.row(arm, seed, at)
            number += 1
            for name, count in row["dataset"]["by_origin"].items() if row else ():
                counts[name] += count
    if not number:
        return "-"
    return ", ".join(
        f"{counts[n] / number:.0f} {title}" for n, title in ORIGINS.items() if counts[n]
    )


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
        [[ARMS[arm].title, *(_share(value) for value in values)] for arm, values in shares.items()],
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
        ),
    )
    _add_changes(page, arms, last)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _add_changes(page: Page, arms: Sequence[str], last: int) -> None:
    rows = page.rows
    lines = []
    for arm in arms:
        found = [
            row
            for n in range(2, last + 1)
            for seed in rows.seeds(arm, n)
            if (row := rows.row(arm, seed, n))
        ]
        changed = [row["changes"] for row in found if row["changes"]]
        asked = [row["forgetting"] for row in found if row["forgetting"]]
        lines.append(
            [
                ARMS[arm].title,
                *(
                    _sum(changed, name)
                    for name in ("changed", "corrected", "spoilt", "still_wrong")
                ),
                _rate(asked),
                ", ".join(_share(forgotten(rows, arm, n)) for n in range(1, last + 1)),
            ]
        )
    page.say(
        "Label changes of all rounds and seeds, by what they did. *Forgotten, retired*: of the training samples that "
        "were mastered and dropped earlier and are probed again, those that fail now. *Forgotten, held out*: of what "
        "M_{j-1} answered right, the share that M_j does not, percent by round."
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


def _sum(rows: Sequence[Row], name: str) -> str:
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
        found = [
            row
            for n in range(2, min(ROUNDS, rows.last_round(arm)) + 1)
            for seed in rows.seeds(arm, n)
            if (row := rows.row(arm, seed, n))
        ]
        teacher = [row["teacher"] for row in found]
        lines.append(
            [
                ARMS[arm].title,
                f"{np.mean([t['requests'] for t in teacher]):,.0f}",
                f"{np.mean([t['prompt_tokens'] for t in teacher]) / 1000:,.0f}",
                f"{np.mean([t['completion_tokens'] for t in teacher]) / 1000:,.0f}",
                _minutes(found, 0),
                _minutes(found, 1),
                _minutes(found, 1, "train"),
            ]
        )
    page.say(
        "For a round, means over rounds and seeds; planted pairs are among the requests. Minutes by the clock are those "
        f"of {_most(row['threads'] for row in rows.all_rounds())} thread(s) for each run beside other runs."
    )
    page.table(
        [
            "arm",
            "teacher requests",
            "prompt tokens, thousands",
            "completion tokens, thousands",
            "minutes",
            "processor minutes",
            "of these training",
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
        values += [
            {"series": ARMS[arm].title, "x": number, "y": mean, "low": mean, "high": mean}
            for arm, mean in means.items()
        ]
        found = rows.difference(("loop", number), ("static", number), seeds=[0])
        if found:
            lines.append([str(number), *(f"{100 * m:.1f}" for m in means.values()), points(found)])
    page.chart(
        "long", "Accuracy over more rounds, seed 0", charts.curves(values, "round", "exact match")
    )
    page.table(["round", "loop", "static", "difference, points (dialogues alone)"], lines)


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
                values.append(_point(arm, at.noise, estimate))
            cells.append(percent(_of_seed_0(rows, arm, at)))
        wrong = [_share(_wrong_of(rows, n, at)) for n in (1, ROUNDS)]
        lines.append([f"{at.noise:.0%}", *wrong, *cells, points(found) if found else "-"])
    page.chart(
        "noise",
        f"Accuracy after round {ROUNDS} by noise, seed 0",
        charts.curves(
            sorted(values, key=_by_series),
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


def _by_series(row: Row) -> tuple[str, float]:
    return row["series"], row["x"]


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
            values.append(_point("loop", at.judge, found))
        changes = [
            row["changes"] for n in range(2, ROUNDS + 1) if (row := rows.row("loop", 0, n, at))
        ]
        lines.append(
            [
                f"{at.judge:.0%}",
                percent(found),
                _share(_wrong_of(rows, ROUNDS, at)),
                _sum(changes, "changed"),
                _sum(changes, "corrected"),
                _sum(changes, "spoilt"),
            ]
        )
    static = _of_seed_0(rows, "static", usual)
    if static:
        values += [_point("static", at.judge, static) for at in levels]
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


def add_paper(page: Page) -> None:
    """The paper's figures."""
    page.head("The paper's figures")
    page.say(
        "BFCL-v3 overall, Qwen3-8B on 8 GPUs, datasets of 18,304 samples, one run, no interval published. Another task, "
        "another scale, another teacher: only directions can be compared with ours, not points."
    )
    heads = ["", "before", *(f"iteration {n}" for n in range(1, 5))]
    lines = [
        [f"{ARMS[arm].title}, the paper's", f"{PAPER_BASE:.2f}", *(f"{v:.2f}" for v in values)]
        for arm, values in PAPER_ROUNDS.items()
    ]
    rows = page.rows
    if not rows.empty:
        for arm in ("loop", "static"):
            ours = [_common(rows, arm, n) for n in range(5)]
            cells = [f"{100 * value.mean:.1f}" if value else "not run yet" for value in ours]
            lines.append([f"{ARMS[arm].title}, ours", *cells])
    page.table(heads, lines)
    page.say(
        "The paper's ablations at iteration 2: "
        + ", ".join(f"{ARMS[arm].title} {value:.2f}" for arm, value in PAPER_ABLATIONS.items())
        + "."
    )


def add_reproducibility(page: Page) -> None:
    """What a second run of a seed gives."""
    page.head("Run again")
    if not page.rows.checks:
        page.missing(f"{RUN} --verify loop 0")
        return
    page.say(
        "One run again in a fresh store with the same number of threads; compared are the digests of dataset and "
        "checkpoint and the answers on the held-out samples."
    )
    lines = [
        [f"`{check['arm']}`, seed {check['seed']}", str(check["threads"]), str(row["round"])]
        + ["same" if row[part] else "**differs**" for part in ("dataset", "checkpoint", "answers")]
        for check in page.rows.checks
        for row in check["rounds"]
    ]
    page.table(["run", "threads", "round", "D_j", "M_j", "answers"], lines)
    if any("**differs**" in line for line in lines):
        page.say(
            "Where a checkpoint is the first thing to differ, the cause is the order in which threads add floating-point "
            "numbers up; samples, verdicts and datasets are drawn by hashes and are the same as long as the policies are."
        )


def add_commands(page: Page) -> None:
    """How all of it is run."""
    page.head("Commands")
    page.say(
        f"    {RUN}                  # everything, the most telling runs first\n"
        f"    {RUN} --list           # what is finished\n"
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
    add_data,
    add_cost,
    add_sweeps,
    add_paper,
    add_reproducibility,
    add_commands,
)
