"""Two datasets side by side."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from looptool import cli
from looptool.errors import CampaignError
from looptool.lineage import DatasetDiff, compare_datasets
from looptool.lineage.compare import Row, find_moves, parse_number
from looptool.schema import Fate
from tests.lineage.campaign import Run

pytestmark = pytest.mark.timeout(580)
IDS = [f"s-{n}" for n in range(12)]


@st.composite
def families(draw: st.DrawFn) -> dict[str, Row]:
    """Samples some of which correct an earlier one."""
    rows: dict[str, Row] = {}
    for number, name in enumerate(IDS):
        parent = draw(st.sampled_from(["", *IDS[:number]]))
        correction = bool(parent) and draw(st.booleans())
        dialogue = rows[parent].dialogue_id if correction else f"d-{number}"
        rows[name] = Row("single", "seed", parent, dialogue)
    return rows


@given(families(), st.sets(st.sampled_from(IDS)), st.sets(st.sampled_from(IDS)))
def test_the_sizes_add_up_whatever_the_families(
    rows: dict[str, Row], before: set[str], after: set[str]
) -> None:
    moves = find_moves(before, after, rows)
    old, new = [a for a, _ in moves.changed], [b for _, b in moves.changed]
    assert sorted([*moves.stayed, *old, *moves.left]) == sorted(before)
    assert sorted([*moves.stayed, *new, *moves.entered]) == sorted(after)
    assert set(moves.stayed) == before & after


@given(families(), st.sets(st.sampled_from(IDS)), st.sets(st.sampled_from(IDS)))
def test_backwards_as_many_changed_and_what_entered_left(
    rows: dict[str, Row], before: set[str], after: set[str]
) -> None:
    there, back = find_moves(before, after, rows), find_moves(after, before, rows)
    assert len(there.changed) == len(back.changed)
    assert len(there.entered) == len(back.left)


@given(families(), st.sets(st.sampled_from(IDS)))
def test_from_a_dataset_to_itself_nothing_moves(rows: dict[str, Row], held: set[str]) -> None:
    moves = find_moves(held, held, rows)
    assert (set(moves.stayed), moves.changed, moves.entered, moves.left) == (held, (), (), ())


def test_a_label_that_changed_twice_is_one_change() -> None:
    rows = {
        "a": Row(dialogue_id="d"),
        "b": Row(parent_id="a", dialogue_id="d"),
        "c": Row(parent_id="b", dialogue_id="d"),
        "grown": Row(parent_id="a", dialogue_id="other"),
    }
    moves = find_moves(["a"], ["c", "grown"], rows)
    assert moves.changed == (("a", "c"),)
    assert moves.entered == ("grown",)


def check_sums(diff: DatasetDiff) -> None:
    for counts in (diff.by_kind, diff.by_origin):
        for name in ("stayed", "changed", "entered", "left"):
            assert sum(getattr(row, name) for row in counts.values()) == getattr(diff.total, name)
    total = diff.total
    assert diff.size_before == total.stayed + total.changed + total.left
    assert diff.size_after == total.stayed + total.changed + total.entered
    assert sum(diff.left_why.values()) == total.left
    assert len(diff.changed_labels) == total.changed


@pytest.mark.parametrize(
    ("before", "after"), [("D_1", "D_2"), ("2", "3"), ("d3", "D_4"), ("1", "4")]
)
def test_the_counts_of_a_real_campaign_add_up(finished: Run, before: str, after: str) -> None:
    diff = compare_datasets(finished.campaign, before, after)
    check_sums(diff)
    assert diff.size_before == diff.size_after == 24
    assert diff.total.changed > 0
    assert "no fate on record" not in diff.left_why


def test_reasons_are_those_of_the_fates(finished: Run) -> None:
    diff = compare_datasets(finished.campaign, "1", "2")
    ref = finished.campaign.complete()[0].next_dataset
    fates = finished.store.read(ref, "fates", Fate)
    counted = sum(diff.left_why.get(f"{f}: {r}", 0) for f, r in [("dropped", "both_wrong")])
    assert counted == sum(f.reason == "both_wrong" for f in fates) > 0
    assert "s-" not in " ".join(diff.left_why)


def test_examples_of_each_group_come_with_labels(finished: Run) -> None:
    diff = compare_datasets(finished.campaign, "1", "2", show=2)
    groups = [example.group for example in diff.examples]
    assert groups.count("entered") == groups.count("left") == 2
    changed = [example for example in diff.examples if example.group == "changed"]
    assert changed
    assert all(example.difference for example in changed)


def test_datasets_are_named_as_people_do() -> None:
    assert [parse_number(text, {1, 2}) for text in ("D_2", "d2", " 2 ")] == [2, 2, 2]
    for wrong in ("3", "D", "D_x", "", "-1"):
        with pytest.raises(CampaignError, match=r"no dataset .*D_1, D_2"):
            parse_number(wrong, {1, 2})
    with pytest.raises(CampaignError, match="none yet"):
        parse_number("1", set())


def test_the_earlier_dataset_comes_first(finished: Run) -> None:
    with pytest.raises(CampaignError, match="D_3 is not before D_2"):
        compare_datasets(finished.campaign, "3", "2")


def test_the_command_shows_the_counts_or_json(finished: Run) -> None:
    root = ["--root", finished.config.store.root]
    said = CliRunner().invoke(cli.app, ["diff", "D_1", "D_2", "--show", "1", *root])
    assert said.exit_code == 0, said.output
    for word in ("D_1 -> D_2", "Why they left", "entered", "error_seed", "both_wrong"):
        assert word in said.output
    said = CliRunner().invoke(cli.app, ["diff", "1", "2", "--json", *root])
    assert DatasetDiff.model_validate(json.loads(said.stdout)) == compare_datasets(
        finished.campaign, "1", "2"
    )
