"""Targets: how many accepted samples of which sort are wanted, what is missing, what to play next.

A cell is a split, a kind of decision and, where the configuration asks for it, a range of the number
of tools in context and a difficulty. Targets are exact numbers of *accepted* samples per cell; what
validation rejects is made up for by another round. Everything here is pure: the same samples give the
same choice in whatever order they came.

The paper gives sizes of whole sets only; how they were met is not said.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from looptool.config import SeedConfig, read_range
from looptool.decisions import content_of
from looptool.records import (
    Cast,
    Difficulty,
    Kind,
    Play,
    Sample,
    Split,
    ToolSpec,
    content_id,
)
from looptool.seed.difficulty import is_possible

K = TypeVar("K")

PILOT = 128
"""Dialogues of one sort before anything is known about it."""
HOPELESS = 24
"""Dialogues of one sort without a single accepted sample of a kind, after which that is given up."""
GRACE = 12
"""Dialogues of one sort that may be tried beyond its budget: of few, bad luck can spoil all."""
ACCEPTED_RATE = 0.9
"""Share of decisions that is expected to be accepted before anything is measured."""
PRIOR_DIALOGUES = 8
"""How many dialogues the expectation weighs against those that were measured."""
MARGIN = 1.5
"""Standard deviations planned on top once the yields are measured: a surplus row costs less than
another round, but a round for nothing costs more."""

PLAN_ORDER = (
    Kind.RETRY,
    Kind.CLARIFY,
    Kind.PARALLEL,
    Kind.NO_TOOL,
    Kind.MULTI_TURN,
    Kind.MULTI_STEP,
    Kind.SINGLE,
    Kind.SUMMARY,
)
"""A dialogue of a kind also gives samples of kinds further down, hardly ever of kinds further up."""


class Cell(NamedTuple):
    """A sort of samples; of a dialogue, with the kind that its planner is asked for."""

    split: Split
    kind: Kind
    tools: str = ""
    """Range of the number of tools, e.g. `3-5`; empty: any."""
    difficulty: Difficulty = ""
    """Empty: any."""

    def __str__(self) -> str:
        return "/".join(str(part) for part in self if part)


@dataclass(frozen=True, slots=True)
class Targets:
    """Accepted samples wanted, by cell."""

    cells: Mapping[Cell, int]
    ranges: Mapping[str, tuple[int, int]]
    """Ranges of the number of tools, by name; empty: not asked for."""
    by_difficulty: bool

    @property
    def total(self) -> int:
        """Samples wanted in all."""
        return sum(self.cells.values())

    def cell_of(self, sample: Sample) -> Cell:
        """The cell that a sample can fill; one outside of all ranges has the name of no target."""
        count = len(sample.tools)
        inside = [name for name, (low, high) in self.ranges.items() if low <= count <= high]
        tools = (inside or [str(count)])[0] if self.ranges else ""
        return Cell(
            sample.split, sample.kind, tools, sample.difficulty if self.by_difficulty else ""
        )


def set_targets(config: SeedConfig, sizes: Mapping[Split, int] | None = None) -> Targets:
    """Whole numbers that add up to exactly the configured sizes of the splits, or to `sizes`.

    Kinds get theirs by largest remainder. So do ranges of tools and difficulties within each kind, and
    what rounding takes from one there it gets in the next kind.
    """
    sizes = split_sizes(config) if sizes is None else sizes
    wanted = config.targets
    shapes: dict[tuple[str, Difficulty], float] = {
        (tools, difficulty): weight * share
        for tools, weight in (wanted.tools or {"": 1.0}).items()
        for difficulty, share in _difficulties(config).items()
    }
    cells: dict[Cell, int] = {}
    for split, size in sizes.items():
        owed: defaultdict[tuple[str, Difficulty], float] = defaultdict(float)
        for kind, count in apportion(size, config.kinds).items():
            for shape, some in apportion(count, shapes, owed).items():
                if some:
                    cells[Cell(split, kind, *shape)] = some
    ranges = {name: read_range(name) for name in wanted.tools}
    return Targets(cells, ranges, bool(wanted.difficulty))


def _difficulties(config: SeedConfig) -> dict[Difficulty, float]:
    weights: dict[Difficulty, float] = {}
    for name, weight in config.targets.difficulty.items():
        weights[name] = weight
    return weights or {"": 1.0}


def split_sizes(config: SeedConfig) -> dict[Split, int]:
    """Accepted samples wanted of each split."""
    return {
        Split.TRAIN: config.train_samples,
        Split.HELDOUT_SEEN: config.heldout_samples,
        Split.HELDOUT_UNSEEN: config.heldout_unseen_samples,
    }


def apportion(
    total: int, weights: Mapping[K, float], owed: defaultdict[K, float] | None = None
) -> dict[K, int]:
    """`total` as whole numbers in proportion to the weights, by largest remainder; ties to the first.

    `owed` is what earlier calls left each key short of its share (below 0: over it); it is updated.
    """
    owed = defaultdict(float) if owed is None else owed
    keys = [key for key, weight in weights.items() if weight > 0]
    whole = math.fsum(weights[key] for key in keys)
    given = dict.fromkeys(keys, 0)
    for key in keys:
        owed[key] += total * weights[key] / whole
    for _ in range(total):
        key = max(keys, key=lambda k: round(owed[k], 9))
        given[key] += 1
        owed[key] -= 1
    return given


@dataclass(slots=True)
class Choice:
    """Accepted samples, sorted out; each list in an order of its own that depends on the seed alone."""

    chosen: list[Sample] = field(default_factory=list)
    surplus: list[Sample] = field(default_factory=list)
    """Good samples beyond the target of their cell."""
    duplicates: list[tuple[Sample, str]] = field(default_factory=list)
    """Samples that say the same as another one, with that one's id."""
    missing: dict[Cell, int] = field(default_factory=dict)
    """What each cell still wants, where it is not met."""


def choose(samples: Iterable[Sample], targets: Targets, random_seed: int) -> Choice:
    """Exactly the targets, as far as there are samples.

    Of samples that say the same (tools, context and label) one is taken, of the held-out sets first,
    so that nothing held out is trained on.
    """
    choice = Choice()
    wanted = Counter(dict(targets.cells))
    known: dict[str, str] = {}
    splits = list(reversed(Split))
    for sample in sorted(
        samples, key=lambda s: (splits.index(s.split), _draw(random_seed, s), s.dialogue_id)
    ):
        content = content_of(sample)
        cell = targets.cell_of(sample)
        if content in known:
            choice.duplicates.append((sample, known[content]))
            continue
        known[content] = sample.sample_id
        if wanted[cell] > 0:
            wanted[cell] -= 1
            choice.chosen.append(sample)
        else:
            choice.surplus.append(sample)
    choice.missing = {cell: wanted[cell] for cell in targets.cells if wanted[cell] > 0}
    return choice


def _draw(random_seed: int, sample: Sample) -> str:
    return content_id("choose", random_seed, sample.sample_id)


@dataclass(slots=True)
class History:
    """What the rounds so far brought: dialogues by sort, and their accepted samples."""

    played: Counter[Cell] = field(default_factory=Counter)
    given: Counter[tuple[Cell, Kind]] = field(default_factory=Counter)
    """Accepted samples by sort of the dialogue and kind; those that missed the tools or the difficulty
    that were asked for count as nothing."""

    def yield_of(self, sort: Cell, kind: Kind, turns_max: int) -> float:
        """Accepted samples of a kind to expect from a dialogue: as measured for its sort, leaning on
        all dialogues of its kind in its split, leaning on what a dialogue of the kind consists of."""
        like = [c for c in self.played if (c.split, c.kind) == (sort.split, sort.kind)]
        expected = ACCEPTED_RATE * planned_yield(sort.kind, turns_max).get(kind, 0.0)
        for cells in (like, [sort]):
            played = sum(self.played[cell] for cell in cells)
            given = sum(self.given[cell, kind] for cell in cells)
            expected = (PRIOR_DIALOGUES * expected + given) / (PRIOR_DIALOGUES + played)
        return expected

    def is_hopeless(self, sort: Cell, kind: Kind) -> bool:
        """Whether many dialogues of a sort gave nothing of the kind."""
        return self.played[sort] >= HOPELESS and not self.given[sort, kind]


def read_history(plays: Sequence[Play], accepted: Iterable[Sample], targets: Targets) -> History:
    """The history of dialogues and of what was accepted of them."""
    sorts = {play.dialogue_id: sort_of(play) for play in plays if play.dialogue_id}
    history = History(played=Counter(map(sort_of, plays)))
    for sample in accepted:
        sort = sorts.get(sample.dialogue_id)
        cell = targets.cell_of(sample)
        if sort and (sort.tools, sort.difficulty) == (cell.tools, cell.difficulty):
            history.given[sort, sample.kind] += 1
    return history


def sort_of(play: Cast | Play) -> Cell:
    """The sort of a dialogue: what it was asked to be."""
    return Cell(play.split, play.kind, play.tools, play.difficulty)


def planned_yield(kind: Kind, turns_max: int) -> dict[Kind, float]:
    """Decisions by kind of which a dialogue of a kind consists when all goes to plan."""
    turns = (2 + max(2, turns_max)) / 2
    return {
        Kind.SINGLE: {Kind.SINGLE: 1.0, Kind.SUMMARY: 1.0},
        Kind.PARALLEL: {Kind.PARALLEL: 1.0, Kind.SUMMARY: 1.0},
        Kind.MULTI_STEP: {Kind.MULTI_STEP: 1.0, Kind.SINGLE: 1.0, Kind.SUMMARY: 1.0},
        Kind.MULTI_TURN: {
            Kind.MULTI_TURN: turns - 1,
            Kind.MULTI_STEP: 0.2 * (turns - 1),
            Kind.SINGLE: 1.0,
            Kind.SUMMARY: turns,
        },
        Kind.CLARIFY: {Kind.CLARIFY: 1.0, Kind.MULTI_TURN: 1.0, Kind.SUMMARY: 1.0},
        Kind.NO_TOOL: {Kind.NO_TOOL: 1.0},
        Kind.RETRY: {Kind.RETRY: 1.0, Kind.SINGLE: 1.0, Kind.SUMMARY: 1.0},
    }[kind]


def lead_to(kind: Kind) -> Kind:
    """The kind of dialogue that is played for samples of a kind; any finished one has a summary."""
    return Kind.SINGLE if kind is Kind.SUMMARY else kind


def plan_dialogues(
    targets: Targets,
    missing: Mapping[Cell, int],
    history: History,
    config: SeedConfig,
    tools: Mapping[Split, Sequence[ToolSpec]],
    random_seed: int,
) -> list[Cast]:
    """The dialogues to play next, in random order; none when nothing is missing that may still come.

    Ends for every target: what the tools of a split cannot give is not tried, what gives nothing is
    given up, and no sort gets more than `config.max_attempts` dialogues for each that its target needs.
    """
    casts: list[Cast] = []
    shapes = {(cell.split, cell.tools, cell.difficulty) for cell in missing}
    for split, span, difficulty in sorted(shapes):
        low, high = targets.ranges.get(span, (1, config.tools_max))
        if not is_possible(tools.get(split, ()), low, high, difficulty):
            continue
        shape = Cell(split, Kind.SINGLE, span, difficulty)
        for sort, count in _plan_shape(shape, targets, missing, history, config).items():
            first = history.played[sort]
            casts += [
                Cast(**sort._asdict(), number=number) for number in range(first, first + count)
            ]
    return sorted(
        casts, key=lambda cast: content_id("plan", random_seed, cast.model_dump(mode="json"))
    )


def _plan_shape(
    shape: Cell,
    targets: Targets,
    missing: Mapping[Cell, int],
    history: History,
    config: SeedConfig,
) -> Counter[Cell]:
    """Dialogues by sort for what one shape (split, tools, difficulty) misses."""
    planned: Counter[Cell] = Counter()
    coming: defaultdict[Kind, float] = defaultdict(float)
    for kind in PLAN_ORDER:
        sort = shape._replace(kind=lead_to(kind))
        short = missing.get(shape._replace(kind=kind), 0) - coming[kind]
        each = history.yield_of(sort, kind, config.turns_max)
        left = budget_of(sort, targets, config) - history.played[sort] - planned[sort]
        if short <= 0 or left <= 0 or history.is_hopeless(sort, kind):
            continue
        count = min(_count_needed(short, each, measured=history.played[sort] > 0), left)
        # What the pilot holds back will come later, and its by-products with it.
        for other in Kind:
            coming[other] += count * history.yield_of(sort, other, config.turns_max)
        pilot = PILOT - planned[sort] if not history.played[sort] else count
        planned[sort] += max(0, min(count, pilot))
    return +planned


def _count_needed(short: float, each: float, *, measured: bool) -> int:
    """Dialogues that give `short` samples at `each` a dialogue; with a margin once that is measured."""
    margin = MARGIN * math.sqrt(short * max(0.1, 1.0 - each)) if measured else 0.0
    return math.ceil((short + margin) / each)


def budget_of(sort: Cell, targets: Targets, config: SeedConfig) -> int:
    """Dialogues of a sort over all rounds, at most."""
    needed = sum(
        targets.cells.get(sort._replace(kind=kind), 0)
        / planned_yield(sort.kind, config.turns_max)[kind]
        for kind in PLAN_ORDER
        if lead_to(kind) is sort.kind
    )
    return math.ceil(config.max_attempts * needed) + GRACE
