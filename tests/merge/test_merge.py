"""The next dataset takes what each sample earned, and every sample's fate is on record."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from looptool.config import MergeConfig
from looptool.errors import DataError
from looptool.merge import (
    MergeInputs,
    MergeOutcome,
    first_dataset,
    merge_round,
    new_seed_rate,
    unused,
)
from looptool.records import (
    AssistantMessage,
    Judgement,
    Kind,
    Label,
    Origin,
    ProbeResult,
    Retracted,
    RolloutStat,
    Sample,
    Split,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from tests.rows import GET, SET, answered, decision


def make(text: str, **changes: Any) -> Sample:
    said = (UserMessage(content=f"Set it to {text}."),)
    return decision(text, **({"tools": (SET, GET), "messages": said} | changes))


def grow(parent: Sample, number: int) -> Sample:
    return make(f"{parent.sample_id} {number}", origin=Origin.EXPANSION, parent_id=parent.sample_id)


def probe(sample: Sample, matched: bool, ppl: float | None = 1.5, **changes: Any) -> ProbeResult:
    return answered(sample, matched, **({"ppl_output": ppl} | changes))


def judged(sample: Sample, verdict: str, new_label: Label | None = None) -> Judgement:
    return Judgement.model_validate(
        {
            "sample_id": sample.sample_id,
            "verdict": verdict,
            "votes": (),
            "predicted": Label(),
            "new_label": new_label,
        }
    )


def merge(config: MergeConfig, *, random_seed: int = 1, **inputs: Any) -> MergeOutcome:
    empty: dict[str, Any] = {
        "pool": (),
        "current": (),
        "probes": (),
        "judgements": (),
        "expansions": (),
        "heldout": (),
        "iteration": 1,
    }
    return merge_round(MergeInputs(**(empty | inputs)), config, random_seed)


def reasons(outcome: MergeOutcome) -> dict[str, tuple[str, str]]:
    return {fate.sample_id: (fate.fate, fate.reason) for fate in outcome.fates}


def config(size: int, **changes: Any) -> MergeConfig:
    return MergeConfig(**({"dataset_size": size, "new_seed_rates": (0.25,)} | changes))


def test_each_sample_goes_where_probe_and_judge_send_it() -> None:
    names = (
        "hard", "easy", "pred", "label", "withheld", "fine", "both", "split", "lost", "down",
        "long", "unseen",
    )  # fmt: skip
    by_name = {name: make(name) for name in names}
    correct = Label(calls=(ToolCall(name="get_it"),))
    matched = {"hard": 9.0, "easy": 1.0}
    probes = [
        probe(s, n in matched, matched.get(n, 5.0))
        for n, s in by_name.items()
        if n not in ("down", "long", "unseen")
    ]
    probes.append(probe(by_name["down"], False, failure="engine_died"))
    probes.append(probe(by_name["long"], False, failure="prompt_too_long"))
    outcome = merge(
        config(5, high_ppl_rate=0.67),
        current=list(by_name.values()),
        probes=probes,
        judgements=[
            judged(by_name["pred"], "PRED_WRONG"),
            judged(by_name["label"], "LABEL_WRONG", correct),
            judged(by_name["withheld"], "LABEL_WRONG"),
            judged(by_name["fine"], "BOTH_CORRECT"),
            judged(by_name["both"], "BOTH_WRONG"),
            judged(by_name["split"], "unjudged"),
        ],
    )
    fates = reasons(outcome)
    corrected = next(s for s in outcome.dataset if s.parent_id)
    assert {name: fates[s.sample_id] for name, s in by_name.items()} == {
        "hard": ("kept", "high_ppl"),
        "easy": ("dropped", "low_ppl"),
        "pred": ("kept", "error_seeds"),
        "label": ("replaced", f"label_wrong, now {corrected.sample_id}"),
        "withheld": ("quarantined", "label_withheld"),
        "fine": ("dropped", "both_correct_low_ppl"),
        "both": ("dropped", "both_wrong"),
        "split": ("quarantined", "unjudged"),
        "lost": ("quarantined", "not_judged_at_all"),
        "down": ("kept", "untouched"),
        "long": ("dropped", "prompt_too_long"),
        "unseen": ("kept", "untouched"),
    }
    assert fates[corrected.sample_id] == ("kept", "error_seeds")
    assert (corrected.label, corrected.born_in) == (correct, 1)
    origins = {s.sample_id: s.origin for s in outcome.dataset}
    assert origins[by_name["hard"].sample_id] is Origin.HIGH_PPL
    assert origins[by_name["pred"].sample_id] is Origin.ERROR_SEED
    assert origins[by_name["down"].sample_id] is Origin.SEED


def mastered(count: int) -> tuple[list[Sample], list[ProbeResult]]:
    """Samples with perplexities 1, 2, 3, …"""
    samples = [make(f"known {n}") for n in range(count)]
    return samples, [probe(s, True, float(n + 1)) for n, s in enumerate(samples)]


def test_the_top_share_by_perplexity_is_kept_and_its_threshold_recorded() -> None:
    samples, probes = mastered(20)
    pool = [make(f"new {n}") for n in range(40)]
    outcome = merge(config(20, new_seed_rates=(0.75,)), current=samples, probes=probes, pool=pool)
    kept = {s.sample_id for s in outcome.dataset if s.origin is Origin.HIGH_PPL}
    assert kept == {s.sample_id for s in samples[15:]}
    assert outcome.report.ppl_threshold == outcome.report.ppl_lowest_kept == 16.0
    assert outcome.report.by_origin == {"high_ppl": 5, "seed": 15}


@pytest.mark.parametrize("ppl", ["ppl_output", "ppl_call", "ppl_label"])
def test_the_configured_perplexity_ranks_and_a_missing_one_falls_back(ppl: Any) -> None:
    first, second, third = (make(name) for name in "abc")
    probes = [
        probe(first, True, 1.0, **({"ppl_output": 9.0} | {ppl: 3.0})),
        probe(second, True, 2.0),
        probe(third, True, None),
    ]
    outcome = merge(config(2, high_ppl_rate=0.7, ppl=ppl), current=[third, second, first],
                    probes=probes)  # fmt: skip
    assert {s.sample_id for s in outcome.dataset} == {first.sample_id, second.sample_id}
    assert outcome.report.ppl_threshold == 2.0


def errors(count: int) -> tuple[list[Sample], list[ProbeResult], list[Judgement]]:
    samples = [make(f"error {n}") for n in range(count)]
    return (
        samples,
        [probe(s, False) for s in samples],
        [judged(s, "PRED_WRONG") for s in samples],
    )


def test_too_many_expansions_are_cut_evenly_over_their_seeds() -> None:
    samples, probes, judgements = errors(4)
    outcome = merge(
        config(14, new_seed_rates=()),
        current=samples,
        probes=probes,
        judgements=judgements,
        expansions=[grow(s, n) for s in samples for n in range(4)],
    )
    grown = [s.parent_id for s in outcome.dataset if s.origin is Origin.EXPANSION]
    assert sorted(grown.count(s.sample_id) for s in samples) == [2, 2, 3, 3]
    assert outcome.report.left_out == {"waiting: no_place_left": 6}
    assert outcome.report.taken["expansions"] == 10


def test_unused_seeds_have_their_share_before_expansions() -> None:
    samples, probes, judgements = errors(4)
    outcome = merge(
        config(12),
        current=samples,
        probes=probes,
        judgements=judgements,
        expansions=[grow(s, n) for s in samples for n in range(4)],
        pool=[make(f"new {n}") for n in range(9)],
    )
    assert outcome.report.by_origin == {"error_seed": 4, "expansion": 5, "seed": 3}
    assert outcome.report.short_by == 0


def test_empty_places_go_to_mastered_samples_then_to_unused_seeds_then_stay_empty() -> None:
    samples, probes = mastered(8)
    pool = [make(f"new {n}") for n in range(4)]
    outcome = merge(config(14), current=samples, probes=probes, pool=pool)
    assert outcome.report.taken == {
        "untouched": 0,
        "error_seeds": 0,
        "unsolved_error_seeds": 0,
        "high_ppl": 2,
        "new_seeds": 4,
        "expansions": 0,
        "returned": 0,
        "unsolved_expansions": 0,
        "filled_mixed_seeds": 0,
        "filled_high_ppl": 6,
        "filled_new_seeds": 0,
    }
    assert (outcome.report.size, outcome.report.short_by) == (12, 2)
    assert (outcome.report.ppl_threshold, outcome.report.ppl_lowest_kept) == (7.0, 1.0)
    more = merge(config(14), current=samples, probes=probes, pool=[*pool, make("x"), make("y")])
    assert more.report.taken["filled_new_seeds"] == 2
    assert more.report.short_by == 0


def test_more_error_seeds_than_places_leave_no_place_for_others() -> None:
    samples, probes, judgements = errors(6)
    outcome = merge(
        config(4), current=samples, probes=probes, judgements=judgements, pool=[make("new")]
    )
    assert outcome.report.by_origin == {"error_seed": 4}
    assert outcome.report.left_out == {"waiting: no_place_left": 2}


def test_the_result_does_not_depend_on_the_order_of_the_input() -> None:
    samples, probes, judgements = errors(9)
    known, known_probes = mastered(9)
    inputs: dict[str, Any] = {
        "current": samples + known,
        "probes": probes + known_probes,
        "judgements": judgements,
        "expansions": [grow(s, n) for s in samples for n in range(4)],
        "pool": [make(f"new {n}") for n in range(30)],
    }
    first = merge(config(30), **inputs)
    for rows in inputs.values():
        random.Random(5).shuffle(rows)
    again = merge(config(30), **inputs)
    assert again == first
    assert merge(config(30), random_seed=2, **inputs).dataset != first.dataset


def test_repetitions_enter_once() -> None:
    samples, probes, judgements = errors(2)
    same_tools_other_order = samples[0].model_copy(
        update={"sample_id": "s-twin", "tools": (GET, SET), "parent_id": "s-x"}
    )
    said = {"kind": Kind.CLARIFY, "messages": (UserMessage(content="Hm."),)}
    worded = [make("q", label=Label(text=text), **said) for text in ("What?", "Which?")]
    outcome = merge(
        config(9),
        current=samples,
        probes=probes,
        judgements=judgements,
        expansions=[same_tools_other_order, *worded, grow(samples[0], 1)],
    )
    assert reasons(outcome)["s-twin"] == ("duplicate", f"of {samples[0].sample_id}")
    assert outcome.report.left_out == {"duplicate: same content": 2}
    assert outcome.report.size == 4


def test_a_held_out_context_does_not_enter_by_any_way() -> None:
    heldout = make("Red", split=Split.HELDOUT_SEEN)
    shouted = (UserMessage(content="set it  to RED!"),)
    wrong, known, fresh, grown = (
        make(f"r{n}", messages=shouted, dialogue_id=f"d{n}") for n in range(4)
    )
    outcome = merge(
        config(9),
        current=[wrong, known],
        probes=[probe(wrong, False), probe(known, True)],
        judgements=[judged(wrong, "PRED_WRONG")],
        expansions=[grown],
        pool=[fresh],
        heldout=[heldout],
    )
    assert outcome.dataset == ()
    assert outcome.report.left_out == {"dropped: heldout_context": 4}
    assert first_dataset([fresh], config(9), 1, [heldout]).dataset == ()


def test_another_call_in_the_context_is_another_context() -> None:
    def told(to: str) -> tuple[Any, ...]:
        call = ToolCall(name="set_it", arguments={"to": to})
        return (
            UserMessage(content="Set it."),
            AssistantMessage(calls=(call,)),
            ToolMessage(name="set_it", content="{}"),
        )

    label = Label(text="Done.")
    heldout = make("h", messages=told("1.12"), label=label, split=Split.HELDOUT_SEEN)
    near = make("n", messages=told("11.2"), label=label, kind=Kind.SUMMARY)
    assert first_dataset([near], config(9), 1, [heldout]).dataset == (near,)


@pytest.mark.parametrize("part", ["pool", "current", "expansions"])
def test_a_held_out_sample_among_the_inputs_is_an_error(part: str) -> None:
    inputs: dict[str, Any] = {part: [make("x", split=Split.HELDOUT_UNSEEN)]}
    with pytest.raises(DataError, match=part):
        merge(config(9), **inputs)
    with pytest.raises(DataError):
        first_dataset([make("x", split=Split.HELDOUT_SEEN)], config(9), 1)


def test_the_share_of_new_seeds_follows_the_paper_and_then_halves() -> None:
    rates = [new_seed_rate(MergeConfig(), makes) for makes in (2, 3, 4, 5, 6)]
    assert rates == [4 / 13, 2 / 13, 1 / 13, 1 / 26, 1 / 52]
    assert new_seed_rate(config(1, new_seed_rates=()), 2) == 0.0
    sizes = [round(rate * 18304) for rate in rates[:3]]
    assert sizes == [5632, 2816, 1408]


def test_the_first_dataset_is_a_seeded_draw_that_keeps_the_shares_of_kinds() -> None:
    pool = [make(f"s{n}", kind=Kind.SINGLE if n % 4 else Kind.PARALLEL) for n in range(800)]
    outcome = first_dataset(pool, config(400), 3)
    assert outcome.report.size == 400
    assert 70 <= outcome.report.by_kind["parallel"] <= 130
    assert first_dataset(pool[::-1], config(400), 3) == outcome
    assert first_dataset(pool, config(400), 4).dataset != outcome.dataset
    rest = unused(pool, {s.sample_id for s in outcome.dataset})
    assert len(rest) == 400
    assert first_dataset(rest, config(400), 3).report.size == 400
    assert first_dataset(rest, config(500), 3).report.short_by == 100


def test_rows_as_many_as_the_papers_are_merged_without_a_quadratic_loop() -> None:
    samples, probes = mastered(4000)
    outcome = merge(config(4000), current=samples, probes=probes)
    assert outcome.report.size == 4000
    assert_all_accounted_for(outcome, samples)


def assert_all_accounted_for(outcome: MergeOutcome, samples: Sequence[Sample]) -> None:
    assert {s.sample_id for s in samples} <= set(reasons(outcome))


def asks(text: str) -> Sample:
    return make(text, kind=Kind.CLARIFY, label=Label(text="Which one?"))


def test_samples_without_calls_have_at_most_their_share() -> None:
    errors = [asks(f"ask {n}") for n in range(30)] + [make(f"call {n}") for n in range(30)]
    outcome = merge(
        config(20, no_call_rate_max=0.25),
        current=errors,
        probes=[probe(s, False) for s in errors],
        judgements=[judged(s, "PRED_WRONG") for s in errors],
    )
    assert sum(not s.label.calls for s in outcome.dataset) == 5
    assert outcome.report.size == 20
    assert outcome.report.no_call_rate == 0.25
    assert outcome.report.left_out == {"waiting: no_call_share": 25, "waiting: no_place_left": 15}


def test_samples_that_call_leave_room_for_those_that_do_not() -> None:
    pool = [make(f"call {n}") for n in range(50)] + [asks(f"ask {n}") for n in range(5)]
    bounds = config(20, no_call_rate_min=0.2)
    assert first_dataset(pool, bounds, 3).report.no_call_rate == pytest.approx(0.2, abs=0.051)
    assert sum(not s.label.calls for s in first_dataset(pool, bounds, 3).dataset) >= 4


def test_where_every_label_calls_no_place_is_held_free() -> None:
    pool = [make(f"call {n}") for n in range(30)]
    assert first_dataset(pool, config(20, no_call_rate_min=0.2), 3).report.size == 20


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="is above no_call_rate_max"):
        config(20, no_call_rate_min=0.9)


def test_error_seeds_that_no_rollout_solved_have_few_places() -> None:
    samples, _, judgements = errors(20)
    probes = [probe(s, False, pass_rate=0.25 if n < 5 else 0.0) for n, s in enumerate(samples)]
    grown = [grow(s, n) for s in samples for n in range(2)]
    outcome = merge(
        config(30, unsolved_rate_max=0.2, new_seed_rates=(0.0,)),
        current=samples,
        probes=probes,
        judgements=judgements,
        expansions=grown,
        pool=[make(f"new {n}") for n in range(50)],
    )
    taken = {part: count for part, count in outcome.report.taken.items() if count}
    assert taken == {
        "error_seeds": 5,
        "unsolved_error_seeds": 6,
        "expansions": 10,
        "filled_new_seeds": 9,
    }
    assert outcome.report.left_out["waiting: never_solved"] == 9 + 30


def test_without_rollouts_nothing_is_known_to_be_unsolved() -> None:
    samples, probes, judgements = errors(20)
    outcome = merge(config(20), current=samples, probes=probes, judgements=judgements)
    assert outcome.report.by_origin == {"error_seed": 20}


def test_what_every_rollout_solved_is_left_out_unless_the_profile_says_otherwise() -> None:
    samples = [make(f"easy {n}") for n in range(4)]
    probes = [probe(s, True, pass_rate=1.0 if n < 3 else 0.9) for n, s in enumerate(samples)]
    strict = merge(config(4), current=samples, probes=probes)
    assert strict.report.by_origin == {"high_ppl": 1}
    assert strict.report.left_out == {"dropped: always_solved": 3}
    assert merge(config(4, skip_solved=False), current=samples, probes=probes).report.size == 4


def scouted(sample: Sample, passed: int) -> RolloutStat:
    return RolloutStat(sample_id=sample.sample_id, rollouts=8, passed=passed, parse_errors=0)


def test_what_scouting_found_of_mixed_outcome_comes_first_in_its_part() -> None:
    seeds = [make(f"seed {n}") for n in range(12)]
    error = make("error")
    expansions = [grow(error, n) for n in range(6)]
    outcome = merge(
        config(7, new_seed_rates=(3 / 7,)),
        pool=seeds,
        current=[error],
        probes=[probe(error, False, pass_rate=0.25)],
        judgements=[judged(error, "PRED_WRONG")],
        expansions=expansions,
        scouted=[
            *(scouted(seed, 0) for seed in seeds[:4]),
            *(scouted(seed, 8) for seed in seeds[4:8]),
            *(scouted(seed, 3) for seed in seeds[8:10]),
            *(scouted(grown, 5) for grown in expansions[2:5]),
            scouted(expansions[5], 8),
        ],
    )
    fates = reasons(outcome)
    kept = {name for name, (fate, _) in fates.items() if fate == "kept"}
    assert {s.sample_id for s in (error, *seeds[8:10], *expansions[2:5])} < kept
    # Two seeds of mixed outcome, then one that nobody scouted; none of those without signal.
    (third,) = kept - {s.sample_id for s in (error, *seeds[8:10], *expansions[2:5])}
    assert third in {s.sample_id for s in seeds[10:]}
    assert fates[expansions[5].sample_id] == ("dropped", "always_right")
    assert fates[expansions[0].sample_id] == ("waiting", "no_place_left")


def test_expansions_of_an_unsolved_seed_are_let_in_once_scouting_has_seen_signal() -> None:
    error = make("error")
    expansions = [grow(error, n) for n in range(8)]
    inputs: dict[str, Any] = {
        "current": [error],
        "probes": [probe(error, False, pass_rate=0.0)],
        "judgements": [judged(error, "PRED_WRONG")],
        "expansions": expansions,
    }
    blind = merge(config(10), **inputs)
    assert len(blind.dataset) == 1  # one place in ten for what carries no signal
    seen = merge(
        config(10),
        **inputs,
        scouted=[
            *(scouted(grown, 1) for grown in expansions[:5]),
            *(scouted(grown, 0) for grown in expansions[5:]),
        ],
    )
    kept = {sample.sample_id for sample in seen.dataset}
    assert {s.sample_id for s in expansions[:5]} < kept
    assert len(kept) == 6
    never = [s for s in expansions[5:] if s.sample_id not in kept]
    assert {reasons(seen)[s.sample_id] for s in never} == {("waiting", "never_solved")}


def test_empty_places_go_to_seeds_of_mixed_outcome_before_mastered_samples() -> None:
    seeds = [make(f"seed {n}") for n in range(6)]
    mastered = [make(f"known {n}") for n in range(6)]
    outcome = merge(
        config(6, new_seed_rates=(), high_ppl_rate=0.0),
        pool=seeds,
        current=mastered,
        probes=[probe(sample, True) for sample in mastered],
        scouted=[
            scouted(seed, number) for number, seed in zip((8, 0, 1, 4, 7, 8), seeds, strict=True)
        ],
    )
    kept = {s.sample_id for s in outcome.dataset}
    assert {s.sample_id for s in seeds[2:5]} < kept
    assert len(kept & {s.sample_id for s in mastered}) == 3
    assert outcome.report.taken["filled_mixed_seeds"] == 3


def test_places_that_nothing_else_fills_go_to_seeds_without_signal() -> None:
    seeds = [make(f"seed {n}") for n in range(4)]
    outcome = merge(
        config(4, new_seed_rates=()),
        pool=seeds,
        scouted=[scouted(seed, passed) for seed, passed in zip(seeds, (8, 0, 8, 0), strict=True)],
    )
    assert len(outcome.dataset) == 4
    short = merge(
        config(2, new_seed_rates=()),
        pool=seeds,
        scouted=[scouted(seed, passed) for seed, passed in zip(seeds, (8, 0, 8, 0), strict=True)],
    )
    # What M_j never gets right may still be learnt; what it always does is learnt.
    assert {s.sample_id for s in short.dataset} == {seeds[1].sample_id, seeds[3].sample_id}


def test_what_found_no_place_waits_and_comes_back_once_it_is_of_mixed_outcome() -> None:
    errors = [make(f"error {n}") for n in range(4)]
    expansions = [grow(errors[0], n) for n in range(4)]
    first = merge(
        config(1, unsolved_rate_max=0.0, waiting_max=9.0, new_seed_rates=()),
        current=errors,
        probes=[probe(s, False, pass_rate=0.0) for s in errors],
        judgements=[judged(s, "PRED_WRONG") for s in errors],
        expansions=expansions,
        pool=[make("new")],
    )
    waiting = list(first.waiting)
    assert {s.sample_id for s in waiting} == {s.sample_id for s in (*errors, *expansions)}
    assert {s.origin for s in waiting} == {Origin.ERROR_SEED, Origin.EXPANSION}
    later: dict[str, Any] = {
        "iteration": 2,
        "current": first.dataset,
        "earlier": errors,
        "probes": [probe(s, True) for s in first.dataset],
        "waiting": waiting,
    }
    unseen = merge(config(5), **later)
    assert {s.sample_id for s in unseen.waiting} == {s.sample_id for s in waiting}
    by_id = {s.sample_id: s for s in waiting}
    found = [by_id[s.sample_id] for s in (errors[1], expansions[2], errors[2], errors[3])]
    passes = zip(found, (3, 5, 8, 0), strict=True)
    second = merge(config(5), **later, scouted=[scouted(s, n) for s, n in passes])
    kept = {s.sample_id for s in second.dataset}
    # An error seed of D_1 is no repetition of itself.
    assert kept == {errors[1].sample_id, expansions[2].sample_id, first.dataset[0].sample_id}
    assert second.report.taken["returned"] == 2
    fates = reasons(second)
    assert fates[errors[2].sample_id] == ("dropped", "always_right")
    assert fates[errors[3].sample_id] == ("waiting", "never_solved")
    assert len(second.waiting) == len(waiting) - 3


def test_only_so_many_wait_and_the_newest_stay() -> None:
    old = [make(f"old {n}") for n in range(5)]
    error = make("error")
    expansions = [grow(error, n) for n in range(3)]
    outcome = merge(
        config(2, unsolved_rate_max=0.0, waiting_max=2.0, new_seed_rates=()),
        current=[error],
        probes=[probe(error, False, pass_rate=0.0)],
        judgements=[judged(error, "PRED_WRONG")],
        expansions=expansions,
        waiting=old,
    )
    assert {s.sample_id for s in outcome.waiting} == {s.sample_id for s in (error, *expansions)}
    fates = reasons(outcome)
    assert {fates[s.sample_id] for s in old} == {("dropped", "waiting_max, no_place_left")}


def test_a_waiting_expansion_that_repeats_an_earlier_round_stays_out() -> None:
    known = make("known")
    twin = known.model_copy(update={"sample_id": "twin", "origin": Origin.EXPANSION})
    outcome = merge(
        config(3), iteration=2, earlier=[known], waiting=[twin], scouted=[scouted(twin, 4)]
    )
    assert not outcome.dataset
    assert not outcome.waiting
    assert reasons(outcome)["twin"][0] == "duplicate"


def test_retracted_samples_do_not_wait() -> None:
    old = [make(f"old {n}") for n in range(3)]
    outcome = merge(
        config(3),
        iteration=2,
        waiting=old,
        retracted=Retracted(samples={old[0].sample_id: "wrong unit"}),
    )
    assert {s.sample_id for s in outcome.waiting} == {s.sample_id for s in old[1:]}
