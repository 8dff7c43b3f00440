"""The arms: the loop, the static baselines, and the loop with one part taken out or replaced.

Every arm gets the same number of optimiser steps, prompts and rollouts in every round; what differs is which
samples they are. An arm that loses a part fills the places with something else, named in its text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

ROUNDS_MOST = 16
"""No arm is run for more rounds than this."""


@dataclass(frozen=True)
class Arm:
    """What makes D_2, D_3, … of an arm; D_1 is the same in all of them."""

    name: str
    title: str
    about: str
    """What it does, as a clause for the page."""
    data: Literal["refreshed", "pool", "first"] = "refreshed"
    """`refreshed` by probe, judge and merge; drawn from the seed `pool`; or the `first` one again."""
    judged: bool = True
    """Whether the judge is asked; otherwise every mismatch is an error seed with its label."""
    grown: Literal["expansions", "nothing", "copies"] = "expansions"
    """What takes the places of EDDE's samples; `nothing`: what the merge fills empty places with."""
    scouted: bool = True
    """Whether M_j answers what could enter first, so that what carries signal is preferred."""
    ranked: bool = True
    """Whether mastered samples are ranked by perplexity; otherwise at random."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Dotted settings of the merge over the profile's."""


ARMS = {
    arm.name: arm
    for arm in (
        Arm("loop", "loop", "the pipeline as it is"),
        Arm(
            "static",
            "static, whole pool",
            "no refresh: each round draws its samples from all seeds, none a second time before all "
            "were used once, with the loop's bound on samples without a call",
            data="pool",
            scouted=False,
        ),
        Arm(
            "static_scouted",
            "static, scouted",
            "static, whole pool, but all seeds that were not used yet are scouted, and those that carry "
            "signal come first",
            data="pool",
            settings=MappingProxyType({"scout.expansions": 0.0, "scout.new_seeds": 3.0}),
        ),
        Arm(
            "static_d1",
            "static, D_1 again",
            "no refresh: D_1 in every round, in another order",
            data="first",
            scouted=False,
        ),
        Arm(
            "no_scout",
            "without scouting",
            "nobody looks which expansions and unused seeds carry signal, as in the paper",
            scouted=False,
        ),
        Arm(
            "no_jglv",
            "without JGLV",
            "no judge: every mismatch is an error seed with the label that it has, and is expanded",
            judged=False,
        ),
        Arm(
            "no_jglv_no_scout",
            "without JGLV and scouting",
            "both left out: what the judge adds where scouting does not keep wrong labels out",
            judged=False,
            scouted=False,
        ),
        Arm(
            "no_edde",
            "without EDDE",
            "no expansions: their places go to unused seeds, then to mastered samples",
            grown="nothing",
            settings=MappingProxyType({"merge.new_seed_rates": [1.0] * ROUNDS_MOST}),
        ),
        Arm(
            "no_high_ppl",
            "without high-PPL selection",
            "as many mastered samples as in the loop, drawn at random instead of by perplexity",
            ranked=False,
        ),
        Arm(
            "edde_as_copies",
            "EDDE replaced by copies",
            "the places of the expansions go to further copies of the error seeds, in turn",
            grown="copies",
        ),
        Arm(
            "edde_as_high_ppl",
            "EDDE replaced by more high-PPL",
            "the places of the expansions go to the next mastered samples by perplexity, and to "
            "unused seeds where there are no more of them",
            grown="nothing",
        ),
    )
}
BASE = "base"
"""What all arms of a seed share: the seed phase, M_0's answers, round 1. It is run like an arm."""
ABLATIONS = ("no_scout", "no_jglv", "no_edde", "no_high_ppl", "edde_as_copies", "edde_as_high_ppl")
STATIC = ("static", "static_scouted", "static_d1")
SEEDS = (0, 1, 2)
ABLATION_SEEDS = SEEDS
ROUNDS, LONG_ROUNDS = 4, 8
NOISE_LEVELS = (0.24, 0.0, 0.06)
"""Shares of wrong answers of the teacher, beside the profile's."""
JUDGE_LEVELS = (0.6, 1.0, 0.8, 0.7)
"""Accuracies of the judge, beside the profile's."""
GROUPS = ("main", "ablations", "rounds", "noise", "judge", "jglv")


@dataclass(frozen=True)
class Run:
    """One arm with one seed under one setting of the teacher."""

    arm: str
    seed: int
    rounds: int = ROUNDS
    noise: float | None = None
    """Share of the teacher's answers that are wrong, before validation; None: the profile's."""
    judge: float | None = None
    """Share of the judge's replies that are right; None: the profile's."""

    @property
    def name(self) -> str:
        """`loop-0`, `loop-0-noise-0.24`: the same whatever the number of rounds."""
        parts = [self.arm, str(self.seed)]
        parts += [] if self.noise is None else [f"noise-{self.noise:g}"]
        parts += [] if self.judge is None else [f"judge-{self.judge:g}"]
        return "-".join(parts)

    def base(self) -> "Run":
        """The run that makes what this one shares with others."""
        return Run(BASE, self.seed, 0, self.noise)


def plan_runs(groups: tuple[str, ...] = GROUPS) -> list[Run]:
    """All runs of these groups, the most telling ones first."""
    return [run for group in GROUPS if group in groups for run in _GROUP_RUNS[group]()]


def _main() -> Iterator[Run]:
    for seed in SEEDS:
        yield Run("loop", seed)
        yield Run("static", seed)


def _ablations() -> Iterator[Run]:
    for seed in ABLATION_SEEDS:
        for arm in (*ABLATIONS, *STATIC[1:]):
            yield Run(arm, seed)


def _rounds() -> Iterator[Run]:
    yield Run("loop", 0, LONG_ROUNDS)
    yield Run("static", 0, LONG_ROUNDS)


def _noise() -> Iterator[Run]:
    for level in NOISE_LEVELS:
        yield Run("loop", 0, noise=level)
        yield Run("static", 0, noise=level)


def _judge() -> Iterator[Run]:
    for level in JUDGE_LEVELS:
        yield Run("loop", 0, judge=level)


def _jglv() -> Iterator[Run]:
    """Where leaving the judge out costs something: without scouting, and with more noise."""
    for seed in SEEDS[:2]:
        yield Run("no_jglv_no_scout", seed)
    yield Run("no_jglv", 0, noise=max(NOISE_LEVELS))


_GROUP_RUNS = {
    "main": _main,
    "ablations": _ablations,
    "rounds": _rounds,
    "noise": _noise,
    "judge": _judge,
    "jglv": _jglv,
}
