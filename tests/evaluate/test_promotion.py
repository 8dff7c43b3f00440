"""A policy is promoted unless it lost more of a guarded slice than chance explains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looptool.config import PromotionConfig
from looptool.evaluate.promotion import decide_promotion, tail
from looptool.records import (
    Kind,
    ProbeResult,
    Promotion,
    Sample,
    Split,
)
from tests.rows import answered, decision


def samples(kind: Kind, count: int) -> list[Sample]:
    return [decision(f"{kind} {n}", kind, split=Split.HELDOUT_SEEN) for n in range(count)]


CALLS, WORDS = samples(Kind.SINGLE, 100), samples(Kind.NO_TOOL, 40)


def answer(sample: Sample, right: bool, failure: str = "") -> ProbeResult:
    called = right if sample.label.calls else not right
    return answered(sample, right, called=called, failure=failure)


def answers(calls_right: int, words_right: int) -> list[ProbeResult]:
    return [answer(s, n < calls_right) for n, s in enumerate(CALLS)] + [
        answer(s, n < words_right) for n, s in enumerate(WORDS)
    ]


def decide(
    best: list[ProbeResult], new: list[ProbeResult], config: PromotionConfig | None = None
) -> Promotion:
    return decide_promotion([*CALLS, *WORDS], best, new, config or PromotionConfig(), against=3)


def test_a_policy_that_loses_nothing_is_promoted() -> None:
    found = decide(answers(50, 30), answers(50, 30))
    assert found.promoted
    assert found.reason == ""
    assert {change.slice: change.n for change in found.changes} == {
        "all": 140, "relevance": 100, "irrelevance": 40,
    }  # fmt: skip
    assert all(change.p_fall == 1.0 for change in found.changes)


def test_a_policy_that_learned_to_abstain_is_not_promoted_though_its_average_rose() -> None:
    found = decide(answers(60, 10), answers(50, 40))
    assert not found.promoted
    assert found.reason.startswith(
        "relevance fell by 10.0 points against M_3 (10 lost, 0 won of 100"
    )
    assert found.changes[0].points > 0


def test_a_loss_that_chance_explains_is_no_reason() -> None:
    found = decide(answers(50, 30), answers(46, 30))
    assert found.promoted
    assert found.changes[1].p_fall == pytest.approx(1 / 16)


def test_with_the_gate_off_every_policy_goes_on_and_the_fall_is_still_told() -> None:
    found = decide(answers(90, 30), answers(10, 30), PromotionConfig(enabled=False))
    assert found.promoted
    assert "relevance fell" in found.reason


def test_what_the_engine_could_not_answer_counts_for_neither() -> None:
    broken = [answer(s, False, failure="crash") for s in CALLS] + answers(0, 40)[100:]
    found = decide(answers(90, 30), broken)
    assert found.promoted
    assert {change.slice: change.n for change in found.changes} == {
        "all": 40, "relevance": 0, "irrelevance": 40,
    }  # fmt: skip


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_tail_of_a_fair_coin_is_a_probability_and_falls_with_the_losses(a: int, b: int) -> None:
    heads, tosses = min(a, b), max(a, b)
    assert 0.0 <= tail(heads, tosses) <= 1.0
    assert tail(heads + 1, tosses + 1) <= tail(heads, tosses + 1)
    assert tail(heads, tosses) + tail(tosses - heads + 1, tosses) == pytest.approx(1.0)


def test_the_gate_lets_an_equal_policy_fail_as_rarely_as_it_says() -> None:
    # Of n samples that differ, the least loss that counts: its probability is below the level.
    for differ in (5, 20, 200):
        least = next(k for k in range(differ + 2) if tail(k, differ) < 0.025)
        assert tail(least, differ) < 0.025 <= tail(least - 1, differ)
