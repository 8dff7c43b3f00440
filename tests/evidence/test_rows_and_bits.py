"""Rows survive a kill, and answers survive being packed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.closed_loop.measure import Items, check_equal_work, pack, unpack
from benchmarks.closed_loop.rows import RowFile
from looptool.config import parse_config
from tests.evidence.made_up import identity, make_items, round_row


def test_a_line_that_a_kill_cut_off_is_passed_over_and_the_next_one_is_whole(
    tmp_path: Path,
) -> None:
    rows = RowFile(tmp_path / "rows.jsonl")
    rows.append({"n": 1})
    with rows.path.open("a") as file:
        file.write('{"n": 2, "ma')
    rows.append({"n": 3})
    assert rows.read() == [{"n": 1}, {"n": 3}]


def test_the_last_row_of_a_round_counts(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "rows.jsonl")
    for share in (0.4, 0.5):
        rows.append(round_row("loop", 0, 1, share))
    rows.append(round_row("static", 0, 1, 0.9))
    found = rows.rounds_of(tuple(identity("loop", 0).values()))
    assert found[1]["correct"]["all"] == [200, 400]


@given(st.lists(st.booleans(), max_size=40))
def test_packed_answers_come_back(values: list[bool]) -> None:
    assert unpack(pack(values), len(values)).tolist() == values


def test_held_out_samples_come_back_with_kind_side_and_dialogue() -> None:
    items = make_items(20)
    again = Items.read(items.as_row())
    assert again.kinds == items.kinds
    assert np.array_equal(again.unseen, items.unseen)
    assert np.array_equal(again.cluster, items.cluster)


def test_slices_part_the_held_out_samples() -> None:
    slices = make_items(40).slices()
    assert np.array_equal(slices["seen"], ~slices["unseen"])
    assert np.array_equal(slices["relevance"], ~slices["irrelevance"])
    kinds = [mask for name, mask in slices.items() if name.startswith("kind:")]
    assert np.sum(kinds, axis=0).tolist() == [1] * 40


def test_a_round_with_fewer_steps_is_no_comparison() -> None:
    config = parse_config({"train": {"max_steps": 50, "batch_size": 16, "group_size": 8}})
    check_equal_work(config, {"steps": 50, "rollouts": 6400}, "loop-0")
    with pytest.raises(AssertionError, match="loop-0 did"):
        check_equal_work(config, {"steps": 49, "rollouts": 6272}, "loop-0")
