"""Planted pairs have the truth that they are said to have, and look like any other pair."""

from collections import Counter
from typing import Any

import pytest

from looptool.config import JudgeConfig
from looptool.judge import Planting, count_planted, find_mastered, plant_pairs
from looptool.judge.corrupt import CORRUPTIONS, same_answer
from looptool.judge.plant import MIX, Plan
from looptool.records import (
    AssistantMessage,
    Kind,
    Label,
    ProbeResult,
    Sample,
    Split,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.validate import find_label_problems


def tool(name: str, required: list[str], **properties: Any) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": required}
    return make_tool(name, f"{name}.", schema)


ROOM = {"type": "string"}
DIM = tool(
    "dim", ["room", "level"], room=ROOM, level={"type": "number"}, slow={"type": "boolean"},
    mode={"type": "string", "enum": ["warm", "cold"], "default": "warm"},
)  # fmt: skip
LOCK = tool("lock", ["room"], room=ROOM)
STATUS = tool("status", [])
TOOLS = (DIM, LOCK, STATUS)


def sample(said: str, label: Label, kind: Kind = Kind.SINGLE, more: tuple[Any, ...] = ()) -> Sample:
    return make_sample(
        kind=kind,
        split=Split.TRAIN,
        tools=TOOLS,
        messages=(UserMessage(content=said), *more),
        label=label,
        dialogue_id=f"d-{said}",
    )


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def singles(count: int) -> list[Sample]:
    return [
        sample(
            f"Dim the hall {n} times to {30 + n}, slowly, cold light.",
            Label(calls=(call("dim", room="hall", level=30 + n, slow=True, mode="cold"),)),
        )
        for n in range(count)
    ]


def dataset() -> list[Sample]:
    done = (
        AssistantMessage(calls=(call("status"),)),
        ToolMessage(name="status", content='{"result": "ok"}'),
    )
    rows = singles(20)
    for n in range(10):
        both = (call("lock", room=f"room {n}"), call("lock", room=f"cellar {n}"))
        rows += [
            sample(f"Lock room {n} and cellar {n}.", Label(calls=both), Kind.PARALLEL),
            sample(f"Lock it, please, number {n}.", Label(text="Which room?"), Kind.CLARIFY),
            sample(f"Status, {n}?", Label(text="All is well."), Kind.SUMMARY, done),
        ]
    return rows


def plant(count: int = 80, mastered: set[str] | None = None, seed: int = 0) -> list[Plan]:
    rows = dataset()
    known = {row.sample_id for row in rows} if mastered is None else mastered
    return plant_pairs(rows, known, count, find_label_problems, seed)


def test_every_truth_and_every_corruption_is_planted() -> None:
    plans = plant()
    assert len(plans) == 80
    truths = Counter(plan.truth for plan in plans)
    assert set(truths) == set(MIX)
    assert min(truths.values()) >= 8
    changes = Counter(c for plan in plans for c in (plan.label_change, plan.predicted_change))
    assert set(CORRUPTIONS) | {"reworded", ""} == set(changes)


def test_each_pair_is_what_its_truth_says() -> None:
    right = {row.sample_id: row for row in dataset()}
    for plan in plant():
        source = right[plan.source_id]
        label, predicted = plan.pair.sample.label, plan.pair.predicted
        label_right = same_answer(source, label, source.label)
        predicted_right = same_answer(source, predicted, source.label)
        assert {
            "PRED_WRONG": (True, False),
            "LABEL_WRONG": (False, True),
            "BOTH_WRONG": (False, False),
            "BOTH_CORRECT": (True, True),
        }[plan.truth] == (label_right, predicted_right)
        assert label != predicted
        if plan.truth == "BOTH_WRONG":
            assert not same_answer(source, label, predicted)


def test_both_answers_of_a_pair_pass_the_rules_as_labels_do() -> None:
    for plan in plant():
        assert find_label_problems(plan.pair.sample, plan.pair.sample.label) == []
        assert find_label_problems(plan.pair.sample, plan.pair.predicted) == []


def test_nothing_of_a_pair_tells_that_it_was_planted() -> None:
    sources = {row.sample_id: row for row in dataset()}
    for plan in plant():
        planted, source = plan.pair.sample, sources[plan.source_id]
        assert planted.sample_id not in sources
        assert len(planted.sample_id) == len(source.sample_id)
        assert planted.sample_id.startswith("s-")
        assert planted.messages == source.messages
        assert not plan.pair.trouble
    assert len({plan.pair.sample.sample_id for plan in plant()}) == 80


def test_mastered_samples_are_the_sources_where_there_are_any() -> None:
    known = {row.sample_id for row in dataset()[:5]}
    assert {plan.source_id for plan in plant(10, known)} <= known
    assert len(plant(10, set())) == 10


def test_a_label_that_rollouts_rarely_come_upon_is_no_source() -> None:
    def result(sample_id: str, matched: bool, pass_rate: float | None) -> ProbeResult:
        return ProbeResult(
            sample_id=sample_id, output="", matched=matched, relaxed=matched, called=True, tokens=1,
            ppl_output=1.0, pass_rate=pass_rate,
        )  # fmt: skip

    rows = [result("often", True, 0.75), result("rarely", True, 0.25), result("never", False, 0.9)]
    assert find_mastered(rows) == {"often"}
    assert find_mastered(rows[1:]) == {"rarely"}
    assert find_mastered([result("unknown", True, None)]) == {"unknown"}


def probed(row: Sample, matched: bool) -> ProbeResult:
    return ProbeResult(
        sample_id=row.sample_id, output="", matched=matched, relaxed=matched, called=True, tokens=1,
        ppl_output=1.0,
    )  # fmt: skip


def deal(rows: list[Sample], matched: list[bool], size: int, **config: Any) -> list[list[Plan]]:
    """The planted pairs of a round, shard by shard."""
    results = [probed(row, right) for row, right in zip(rows, matched, strict=True)]
    planting = Planting(len(rows), JudgeConfig(**config), find_label_problems, 0)
    return [
        planting.add(rows[start : start + size], results[start : start + size])
        for start in range(0, len(rows), size)
    ]


def test_a_round_of_one_shard_plants_what_it_would_as_a_whole() -> None:
    rows = dataset()
    matched = [number % 3 > 0 for number in range(len(rows))]
    known = {row.sample_id for row, right in zip(rows, matched, strict=True) if right}
    (plans,) = deal(rows, matched, len(rows), planted_min=40)
    assert plans == plant_pairs(rows, known, 40, find_label_problems, 0)


def test_what_a_shard_plants_does_not_depend_on_later_ones() -> None:
    rows = dataset()
    matched = [number % 3 > 0 for number in range(len(rows))]
    otherwise = [*matched[:30], *(not right for right in matched[30:])]
    first, second = (deal(rows, some, 10, planted_min=40) for some in (matched, otherwise))
    assert first[:3] == second[:3]
    assert all(first)


def test_the_shards_plant_as_many_pairs_as_the_whole_round_and_no_pair_twice() -> None:
    rows = dataset()
    matched = [number % 3 > 0 for number in range(len(rows))]
    for size in (7, 10, 50):
        plans = [plan for shard in deal(rows, matched, size, planted_min=60) for plan in shard]
        assert len(plans) == 60
        assert len({plan.pair.sample.sample_id for plan in plans}) == 60
        truths = Counter(plan.truth for plan in plans)
        assert all(abs(truths[truth] - 60 * share) <= 3 for truth, share in MIX.items())


def test_a_shard_before_anything_is_mastered_leaves_its_pairs_to_a_later_one() -> None:
    rows = dataset()
    matched = [number >= 20 for number in range(len(rows))]
    shards = deal(rows, matched, 10, planted_min=40)
    assert [len(plans) for plans in shards] == [0, 0, 24, 8, 8]
    known = {row.sample_id for row in rows[20:]}
    assert all(plan.source_id in known for plans in shards for plan in plans)


def test_the_same_seed_plants_the_same_pairs_whatever_the_order_of_the_rows() -> None:
    rows = dataset()
    known = {row.sample_id for row in rows}
    again = plant_pairs(rows[::-1], known, 80, find_label_problems, 0)
    assert again == plant()
    assert plant(seed=1) != plant()


def test_few_samples_give_as_many_pairs_as_they_can() -> None:
    rows = singles(1)
    plans = plant_pairs(rows, {rows[0].sample_id}, 50, find_label_problems, 0)
    assert 1 <= len(plans) <= 6
    assert plant_pairs([], set(), 50, find_label_problems, 0) == []


@pytest.mark.parametrize(
    ("mismatches", "config", "wanted"),
    [(0, {}, 0), (50, {}, 300), (5000, {}, 500), (50, {"planted_min": 0}, 5),
     (50, {"planted_rate": 0.0}, 0)],
)  # fmt: skip
def test_a_round_plants_its_share_and_at_least_the_minimum(
    mismatches: int, config: dict[str, Any], wanted: int
) -> None:
    assert count_planted(mismatches, JudgeConfig(**config)) == wanted
