"""Selection is explicit, nothing is repeated over the rounds, and benchmarks stay out."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from looptool.config import MergeConfig
from looptool.decontaminate import build_index, read_entries, save_index
from looptool.merge import MergeInputs, MergeOutcome, first_dataset, merge_round, merge_sources
from looptool.merge.hygiene import draw_all
from looptool.merge.near import PERMUTATIONS, choose_bands
from looptool.merge.write import PART_ROWS
from looptool.records import (
    Kind,
    Label,
    Origin,
    Retracted,
    Sample,
    Split,
    ToolCall,
    draw,
)
from tests.merge.test_merge import judged
from tests.rows import GET, SET, answered, decision

LONG = (
    "please could you look up the opening hours of the little museum behind the old station and "
    "then tell me whether the evening tour in Italian still has places for two adults"
)


def make(text: str, **changes: Any) -> Sample:
    return decision(text, **({"tools": (SET, GET)} | changes))


def inputs(**given: Any) -> MergeInputs:
    empty: dict[str, Any] = {
        "pool": (),
        "current": (),
        "probes": (),
        "judgements": (),
        "expansions": (),
        "heldout": (),
        "iteration": 2,
    }
    return MergeInputs(**(empty | given))


def config(size: int = 20, **changes: Any) -> MergeConfig:
    return MergeConfig(**({"dataset_size": size, "new_seed_rates": (0.0,)} | changes))


def fates(outcome: MergeOutcome) -> dict[str, tuple[str, str]]:
    return {fate.sample_id: (fate.fate, fate.reason) for fate in outcome.fates}


def grow(parent: Sample, text: str, **changes: Any) -> Sample:
    return make(text, **({"origin": Origin.EXPANSION, "parent_id": parent.sample_id} | changes))


def error(text: str) -> dict[str, Any]:
    seed = make(text)
    return {
        "current": [seed],
        "probes": [answered(seed, False)],
        "judgements": [judged(seed, "PRED_WRONG")],
    }


def ranked(**values: float) -> dict[str, Any]:
    samples = {name: make(name) for name in values}
    probes = [answered(s, True, ppl_output=values[n], pass_rate=0.5) for n, s in samples.items()]
    return {"current": list(samples.values()), "probes": probes}


HARDNESS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        ({"selection": "top_fraction", "high_ppl_rate": 0.5}, 2),
        ({"selection": "quantile", "high_ppl_quantile": 0.5}, 2),
        ({"selection": "threshold", "high_ppl_threshold": 2.0}, 3),
        ({"selection": "threshold", "high_ppl_threshold": 9.0}, 0),
    ],
)
def test_the_hard_ones_are_chosen_by_share_quantile_or_threshold(
    selection: dict[str, Any], kept: int
) -> None:
    outcome = merge_round(inputs(**ranked(**HARDNESS)), config(**selection), 1)
    assert outcome.report.taken["high_ppl"] == kept
    assert outcome.report.ppl_threshold == (5.0 - kept if kept else None)
    assert outcome.report.selection == selection["selection"]


def test_the_pass_rate_ranks_too_the_lowest_first() -> None:
    easy, hard, unknown = make("easy"), make("hard"), make("unknown")
    probes = [
        answered(easy, True, pass_rate=0.9),
        answered(hard, True, pass_rate=0.2),
        answered(unknown, True),
    ]
    given = inputs(current=[unknown, easy, hard], probes=probes)
    chosen = {"ppl": "pass_rate", "selection": "threshold", "high_ppl_threshold": 0.5}
    outcome = merge_round(given, config(2, **chosen), 1)
    assert {s.sample_id for s in outcome.dataset} == {hard.sample_id, easy.sample_id}
    assert outcome.report.taken["high_ppl"] == 1
    assert outcome.report.ppl_threshold == 0.2
    assert outcome.report.ppl_lowest_kept == 0.9


def test_a_threshold_must_be_given_where_it_decides() -> None:
    with pytest.raises(ValueError, match="needs high_ppl_threshold"):
        config(selection="threshold")


def test_parts_have_at_most_their_shares_when_shares_are_given() -> None:
    seeds = [make(f"error {n}") for n in range(10)]
    outcome = merge_round(
        inputs(
            current=seeds,
            probes=[answered(s, False) for s in seeds],
            judgements=[judged(s, "PRED_WRONG") for s in seeds],
            expansions=[grow(s, f"grown {s.sample_id} {n}") for s in seeds for n in range(2)],
            pool=[make(f"new {n}") for n in range(10)],
        ),
        config(20, shares={"error_seeds": 0.2, "expansions": 0.3, "new_seeds": 0.25}),
        1,
    )
    taken = {part: count for part, count in outcome.report.taken.items() if count}
    assert taken == {"error_seeds": 4, "expansions": 6, "new_seeds": 5, "filled_new_seeds": 5}
    with pytest.raises(ValueError, match="add up to 1"):
        config(shares={"error_seeds": 0.7, "expansions": 0.7})


def test_what_an_earlier_round_held_does_not_come_again() -> None:
    old, gone = make("an old one"), make("mastered and gone")
    again = [
        grow(make("x"), "an old one", dialogue_id="d-1"),
        grow(make("x"), "mastered and gone", dialogue_id="d-2"),
    ]
    outcome = merge_round(
        inputs(
            earlier=[old],
            current=[gone],
            probes=[answered(gone, True, pass_rate=1.0)],
            expansions=again,
        ),
        config(),
        1,
    )
    assert outcome.dataset == ()
    assert [fates(outcome)[s.sample_id] for s in again] == [
        ("duplicate", f"of {old.sample_id} in an earlier round"),
        ("duplicate", f"of {gone.sample_id} in an earlier round"),
    ]
    assert outcome.report.left_out["duplicate: earlier round"] == 2


@pytest.mark.parametrize("similarity", [None, 0.7])
def test_what_stays_is_no_repetition_of_itself(similarity: float | None) -> None:
    kept, wrong, down = make(LONG), make(f"{LONG} today"), make(f"{LONG} or tomorrow")
    correct = Label(calls=(ToolCall(name="set_it", arguments={"to": "right"}),))
    outcome = merge_round(
        inputs(
            earlier=[kept, wrong],
            current=[kept, wrong, down],
            probes=[answered(kept, True), answered(wrong, False)],
            judgements=[judged(wrong, "LABEL_WRONG", correct)],
        ),
        config(no_call_rate_max=1.0, near_duplicate_similarity=similarity),
        1,
    )
    if similarity is None:
        assert {s.parent_id or s.sample_id for s in outcome.dataset} == {
            s.sample_id for s in (kept, wrong, down)
        }
    else:  # the three nearly repeat each other, none of them itself: one stays
        assert len(outcome.dataset) == 1
        assert outcome.report.left_out == {"duplicate: near": 2, "replaced: label_wrong": 1}


def test_near_identical_siblings_are_dropped_and_others_are_not() -> None:
    given = error("the seed of them all")
    seed = given["current"][0]
    first, sibling = grow(seed, LONG), grow(seed, f"Hello, {LONG}!")
    other = grow(seed, "something else entirely, about a boat and its captain")
    asks = grow(seed, f"Hi, {LONG}", label=Label(text="When?"), kind=Kind.CLARIFY)
    same_talk = grow(seed, f"{LONG} thanks", dialogue_id=first.dialogue_id)
    grown = [first, sibling, other, asks]
    outcome = merge_round(
        inputs(**given, expansions=grown), config(near_duplicate_similarity=0.8), 1
    )
    found = fates(outcome)
    dropped = [s for s in (first, sibling) if found[s.sample_id][0] == "duplicate"]
    assert len(dropped) == 1
    assert found[dropped[0].sample_id][1].startswith("near s-")
    assert float(found[dropped[0].sample_id][1].split(", ")[1]) >= 0.8
    assert found[other.sample_id] == found[asks.sample_id] == ("kept", "expansions")
    together = merge_round(
        inputs(**given, expansions=[first, same_talk]), config(near_duplicate_similarity=0.8), 1
    )
    assert together.report.taken["expansions"] == 2
    off = config(near_duplicate_similarity=None)
    assert merge_round(inputs(**given, expansions=grown), off, 1).report.taken["expansions"] == 4


def test_near_duplicates_of_earlier_rounds_and_of_held_out_contexts_are_dropped() -> None:
    heldout = make(LONG, split=Split.HELDOUT_SEEN)
    old = make(
        "a long enough request about the weather in the mountains on the coming weekend please"
    )
    near_old = make(old.messages[0].content.replace("please", "thanks"), dialogue_id="d-new")
    near_heldout = make(f"{LONG} and a child", label=Label(text="No."), kind=Kind.NO_TOOL)
    outcome = merge_round(
        inputs(earlier=[old], pool=[near_old, near_heldout], heldout=[heldout]),
        config(near_duplicate_similarity=0.8, no_call_rate_max=1.0),
        1,
    )
    found = fates(outcome)
    assert outcome.dataset == ()
    assert found[near_old.sample_id][1].startswith(f"near {old.sample_id} in an earlier round, 0.8")
    assert found[near_heldout.sample_id][1].startswith(
        f"near_heldout_context of {heldout.sample_id}, 0.9"
    )


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_the_bands_find_a_pair_at_the_threshold(similarity: float) -> None:
    bands, rows = choose_bands(similarity)
    assert bands * rows <= PERMUTATIONS
    assert 1 - (1 - similarity**rows) ** bands >= 0.99


def test_a_retracted_sample_leaves_the_dataset_as_if_it_had_never_been() -> None:
    pool = [make(f"new {n}") for n in range(40)]
    given = error("wrong") | {"pool": pool}
    seed = given["current"][0]
    child = grow(seed, "a child")
    gone = Retracted(samples={pool[3].sample_id: "named", child.sample_id: "named"})
    without = merge_round(inputs(**(given | {"pool": pool[:3] + pool[4:]})), config(30), 1)
    with_ = merge_round(inputs(**given, expansions=[child], retracted=gone), config(30), 1)
    assert with_ == without
    assert merge_round(inputs(**given, expansions=[child]), config(30), 1) != without


def test_a_retracted_correction_gives_the_old_label_back() -> None:
    old = make("told")
    correct = Label(calls=(ToolCall(name="get_it"),))
    given = {
        "current": [old],
        "probes": [answered(old, False)],
        "judgements": [judged(old, "LABEL_WRONG", correct)],
    }
    (corrected,) = merge_round(inputs(**given), config(), 1).dataset
    assert corrected.parent_id == old.sample_id
    unchanged = Retracted(samples={corrected.sample_id: "named"}, unchanged=(old.sample_id,))
    assert merge_round(inputs(**given, retracted=unchanged), config(), 1).dataset == (old,)
    later = inputs(
        earlier=[old],
        current=[corrected],
        probes=[answered(corrected, True)],
        retracted=Retracted(samples={corrected.sample_id: "named"}, restored=(old.sample_id,)),
    )
    assert merge_round(later, config(), 1).dataset == (old,)


def test_the_dataset_is_written_in_parts_of_a_fixed_size() -> None:
    pool = [make(f"new {n}") for n in range(PART_ROWS + 10)]
    given = inputs(pool=pool, iteration=0).as_sources()
    with merge_sources(given, config(len(pool)), 1) as merged:
        parts = list(merged.samples)
        fate_rows = sum(table.num_rows for table in merged.fates)
    assert [part.num_rows for part in parts] == [PART_ROWS, 10]
    ids = pa.concat_tables(parts)["sample_id"].to_pylist()
    assert ids == sorted(ids, key=lambda name: draw(1, "dataset", 1, name))
    assert fate_rows == len(pool)


def test_drawing_many_is_drawing_each() -> None:
    ids = ["s-1", 's-"quoted"', "s-ü", "s-\n"]
    keys = [int(draw(3, "new", 2, name)[:16], 16) for name in ids]
    assert draw_all(3, ("new", 2), ids).tolist() == keys


def test_overlaps_with_a_benchmark_are_dropped_and_shown(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(f'{{"id": "b-1", "prompt": "{LONG}"}}', "utf-8")
    index = save_index(build_index(read_entries(tmp_path)), "bench", tmp_path / "bench.index")
    copied, clean = make(f"Hello! {LONG}"), make("an honest question about boats")
    outcome = first_dataset([copied, clean], config(), 1, indexes=[index])
    assert outcome.dataset == (clean,)
    assert fates(outcome)[copied.sample_id] == ("dropped", "contaminated, bench b-1 (gram8)")
    assert {(m.sample_id, m.entry, m.rule, m.action) for m in outcome.contaminated} == {
        (copied.sample_id, "b-1", "gram8", "drop"),
        (copied.sample_id, "b-1", "gram3", "drop"),
    }
    assert outcome.report.benchmarks["bench"].dropped == 1
    assert outcome.report.left_out == {"dropped: contaminated": 1}
