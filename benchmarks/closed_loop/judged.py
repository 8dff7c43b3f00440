"""The page on what the judge adds: with and without it, where wrong labels are few or many, and why."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.closed_loop.arms import ARMS, NOISE_LEVELS, ROUNDS
from benchmarks.closed_loop.document import RUN, Page, share
from benchmarks.closed_loop.rows import Row
from benchmarks.closed_loop.tables import Level, Rows, points, wrong_rate

LABELLED = ("static", "no_jglv_no_scout", "no_scout", "no_jglv", "loop")
"""The arms whose wrong labels are looked at: from the least that keeps them out to the most."""


def add_judged(page: Page) -> None:
    """The loop and the loop without scouting, each with and without JGLV."""
    page.head("What the judge adds")
    rows = page.rows
    lines = [] if rows.empty else list(_lines(rows))
    if not lines:
        page.missing(f"{RUN} --only ablations jglv")
        return
    page.say(
        "A label that M_j never gives has no place in a scouted dataset, whether it is right or wrong: "
        "scouting keeps wrong labels out by itself. So JGLV is left out beside scouting, without it, and "
        "with more noise."
    )
    page.table(
        [
            "where",
            "seeds",
            f"without JGLV minus with it after round {ROUNDS}, points",
            "by seed",
            f"wrong labels in D_2 to D_{ROUNDS} with JGLV, %",
            "without, %",
        ],
        lines,
    )
    if len(lines) < len(_places(rows)):
        page.missing(f"{RUN} --only jglv")
    _add_gradients(page)
    _add_share(page)


def _add_share(page: Page) -> None:
    """How much of what the loop works on the judge has repaired."""
    found = [row["changes"] for row in page.rows.refreshed("loop") if row["changes"]]
    changed, mismatches = (sum(one[name] for one in found) for name in ("changed", "mismatches"))
    if mismatches:
        page.say(
            f"And there is little to repair: the judge replaced the label of {changed} of the loop's "
            f"{mismatches:,} mismatches ({changed / mismatches:.1%}), so that few error seeds and "
            "expansions are different without it."
        )


def _add_gradients(page: Page) -> None:
    """Which groups GRPO could learn from, by whether their label was right."""
    rows = page.rows
    levels = dict.fromkeys((rows.usual, Level(max(NOISE_LEVELS), rows.usual.judge)))
    lines = [
        [f"{ARMS[arm].title}, {level.noise:.0%} noise", str(len(found)), *_groups(found)]
        for level in levels
        for arm in LABELLED
        if (found := [row for row in rows.gradients(arm, level) if 1 < row["round"] <= ROUNDS])
    ]
    if not lines:
        page.missing(f"{RUN} --gradients")
        return
    page.say(
        "Why wrong labels cost so little here: GRPO learns from a group only when some of its rollouts were "
        "rewarded and others not. What a wrong label asks for is mostly an answer that the policy never "
        "gives; its group has no gradient and takes a place, no more. Scouting gives that place to another; "
        "the few wrong labels that it lets in are those that the policy gives sometimes. Groups of the last "
        f"epoch of rounds 2 to {ROUNDS}, and the percentage of them with both rewards:"
    )
    page.table(
        ["where", "trainings", "right labels", "with a gradient, %", "wrong labels", "with one, %"],
        lines,
    )


def _groups(rows: Sequence[Row]) -> Iterator[str]:
    for name in ("right", "wrong"):
        groups, mixed = (sum(row[name][n] for row in rows) for n in (0, 1))
        yield f"{groups:,}"
        yield share(mixed / groups) if groups else "-"


def _places(rows: Rows) -> list[tuple[str, str, str, Level]]:
    """Where, the arm with the judge, the same without it, and the level of both."""
    usual = rows.usual
    noisy = Level(max(NOISE_LEVELS), usual.judge)
    return [
        (f"scouted, {usual.noise:.0%} noise", "loop", "no_jglv", usual),
        (f"not scouted, {usual.noise:.0%} noise", "no_scout", "no_jglv_no_scout", usual),
        (f"scouted, {noisy.noise:.0%} noise", "loop", "no_jglv", noisy),
    ]


def _lines(rows: Rows) -> Iterator[list[str]]:
    for where, judged, not_judged, level in _places(rows):
        found = rows.difference((not_judged, ROUNDS), (judged, ROUNDS), level=level)
        if found is None:
            continue
        both = set(rows.seeds(judged, ROUNDS, level)) & set(rows.seeds(not_judged, ROUNDS, level))
        yield [
            where,
            str(found.seeds),
            points(found),
            ", ".join(f"{100 * value:+.1f}" for value in found.by_seed),
            *(share(_wrong(rows, arm, both, level)) for arm in (judged, not_judged)),
        ]


def _wrong(rows: Rows, arm: str, seeds: set[int], level: Level) -> float:
    found = [wrong_rate(row) for row in rows.refreshed(arm, level) if row["seed"] in seeds]
    return float(np.mean(found))
