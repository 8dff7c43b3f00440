"""The stratified plan: who speaks, how, where, with what values and over which tools.

The n-th attempt on a seed takes the n-th variation of its plan, whatever became of the others. In each
list of choices nothing comes twice before everything was used once, and no pair of persona and style
before all pairs were; the other pairs repeat as rarely as a greedy choice allows.
"""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Protocol

from looptool.expand.seeds import ErrorSeed, draw
from looptool.expand.toolset import TOOL_CHANGES, vary_tools
from looptool.records import ToolSpec


class Descriptions(Protocol):
    """What the names of personas and styles stand for."""

    def persona(self, name: str) -> str:
        """Who this is, in words."""

    def style(self, name: str) -> str:
        """How this style sounds; empty when the name says it all."""


@dataclass(frozen=True, slots=True)
class Variety:
    """What new samples may be varied over; empty lists leave the parent's."""

    personas: Sequence[str] = ()
    styles: Sequence[str] = ()
    scenarios: Sequence[str] = ()
    values: Sequence[str] = ()
    tools: Sequence[ToolSpec] = ()
    """Tools of the training side: those that may take the place of distractors."""
    tools_max: int = 0
    """Most tools in a context to which one is added."""


@dataclass(frozen=True, slots=True)
class Variation:
    """What one attempt is asked for."""

    persona: str
    style: str
    scenario: str
    values: str
    tools: tuple[ToolSpec, ...]


@cache
def load_variety() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The built-in scenarios and the built-in kinds of values."""
    text = files("looptool.expand").joinpath("variety.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    return tuple(document["scenarios"]), tuple(document["values"])


def plan_variations(
    seed: ErrorSeed, variety: Variety, count: int, random_seed: int
) -> list[Variation]:
    """`count` variations of a seed, none with its own persona or style where there are others.

    Each list is gone through from a place drawn for this seed, so that over many seeds each choice is
    used about equally often.
    """
    parent = seed.sample
    lists = (
        others(variety.personas, parent.persona),
        others(variety.styles, parent.style),
        variety.scenarios or ("",),
        variety.values or ("",),
        TOOL_CHANGES,
    )
    rng = Random(draw(random_seed, "plan", parent.sample_id))
    return [
        Variation(
            persona,
            style,
            scenario,
            values,
            vary_tools(seed, change, variety.tools, variety.tools_max, rng),
        )
        for persona, style, scenario, values, change in spread(lists, count, rng)
    ]


def others(options: Sequence[str], own: str) -> Sequence[str]:
    """The options without the parent's own; that one where there is no other."""
    return [option for option in options if option != own] or [own]


def spread(lists: Sequence[Sequence[str]], count: int, rng: Random) -> list[tuple[str, ...]]:
    """`count` tuples with one entry of each list; no entry or pair recurs needlessly."""
    tally = _Tally([rng.randrange(len(options)) for options in lists])
    rows: list[tuple[str, ...]] = []
    for _ in range(count):
        row: list[int] = []
        for options in lists:
            row.append(tally.choose(row, len(options)))
        rows.append(tuple(options[n] for options, n in zip(lists, row, strict=True)))
    return rows


class _Tally:
    """How often each entry, and each pair of entries of two lists, was chosen."""

    def __init__(self, starts: Sequence[int]) -> None:
        self._starts = starts
        self._singles: Counter[tuple[int, int]] = Counter()
        self._pairs: Counter[tuple[int, int, int, int]] = Counter()

    def choose(self, row: Sequence[int], size: int) -> int:
        """The next entry of an unfinished row: of the rarest pairs, then rarest, then next in turn."""
        place = len(row)

        def rank(number: int) -> tuple[int, int, int]:
            pairs = sum(self._pairs[at, other, place, number] for at, other in enumerate(row))
            return pairs, self._singles[place, number], (number - self._starts[place]) % size

        chosen = min(range(size), key=rank)
        self._singles[place, chosen] += 1
        for at, other in enumerate(row):
            self._pairs[at, other, place, chosen] += 1
        return chosen
