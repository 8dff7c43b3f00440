"""Rows carry the truth that the reward reads; the plan of batches loses nothing in silence."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looptool.calls import compute_score, render_calls
from looptool.errors import ConfigError
from looptool.records import (
    Kind,
    Label,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.train.rows import build_row, find_defects, plan_batches

TOOL = make_tool(
    "get_weather",
    "Weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def _sample(city: object) -> Sample:
    return make_sample(
        kind=Kind.SINGLE,
        split=Split.TRAIN,
        tools=(TOOL,),
        messages=(UserMessage(content=f"Weather in {city}?"),),
        label=Label(calls=(ToolCall(name="get_weather", arguments={"city": city}),)),
        dialogue_id="d",
    )


def test_the_reward_reads_the_truth_of_a_row() -> None:
    row = build_row(_sample("Köln"))
    right = render_calls(_sample("Köln").label.as_calls())
    assert compute_score("looptool", right, row["ground_truth"], None)["score"] == 1
    assert compute_score("looptool", "Sure.", row["ground_truth"], None)["score"] == 0


def test_labels_that_break_their_schema_are_found() -> None:
    broken = _sample(7)
    assert find_defects([_sample("Rome"), broken]) == (broken.sample_id,)


def test_too_few_samples_for_a_batch_are_refused_with_advice() -> None:
    with pytest.raises(ConfigError, match=r"3 trainable samples .* one batch of 4; lower train"):
        plan_batches(3, 4, 2, None, 0)


def test_a_batch_may_straddle_two_epochs_and_only_the_last_tail_is_left_over() -> None:
    plan = plan_batches(10, 4, 2, None, 0)
    assert len(plan.batches) == 5
    assert plan.unused_tail == 0
    assert plan_batches(10, 4, 1, None, 0).unused_tail == 2
    assert plan_batches(10, 4, 2, 3, 0).unused_tail == 8


def test_the_plan_is_the_same_for_the_same_seed_only() -> None:
    assert plan_batches(50, 4, 2, None, 1) == plan_batches(50, 4, 2, None, 1)
    assert plan_batches(50, 4, 2, None, 1) != plan_batches(50, 4, 2, None, 2)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.none() | st.integers(1, 30))
def test_every_visit_is_in_a_batch_or_in_the_tail(
    rows: int, batch_size: int, epochs: int, max_steps: int | None
) -> None:
    if rows < batch_size:
        return
    plan = plan_batches(rows, batch_size, epochs, max_steps, 0)
    assert all(len(batch) == batch_size for batch in plan.batches)
    assert len(plan.batches) * batch_size + plan.unused_tail == rows * epochs
    visits = Counter(row for batch in plan.batches for row in batch)
    assert max(visits.values()) <= epochs
    assert len(plan.batches) <= (max_steps or rows * epochs)
