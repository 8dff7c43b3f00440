"""Held-out scores tell apart calling, not calling, seen and unseen tools, and kinds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looptool.evaluate.heldout import score_heldout, wilson_interval
from looptool.records import (
    Kind,
    ProbeResult,
    Sample,
    Score,
    Split,
)
from tests.rows import answered, decision


def _sample(kind: Kind, split: Split, text: str) -> Sample:
    return decision(text, kind, split=split)


def _result(sample: Sample, matched: bool, called: bool, failure: str = "") -> ProbeResult:
    return answered(sample, matched, called=called, failure=failure)


SEEN, UNSEEN = Split.HELDOUT_SEEN, Split.HELDOUT_UNSEEN
CASES = [
    (_sample(Kind.SINGLE, SEEN, "a"), True, True),
    (_sample(Kind.SINGLE, SEEN, "b"), False, True),
    (_sample(Kind.PARALLEL, UNSEEN, "c"), False, False),
    (_sample(Kind.NO_TOOL, SEEN, "d"), True, False),
    (_sample(Kind.NO_TOOL, UNSEEN, "e"), False, True),
]


def _scores() -> dict[str, Score]:
    samples = [sample for sample, _, _ in CASES]
    results = [_result(*case) for case in CASES]
    return {score.slice: score for score in score_heldout(samples, results, 2)}


def test_every_slice_counts_its_own_samples() -> None:
    found = {name: (s.correct, s.n) for name, s in _scores().items()}
    assert found["all"] == (2, 5)
    assert found["seen"] == (2, 3)
    assert found["unseen"] == (0, 2)
    assert found["calls"] == (1, 3)
    assert found["relevance"] == (2, 3)
    assert found["irrelevance"] == (1, 2)
    assert found["kind:single"] == (1, 2)
    assert found["seen/irrelevance"] == (1, 1)
    assert found["unseen/kind:parallel"] == (0, 1)
    assert "unseen/kind:single" not in found


def test_slices_come_in_a_fixed_order_with_the_whole_first() -> None:
    names = list(_scores())
    assert names[:4] == ["all", "calls", "relevance", "irrelevance"]
    assert names.index("seen") < names.index("seen/calls") < names.index("unseen")
    assert all(score.iteration == 2 for score in _scores().values())


def test_a_sample_that_could_not_be_asked_is_in_no_slice() -> None:
    samples = [sample for sample, _, _ in CASES]
    results = [_result(*case, failure="prompt_too_long") for case in CASES[:1]]
    results += [_result(*case) for case in CASES[1:]]
    found = {score.slice: score.n for score in score_heldout(samples, results, 0)}
    assert found["all"] == 4
    assert found["kind:single"] == 1


def test_the_interval_is_wilsons() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share(case: tuple[int, int]) -> None:
    low, high = wilson_interval(*case)
    assert 0 <= low <= case[0] / case[1] + 1e-12
    assert case[0] / case[1] - 1e-12 <= high <= 1
