"""The page on arms: sizes, loop and static training, the loop without its parts."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.closed_loop import charts
from benchmarks.closed_loop.arms import ABLATIONS, ARMS, ROUNDS, STATIC
from benchmarks.closed_loop.bootstrap import Estimate, over_seeds
from benchmarks.closed_loop.document import RUN, Page, most, percent, point
from benchmarks.closed_loop.tables import Rows, points

SLICES = ("all", "seen", "unseen", "calls", "relevance", "irrelevance")
PAPER_BASE = 65.19
PAPER_ROUNDS = {
    "loop": (71.20, 73.00, 74.34, 74.93),
    "static": (71.16, 72.18, 73.45, 73.26),
}
"""BFCL-v3 overall of Qwen3-8B after each of four iterations; 65.19 before the first."""
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
    "high_ppl": "mastered",
    "seed": "unused seeds",
}


def add_setup(page: Page) -> None:
    """What is compared, with the sizes that the rows tell."""
    page.head("What is compared")
    rows = page.rows
    if rows.empty:
        page.missing(RUN)
    else:
        _say_sizes(page)
    page.say(
        "M_j is trained from M_{j-1} in every arm, as in the paper; promotion is off. The seed phase, M_0 "
        "and round 1 are the same in all arms of a seed. Every round of every arm has the same optimiser "
        "steps, prompts and rollouts, which is checked; where samples are missing or too long, others "
        "come once more."
    )
    page.table(
        ["arm", "what makes D_2, D_3, …"],
        [[f"{arm.title} (`{arm.name}`)", arm.about] for arm in ARMS.values()],
    )


def _say_sizes(page: Page) -> None:
    rows = page.rows
    every, level = list(rows.all_rounds()), rows.usual
    grounds = [ground for ground in rows.grounds() if ground["noise"] == level.noise]
    training, correct = every[0]["training"], [ground["correct"] for ground in grounds]
    items = round(np.mean([counts["all"][1] for counts in correct]))
    unseen = round(np.mean([counts.get("unseen", [0, 0])[1] for counts in correct]))
    pool = np.mean([ground["pool"]["wrong"] / ground["pool"]["size"] for ground in grounds])
    page.say(
        f"A round: {training['steps']} GRPO steps, {training['rollouts']:,} rollouts, a dataset of "
        f"{most(row['dataset']['size'] for row in every)} samples. The teacher errs in "
        f"{level.noise:.0%} of its answers, the judge in {1 - level.judge:.0%} of its replies; after "
        f"validation {pool:.1%} of the labels of the pool are wrong. Held out: {items:,} samples for "
        f"each seed, {unseen:,} of them over tools that occur nowhere in training, written by the "
        "teacher without noise and confirmed by it "
        f"({sum(ground['left_out'] for ground in grounds)} left out). One accuracy near 50% has a "
        f"standard error of {100 * np.sqrt(0.25 / items):.1f} points on them."
    )
    if len({row["code"] for row in every}) > 1:
        page.say("The rows come from more than one version of the stages' code.")


def add_rounds(page: Page) -> None:
    """Loop and static training over the rounds."""
    page.head("Loop and static training")
    rows = page.rows
    last = reached(rows)
    if not last:
        page.missing(f"{RUN} --only main")
        return
    arms = [arm for arm in ("loop", *STATIC) if rows.seeds(arm, last)]
    found = {(arm, n): mean_accuracy(rows, arm, n, last) for arm in arms for n in range(last + 1)}
    page.chart(
        "rounds",
        "Held-out accuracy by round",
        charts.curves(
            [point(arm, number, value) for (arm, number), value in found.items() if value],
            "round (0: the base policy)",
            "exact match, held out",
        ),
    )
    lines = [
        [
            ARMS[arm].title,
            str(len(rows.seeds(arm, last))),
            *(percent(found[arm, n]) for n in range(last + 1)),
        ]
        for arm in arms
    ]
    page.say("Exact match on the held-out samples, percent, mean over the seeds:")
    page.table(["", "seeds", *(f"M_{n}" for n in range(last + 1))], lines)
    _add_differences(page, arms, last)
    _add_slices(page, last)


def reached(rows: Rows) -> int:
    """The last round that both the loop and static training have reached, of the usual ones."""
    return 0 if rows.empty else min(ROUNDS, rows.last_round("loop"), rows.last_round("static"))


def mean_accuracy(rows: Rows, arm: str, number: int, last: int) -> Estimate | None:
    """Accuracy of M_`number` over the seeds whose runs have reached round `last`."""
    return rows.accuracy(arm, number, seeds=rows.seeds(arm, last))


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
        f"By slice after round {last}, percent, over the seeds that both have. *relevance*: a call was made "
        "where one was due, right or not; *irrelevance*: words where none was due; *calls*: exact match "
        "where one was due."
    )
    both = [seed for seed in rows.seeds("loop", last) if seed in rows.seeds("static", last)]
    lines: list[list[str]] = []
    for part in _slices(rows, both):
        loop, static = (rows.accuracy(arm, last, part, seeds=both) for arm in ("loop", "static"))
        base = rows.accuracy("loop", 0, part, seeds=both)
        found = rows.difference(("loop", last), ("static", last), part)
        if loop and found:
            cells = [percent(base), percent(loop), percent(static), points(found)]
            lines.append([part.removeprefix("kind:"), f"{loop.items:,}", *cells])
    heads = ["slice", "answers", "M_0", "loop", "static", "loop minus static, points"]
    page.table(heads, lines)


def _slices(rows: Rows, seeds: Sequence[int]) -> Iterator[str]:
    yield from SLICES
    grounds = [ground for seed in seeds if (ground := rows.row("loop", seed, 0))]
    names = {name: None for ground in grounds for name in ground["correct"]}
    yield from (name for name in names if name.startswith("kind:"))


def add_ablations(page: Page) -> None:
    """Each part of the loop taken out or replaced."""
    page.head("Without its parts")
    rows = page.rows
    names = [*ABLATIONS, *STATIC[::-1]]
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


def add_paper(page: Page) -> None:
    """The paper's figures."""
    page.head("The paper's figures")
    page.say(
        "BFCL-v3 overall, Qwen3-8B on 8 GPUs, datasets of 18,304 samples, one run, no interval "
        "published. Another task, another scale, another teacher: only directions can be compared with "
        "ours, not points."
    )
    heads = ["", "before", *(f"iteration {n}" for n in range(1, 5))]
    lines = [
        [f"{ARMS[arm].title}, the paper's", f"{PAPER_BASE:.2f}", *(f"{v:.2f}" for v in values)]
        for arm, values in PAPER_ROUNDS.items()
    ]
    rows = page.rows
    if last := reached(rows):
        for arm in ("loop", "static"):
            ours = [mean_accuracy(rows, arm, n, last) if n <= last else None for n in range(5)]
            cells = [f"{100 * value.mean:.1f}" if value else "not run yet" for value in ours]
            lines.append([f"{ARMS[arm].title}, ours", *cells])
    page.table(heads, lines)
    page.say(
        "The paper's ablations at iteration 2: "
        + ", ".join(f"{ARMS[arm].title} {value:.2f}" for arm, value in PAPER_ABLATIONS.items())
        + "."
    )
