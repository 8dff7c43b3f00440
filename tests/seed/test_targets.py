"""How many samples of which sort are wanted, what is taken, and what is played next."""

from collections import Counter, defaultdict
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looptool.config import SeedConfig, parse_config
from looptool.errors import ConfigError
from looptool.records import (
    Cast,
    Kind,
    Label,
    Play,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.seed.targets import (
    GRACE,
    HOPELESS,
    PILOT,
    Cell,
    History,
    Targets,
    apportion,
    budget_of,
    choose,
    plan_dialogues,
    planned_yield,
    read_history,
    set_targets,
    sort_of,
)

TOOLS = tuple(make_tool(f"t{n}", "", {"type": "object", "properties": {}}) for n in range(12))
MANY = [
    make_tool(f"m{n}", "", {"type": "object", "properties": {}}, domain=str(n % 6))
    for n in range(90)
]
SIDES = dict.fromkeys(Split, MANY)


def config(**fields: Any) -> SeedConfig:
    return parse_config({"seed": fields}).seed


def sample(
    text: str, kind: Kind = Kind.SINGLE, *, tools: int = 3, split: Split = Split.TRAIN, **more: Any
) -> Sample:
    return make_sample(
        kind=kind,
        split=split,
        tools=TOOLS[:tools],
        messages=(UserMessage(content=text),),
        label=Label(calls=(ToolCall(name="t0"),)),
        **{"dialogue_id": f"d-{text}", **more},
    )


def act(cast: Cast, given: Counter[tuple[str, Kind]], accepted: float, rng: Random) -> list[Sample]:
    """The accepted samples of a dialogue that has every decision that was planned."""
    made = []
    for kind, amount in planned_yield(cast.kind, 3).items():
        for _ in range(int(amount) + (rng.random() < amount % 1)):
            if rng.random() < accepted:
                given[str(cast), kind] += 1
                text = f"{cast} {kind} {given[str(cast), kind]}"
                low = int(cast.tools.partition("-")[0] or 3)
                made.append(
                    sample(
                        text, kind, tools=low, split=cast.split, difficulty=cast.difficulty,
                        dialogue_id=str(cast),
                    )
                )  # fmt: skip
    return made


def play(cast: Cast) -> Play:
    fields = cast.model_dump() | {"dialogue_id": str(cast), "samples": 1}
    return Play(**fields, marked_turns=0, rule="")


def run_rounds(
    settings: SeedConfig,
    accepted: float = 0.8,
    barren: frozenset[Kind] = frozenset(),
) -> tuple[Targets, list[Sample], list[Play], int]:
    """Rounds with a teacher of whose decisions a share is accepted, and none of `barren` dialogues."""
    targets, rng = set_targets(settings), Random(1)
    samples: list[Sample] = []
    plays: list[Play] = []
    counts: Counter[tuple[str, Kind]] = Counter()
    for rounds in range(50):
        choice = choose(samples, targets, 0)
        history = read_history(plays, samples, targets)
        casts = plan_dialogues(targets, choice.missing, history, settings, SIDES, 0)
        if not casts:
            return targets, samples, plays, rounds
        plays += map(play, casts)
        for cast in casts:
            samples += [] if cast.kind in barren else act(cast, counts, accepted, rng)
    raise AssertionError("the rounds do not end")


@given(
    st.integers(0, 400),
    st.lists(st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 1.0, 7.0]), min_size=1, max_size=8),
)
def test_shares_are_whole_numbers_that_add_up_and_miss_by_less_than_one(
    total: int, weights: list[float]
) -> None:
    weights = [*weights, 0.5]
    shares = apportion(total, dict(enumerate(weights)))
    assert sum(shares.values()) == total
    for number, weight in enumerate(weights):
        assert abs(shares.get(number, 0) - total * weight / sum(weights)) < 1


def test_what_rounding_takes_in_one_call_it_gives_back_in_the_next() -> None:
    owed: defaultdict[str, float] = defaultdict(float)
    sums: Counter[str] = Counter()
    for _ in range(30):
        sums.update(apportion(1, {"a": 0.5, "b": 0.3, "c": 0.2}, owed))
    assert sums == {"a": 15, "b": 9, "c": 6}


def test_targets_add_up_to_the_configured_sizes_and_weights() -> None:
    settings = config(
        train_samples=101,
        heldout_samples=33,
        heldout_unseen_samples=7,
        targets={"tools": {"3-5": 1, "6-10": 1}, "difficulty": {"easy": 1, "medium": 1, "hard": 1}},
    )
    cells = set_targets(settings).cells
    by_split: Counter[Split] = Counter()
    for cell, count in cells.items():
        by_split[cell.split] += count
    assert by_split == {
        Split.TRAIN: 101, Split.HELDOUT_SEEN: 33, Split.HELDOUT_UNSEEN: 7,
    }  # fmt: skip
    train = {cell: count for cell, count in cells.items() if cell.split is Split.TRAIN}
    kinds = apportion(101, settings.kinds)
    for kind, wanted in kinds.items():
        assert sum(count for cell, count in train.items() if cell.kind is kind) == wanted
    for field, share in (("tools", 101 / 2), ("difficulty", 101 / 3)):
        sizes: Counter[str] = Counter()
        for cell, count in train.items():
            sizes[getattr(cell, field)] += count
        assert all(abs(size - share) <= 2 for size in sizes.values())


def test_without_weights_for_them_tools_and_difficulty_make_no_cells() -> None:
    targets = set_targets(config())
    assert {(cell.tools, cell.difficulty) for cell in targets.cells} == {("", "")}
    assert targets.cell_of(sample("a", difficulty="hard")) == Cell(Split.TRAIN, Kind.SINGLE)


def test_a_sample_belongs_to_the_cell_of_its_tools_and_difficulty() -> None:
    targets = set_targets(config(targets={"tools": {"3-5": 1, "7": 1}, "difficulty": {"hard": 1}}))
    hard = sample("a", tools=5, difficulty="hard")
    assert targets.cell_of(hard) == Cell(Split.TRAIN, Kind.SINGLE, "3-5", "hard")
    assert targets.cell_of(sample("a", tools=7, difficulty="hard")).tools == "7"
    for outside in (sample("a", tools=6, difficulty="hard"), sample("a", difficulty="easy")):
        assert targets.cell_of(outside) not in targets.cells


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kinds": {}}, "at least one weight"),
        ({"kinds": {"single": -1.0, "retry": 2.0}}, "none below"),
        ({"kinds": {"other": 1.0}}, r"seed\.kinds\.other"),
        ({"tools_min": 9, "tools_max": 3}, "tools_min 9 is above tools_max 3"),
        ({"targets": {"tools": {"5-3": 1}}}, "empty range"),
        ({"targets": {"tools": {"few": 1}}}, "no range"),
        ({"targets": {"tools": {"3-6": 1, "6-9": 1}}}, "two ranges hold 6"),
        ({"targets": {"difficulty": {"easy": 0}}}, "at least one weight"),
        ({"targets": {"difficulty": {"brutal": 1}}}, "brutal"),
    ],
)
def test_impossible_targets_are_found_before_any_work(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**fields)


def test_the_choice_is_exact_and_does_not_depend_on_the_order() -> None:
    settings = config(
        train_samples=10, heldout_samples=0, heldout_unseen_samples=0,
        kinds={"single": 0.6, "retry": 0.4},
    )  # fmt: skip
    targets = set_targets(settings)
    rows = [sample(f"{n}", Kind.SINGLE if n % 2 else Kind.RETRY) for n in range(30)]
    choice = choose(rows, targets, 0)
    assert Counter(row.kind for row in choice.chosen) == {Kind.SINGLE: 6, Kind.RETRY: 4}
    assert len(choice.surplus) == 20
    assert choice.missing == {}
    Random(5).shuffle(rows)
    assert choose(rows, targets, 0).chosen == choice.chosen
    assert choose(rows, targets, 1).chosen != choice.chosen


def test_of_equal_samples_one_is_chosen_and_the_others_are_listed() -> None:
    settings = config(
        train_samples=2, heldout_samples=1, heldout_unseen_samples=0, kinds={"single": 1.0}
    )
    held = sample("a", split=Split.HELDOUT_SEEN)
    twin = sample("a").model_copy(update={"tools": held.tools[::-1], "dialogue_id": "d-other"})
    choice = choose([twin, held, sample("b")], set_targets(settings), 0)
    assert choice.duplicates == [(twin, held.sample_id)]
    assert {(row.split, row.messages[0].content) for row in choice.chosen} == {
        (Split.HELDOUT_SEEN, "a"), (Split.TRAIN, "b"),
    }  # fmt: skip
    assert choice.missing == {Cell(Split.TRAIN, Kind.SINGLE): 1}


@pytest.mark.parametrize("accepted", [1.0, 0.8, 0.5])
@pytest.mark.parametrize("size", [20, 300])
def test_the_targets_are_met_in_few_rounds_and_little_is_thrown_away(
    accepted: float, size: int
) -> None:
    settings = config(train_samples=size, heldout_samples=size // 4, heldout_unseen_samples=8)
    targets, samples, plays, rounds = run_rounds(settings, accepted)
    choice = choose(samples, targets, 0)
    assert choice.missing == {}
    assert len(choice.chosen) == targets.total
    assert rounds <= 4
    # Summaries come with every dialogue; of the others few are in vain.
    vain = [row for row in choice.surplus if row.kind is not Kind.SUMMARY]
    assert len(vain) <= 0.2 * targets.total + 15
    assert len({sort_of(one) for one in plays}) == len({(p.split, p.kind) for p in plays})


def test_tools_and_difficulty_are_met_as_well() -> None:
    settings = config(
        train_samples=200, heldout_samples=20, heldout_unseen_samples=0,
        targets={"tools": {"3-5": 1, "6-10": 1}, "difficulty": {"easy": 1, "hard": 2}},
    )  # fmt: skip
    targets, samples, _, _ = run_rounds(settings)
    assert choose(samples, targets, 0).missing == {}


def test_a_kind_that_never_comes_is_given_up_and_the_others_are_met() -> None:
    settings = config(train_samples=2000, heldout_samples=0, heldout_unseen_samples=0)
    targets, samples, plays, rounds = run_rounds(settings, barren=frozenset({Kind.MULTI_STEP}))
    missing = choose(samples, targets, 0).missing
    assert {cell.kind for cell in missing} <= {Kind.MULTI_STEP}
    assert HOPELESS <= sum(one.kind is Kind.MULTI_STEP for one in plays) <= PILOT
    assert rounds <= 6


def test_a_teacher_of_whom_nothing_is_accepted_ends_the_rounds() -> None:
    settings = config(train_samples=100, heldout_samples=10, heldout_unseen_samples=10)
    targets, samples, plays, _ = run_rounds(settings, accepted=0.0)
    assert samples == []
    for sort, count in Counter(map(sort_of, plays)).items():
        assert count <= budget_of(sort, targets, settings)


def test_what_the_tools_of_a_split_cannot_give_is_not_tried() -> None:
    settings = config(
        train_samples=30, heldout_samples=0, heldout_unseen_samples=5,
        targets={"tools": {"3": 1, "6-30": 1}, "difficulty": {"easy": 1, "hard": 1}},
    )  # fmt: skip
    sides = {Split.TRAIN: MANY[:24], Split.HELDOUT_UNSEEN: []}  # four tools in each of six domains
    targets = set_targets(settings)
    casts = plan_dialogues(targets, targets.cells, History(), settings, sides, 0)
    assert {(cast.split, cast.tools, cast.difficulty) for cast in casts} == {
        (Split.TRAIN, "3", "easy"), (Split.TRAIN, "3", "hard"), (Split.TRAIN, "6-30", "easy"),
    }  # fmt: skip


def test_by_products_are_counted_in() -> None:
    settings = config(
        train_samples=100, heldout_samples=0, heldout_unseen_samples=0,
        kinds={"retry": 1, "single": 1},
    )  # fmt: skip
    targets = set_targets(settings)
    casts = plan_dialogues(targets, targets.cells, History(), settings, SIDES, 0)
    assert {cast.kind for cast in casts} == {Kind.RETRY}


def test_a_round_goes_on_counting_where_the_ones_before_ended() -> None:
    settings = config(train_samples=60, heldout_samples=0, heldout_unseen_samples=0)
    _, _, plays, rounds = run_rounds(settings, accepted=0.5)
    assert rounds > 1
    numbers: defaultdict[Cell, list[int]] = defaultdict(list)
    for one in plays:
        numbers[sort_of(one)].append(one.number)
    for counted in numbers.values():
        assert sorted(counted) == list(range(len(counted)))


def test_the_plan_depends_on_the_seed_and_on_nothing_hidden() -> None:
    settings = config(train_samples=60)
    targets = set_targets(settings)
    plans = [
        plan_dialogues(targets, dict(cells), History(), settings, SIDES, seed)
        for cells, seed in (
            (targets.cells.items(), 0), (reversed(targets.cells.items()), 0),
            (targets.cells.items(), 1),
        )
    ]  # fmt: skip
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert set(plans[0]) == set(plans[2])


def test_a_small_target_may_be_tried_often_enough() -> None:
    targets = set_targets(config(train_samples=1, kinds={"single": 1.0}))
    assert budget_of(Cell(Split.TRAIN, Kind.SINGLE), targets, config(max_attempts=2)) == 2 + GRACE
