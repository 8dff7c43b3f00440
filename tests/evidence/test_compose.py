"""What the arms put in the places of a dataset."""

from collections import Counter
from typing import Any

from benchmarks.closed_loop.compose import (
    choose_seeds,
    correct_fates,
    fill_with_copies,
    order_by_use,
    rank_outcome,
)
from looptool.config import MergeConfig
from looptool.records import (
    Kind,
    Label,
    RolloutStat,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.schema import Fate

SET = make_tool("set_it", "", {"type": "object", "properties": {"to": {"type": "string"}}})


def make(text: str, calls: bool = True) -> Sample:
    label = (
        Label(calls=(ToolCall(name="set_it", arguments={"to": text}),))
        if calls
        else Label(text="?")
    )
    return make_sample(
        kind=Kind.SINGLE if calls else Kind.CLARIFY,
        split=Split.TRAIN,
        tools=(SET,),
        messages=(UserMessage(content=text),),
        label=label,
        dialogue_id=text,
    )


CALLS = [make(f"call {n}") for n in range(12)]
QUIET = [make(f"ask {n}", calls=False) for n in range(6)]


def config(size: int, **changes: Any) -> MergeConfig:
    return MergeConfig(**({"dataset_size": size, "no_call_rate_max": 0.25} | changes))


def test_static_rounds_use_every_seed_once_before_any_comes_again() -> None:
    used: Counter[str] = Counter()
    rounds = []
    for _ in range(3):
        rounds.append(choose_seeds(order_by_use([*CALLS, *QUIET], used, 0), config(8)))
        used.update(sample.sample_id for sample in rounds[-1])
    first, second, third = ({s.sample_id for s in some if s.label.calls} for some in rounds)
    assert len(first) == len(second) == len(third) == 6
    assert not first & second
    assert first | second == {sample.sample_id for sample in CALLS}
    assert third != first  # the second time in another order


def test_static_rounds_keep_the_loops_bound_on_samples_without_a_call() -> None:
    chosen = choose_seeds(order_by_use([*QUIET, *CALLS], {}, 0), config(8))
    assert len(chosen) == 8
    assert sum(not sample.label.calls for sample in chosen) == 2


def test_static_rounds_do_not_depend_on_the_order_of_the_pool() -> None:
    pool = [*CALLS, *QUIET]
    assert order_by_use(pool, {}, 0) == order_by_use(pool[::-1], {}, 0)


def test_scouted_seeds_of_mixed_outcome_come_first_and_the_always_right_last() -> None:
    def ranked(rollouts: int, passed: int) -> int:
        return rank_outcome(
            RolloutStat(sample_id="s", rollouts=rollouts, passed=passed, parse_errors=0)
        )

    mixed, unknown, never, always = ranked(8, 1), ranked(0, 0), ranked(8, 0), ranked(8, 8)
    assert mixed < unknown < never < always


def parts_of(samples: dict[str, list[Sample]]) -> dict[str, str]:
    return {sample.sample_id: part for part, some in samples.items() for sample in some}


def test_copies_of_error_seeds_take_the_places_of_what_only_filled_them() -> None:
    samples = {
        "error_seeds": CALLS[:2],
        "unsolved_error_seeds": CALLS[2:3],
        "high_ppl": CALLS[3:4],
        "filled_high_ppl": CALLS[4:7],
        "filled_new_seeds": CALLS[7:8],
    }
    stay, copies = fill_with_copies(CALLS[:8], parts_of(samples), config(9), 0)
    assert stay == CALLS[:4]
    assert len(stay) + len(copies) == 9
    # In turn: none is copied a third time before the others were twice; the unsolved one never is.
    assert sorted(Counter(s.sample_id for s in copies).values()) == [2, 3]
    assert {s.sample_id for s in copies} == {s.sample_id for s in CALLS[:2]}


def test_copies_keep_the_bound_on_samples_without_a_call() -> None:
    samples = {"error_seeds": [CALLS[0], *QUIET[:2]], "filled_high_ppl": CALLS[1:4]}
    dataset = [CALLS[0], *QUIET[:2], *CALLS[1:4]]
    stay, copies = fill_with_copies(dataset, parts_of(samples), config(12), 0)
    both = [*stay, *copies]
    assert len(both) == 12
    assert sum(not sample.label.calls for sample in both) == 3


def test_without_error_seeds_the_merge_fills_the_places_as_it_did() -> None:
    samples = {"high_ppl": CALLS[:2], "filled_high_ppl": CALLS[2:5]}
    stay, copies = fill_with_copies(CALLS[:5], parts_of(samples), config(5), 0)
    assert (stay, copies) == (CALLS[:5], [])


def test_what_lost_its_place_to_a_copy_is_dropped_or_unused_again() -> None:
    fates = [
        Fate(sample_id="a", fate="kept", reason="error_seeds"),
        Fate(sample_id="b", fate="kept", reason="filled_high_ppl"),
        Fate(sample_id="c", fate="kept", reason="filled_new_seeds"),
        Fate(sample_id="d", fate="dropped", reason="both_wrong"),
    ]
    kept = [CALLS[0].model_copy(update={"sample_id": "a"})]
    found = {fate.sample_id: (fate.fate, fate.reason) for fate in correct_fates(fates, kept)}
    assert found == {
        "a": ("kept", "error_seeds"),
        "b": ("dropped", "low_ppl"),
        "d": ("dropped", "both_wrong"),
    }
