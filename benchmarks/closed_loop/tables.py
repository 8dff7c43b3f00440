"""What the rows say: accuracies, paired differences, data and cost by round, and which aims hold."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop.arms import ABLATION_SEEDS, ABLATIONS, ARMS, ROUNDS, SEEDS
from benchmarks.closed_loop.bootstrap import Estimate, Group, estimate
from benchmarks.closed_loop.measure import Items, unpack
from benchmarks.closed_loop.rows import Row

GAIN_AIM = 3.0
"""Points by which the loop is to be ahead of static training."""
WRONG_AIM = 0.04
"""Share of wrong labels that is to be reached from about 12%."""
WRONG_AIM_FROM = 0.09
"""A run that starts with fewer wrong labels says nothing about that."""
Outcome = Literal["holds", "does not hold", "undecided", "not run yet"]


@dataclass(frozen=True)
class Level:
    """A setting of the teacher: noise and accuracy of the judge, as shares."""

    noise: float
    judge: float


@dataclass(frozen=True)
class Aim:
    """One aim, and what the rows say about it."""

    text: str
    outcome: Outcome
    evidence: str
    complete: bool
    """Whether all the runs that it asks for are there."""

    @property
    def verdict(self) -> str:
        """The outcome, with a warning as long as runs are missing."""
        partly = self.outcome != "not run yet" and not self.complete
        return f"{self.outcome} so far" if partly else self.outcome


class Rows:
    """The rows of one study under one setting."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rounds: dict[tuple[str, int, float, float], dict[int, Row]] = {}
        self._grounds: dict[tuple[int, float], Row] = {}
        self.checks: list[Row] = []
        self._gradients: dict[tuple[str, float, float, int, int], Row] = {}
        for row in rows:
            if row["kind"] == "ground":
                self._grounds[row["seed"], row["noise"]] = row
            elif row["kind"] == "verify":
                self.checks.append(row)
            elif row["kind"] == "gradient":
                at = (row["arm"], row["noise"], row["judge"], row["seed"], row["round"])
                self._gradients[at] = row
            else:
                key = (row["arm"], row["seed"], row["noise"], row["judge"])
                self._rounds.setdefault(key, {})[row["round"]] = row

    def gradients(self, arm: str, level: Level | None = None) -> list[Row]:
        """The rows of kind `gradient` of an arm, all seeds and rounds."""
        at = level or self.usual
        return [
            row
            for (name, noise, judge, *_), row in self._gradients.items()
            if name == arm and Level(noise, judge) == at
        ]

    @property
    def empty(self) -> bool:
        """Whether there is no measured round."""
        return not self._rounds

    @cached_property
    def usual(self) -> Level:
        """The profile's level: the one that most runs were made under."""
        counts: dict[Level, int] = {}
        for _, _, noise, judge in self._rounds:
            level = Level(noise, judge)
            counts[level] = counts.get(level, 0) + 1
        grounds = [Level(row["noise"], row["judge"]) for row in self._grounds.values()]
        return max(counts or grounds, key=lambda level: counts.get(level, 0))

    def levels(self, arm: str) -> list[Level]:
        """Every level at which an arm has been run."""
        found = {Level(noise, judge) for name, _, noise, judge in self._rounds if name == arm}
        return sorted(found, key=lambda level: (level.noise, level.judge))

    def row(self, arm: str, seed: int, number: int, level: Level | None = None) -> Row | None:
        """The row of a round; of round 0, M_0 whatever the arm."""
        at = level or self.usual
        if number == 0:
            return self._grounds.get((seed, at.noise))
        return self._rounds.get((arm, seed, at.noise, at.judge), {}).get(number)

    def seeds(self, arm: str, number: int, level: Level | None = None) -> list[int]:
        """The seeds for which a round of an arm was measured, and the held-out set is known."""
        every = sorted({seed for seed, _ in self._grounds})
        known = [s for s in every if self.row(arm, s, 0, level)]
        return [seed for seed in known if self.row(arm, seed, number, level)]

    def last_round(self, arm: str, level: Level | None = None) -> int:
        """The last round that any seed of an arm has reached; 0 without any."""
        at = level or self.usual
        found = [
            max(rounds)
            for (name, _, noise, judge), rounds in self._rounds.items()
            if name == arm and Level(noise, judge) == at
        ]
        return max(found, default=0)

    def refreshed(self, arm: str, level: Level | None = None) -> list[Row]:
        """The rows of rounds 2 to ROUNDS of an arm, all seeds."""
        return [
            row
            for number in range(2, ROUNDS + 1)
            for seed in self.seeds(arm, number, level)
            if (row := self.row(arm, seed, number, level))
        ]

    def all_rounds(self) -> Iterable[Row]:
        """Every row of a round."""
        return (row for rounds in self._rounds.values() for row in rounds.values())

    def grounds(self) -> list[Row]:
        """Every row of round 0."""
        return list(self._grounds.values())

    def _items(self, seed: int, level: Level | None) -> Items:
        ground = self.row("", seed, 0, level)
        assert ground is not None
        return Items.read(ground["items"])

    def answers(
        self, arm: str, seed: int, number: int, part: str, level: Level | None = None
    ) -> Group | None:
        """Right or wrong for each held-out sample of a slice; None if it has none."""
        row, items = self.row(arm, seed, number, level), self._items(seed, level)
        mask = items.slices().get(part)
        if row is None or mask is None:
            return None
        bits = unpack(row["called" if part == "relevance" else "matched"], len(mask))
        return Group(bits[mask].astype(np.float64), items.cluster[mask])

    def accuracy(
        self,
        arm: str,
        number: int,
        part: str = "all",
        level: Level | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Estimate | None:
        """Accuracy of an arm after a round, 0..1, over the seeds that there are, or these of them."""
        own = [s for s in self.seeds(arm, number, level) if seeds is None or s in seeds]
        return _estimate([self.answers(arm, seed, number, part, level) for seed in own])

    def difference(
        self,
        left: tuple[str, int],
        right: tuple[str, int],
        part: str = "all",
        level: Level | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Estimate | None:
        """Accuracy of one (arm, round) minus another's, paired, over the seeds that both have."""
        both = set(self.seeds(*left, level)) & set(self.seeds(*right, level))
        groups = [
            _subtract(self.answers(*left_of, part, level), self.answers(*right_of, part, level))
            for seed in sorted(both)
            if seeds is None or seed in seeds
            for left_of, right_of in [((left[0], seed, left[1]), (right[0], seed, right[1]))]
        ]
        return _estimate(groups)

    def mean(
        self,
        arm: str,
        number: int,
        of: Callable[[Row], float | None],
        level: Level | None = None,
    ) -> float | None:
        """The mean over the seeds of something in the rows of a round."""
        rows = [self.row(arm, seed, number, level) for seed in self.seeds(arm, number, level)]
        values = [value for row in rows if row and (value := of(row)) is not None]
        return float(np.mean(values)) if values else None


def _estimate(groups: Sequence[Group | None]) -> Estimate | None:
    found = [group for group in groups if group is not None and len(group.values)]
    return estimate(found) if found else None


def _subtract(left: Group | None, right: Group | None) -> Group | None:
    if left is None or right is None:
        return None
    return Group(left.values - right.values, left.clusters)


def wrong_rate(row: Mapping[str, Any]) -> float:
    """Share of wrong labels in a dataset."""
    return float(row["dataset"]["wrong"] / row["dataset"]["size"])


def lost_rate(before: NDArray[np.float64], after: NDArray[np.float64]) -> float | None:
    """Share of what was answered right before that is no longer; None where nothing was."""
    return float(1 - after[before > 0].mean()) if before.any() else None


def forgotten(rows: Rows, arm: str, number: int) -> float | None:
    """Share of the held-out samples that M_{j-1} answered right and M_j does not, over the seeds."""
    values: list[float] = []
    for seed in rows.seeds(arm, number):
        before = rows.answers(arm, seed, number - 1, "all")
        after = rows.answers(arm, seed, number, "all")
        if before and after and (rate := lost_rate(before.values, after.values)) is not None:
            values.append(rate)
    return float(np.mean(values)) if values else None


def points(found: Estimate, digits: int = 1) -> str:
    """A difference in percentage points with its interval: `+3.1 (+1.0 to +5.2)`."""
    mean, low, high = (100 * value for value in (found.mean, found.low, found.high))
    return f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def judge_aims(rows: Rows) -> list[Aim]:
    """The aims of the benchmark, each from the rows alone."""
    return [_gain(rows), _ablations(rows), _labels(rows), _relevance(rows)]


def _gain(rows: Rows) -> Aim:
    text = (
        f"after {ROUNDS} rounds the loop is at least {GAIN_AIM:g} points ahead of static training, with "
        "an interval above 0"
    )
    found = None if rows.empty else rows.difference(("loop", ROUNDS), ("static", ROUNDS))
    if found is None:
        return Aim(text, "not run yet", "", complete=False)
    holds = 100 * found.mean >= GAIN_AIM and found.low > 0
    return Aim(
        text,
        "holds" if holds else "does not hold",
        f"{points(found)} points, {_seeds(found.seeds)}",
        complete=found.seeds >= len(SEEDS),
    )


def _ablations(rows: Rows) -> Aim:
    text = f"each ablation is below the full loop after {ROUNDS} rounds"
    found = {
        arm: None if rows.empty else rows.difference((arm, ROUNDS), ("loop", ROUNDS))
        for arm in ABLATIONS
    }
    known = {arm: value for arm, value in found.items() if value is not None}
    if not known:
        return Aim(text, "not run yet", "", complete=False)
    below = [arm for arm, value in known.items() if value.mean < 0]
    clear = [arm for arm in below if known[arm].high < 0]
    evidence = f"{len(below)} of {len(known)} are below, {len(clear)} with an interval below 0"
    if above := [arm for arm in known if arm not in below]:
        evidence += f"; not below: {', '.join(ARMS[arm].title for arm in above)}"
    complete = len(known) == len(ABLATIONS) and all(
        value.seeds >= len(ABLATION_SEEDS) for value in known.values()
    )
    return Aim(text, "does not hold" if above else "holds", evidence, complete)


def _labels(rows: Rows) -> Aim:
    text = f"wrong labels fall from about 12% in D_1 to under {WRONG_AIM:.0%} in D_{ROUNDS}"
    levels = (
        [] if rows.empty else [at for at in rows.levels("loop") if rows.seeds("loop", ROUNDS, at)]
    )
    if not levels:
        return Aim(text, "not run yet", "", complete=False)
    shares = {at: _wrong_shares(rows, at) for at in levels if at.judge == rows.usual.judge}
    nearest = min(shares, key=lambda at: abs(shares[at][0] - 0.12))
    first, last = shares[nearest]
    evidence = (
        f"{first:.1%} -> {last:.1%} where the teacher errs in {nearest.noise:.0%} of its answers"
    )
    if nearest != rows.usual and rows.usual in shares:
        first_usual, last_usual = shares[rows.usual]
        evidence += (
            f"; {first_usual:.1%} -> {last_usual:.1%} at the profile's {rows.usual.noise:.0%}"
        )
    outcome: Outcome = "holds" if last < WRONG_AIM else "does not hold"
    if outcome == "holds" and first < WRONG_AIM_FROM:
        outcome, evidence = "undecided", f"{evidence}; no run starts near 12%"
    return Aim(text, outcome, evidence, complete=True)


def _wrong_shares(rows: Rows, level: Level) -> tuple[float, float]:
    first = rows.mean("loop", 1, wrong_rate, level)
    last = rows.mean("loop", ROUNDS, wrong_rate, level)
    assert first is not None
    assert last is not None
    return first, last


def _relevance(rows: Rows) -> Aim:
    text = "relevance (a call is made where one is due) does not fall"
    found = None if rows.empty else rows.difference(("loop", ROUNDS), ("loop", 0), "relevance")
    if found is None:
        return Aim(text, "not run yet", "", complete=False)
    evidence = f"M_{ROUNDS} minus M_0: {points(found)} points, {_seeds(found.seeds)}"
    outcome: Outcome = "holds" if found.mean >= 0 else "does not hold"
    if found.mean < 0 <= found.high:
        outcome = "undecided"
        evidence += "; the fall is within the error"
    return Aim(
        text,
        outcome,
        evidence,
        complete=found.seeds >= len(SEEDS),
    )


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
