"""Intervals with known answers."""

import numpy as np
import pytest

from benchmarks.closed_loop.bootstrap import Group, estimate, over_seeds


def group(values: list[float] | np.ndarray, size: int = 1) -> Group:
    """Items in clusters of `size`."""
    items = np.asarray(values, np.float64)
    return Group(items, np.arange(len(items)) // size)


def test_the_same_difference_everywhere_has_an_interval_of_no_width() -> None:
    found = estimate([group([0.25] * 30), group([0.25] * 40)])
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)
    assert (found.seeds, found.items) == (2, 70)


def test_one_seed_gives_the_interval_of_its_items() -> None:
    values = np.array([1.0] * 300 + [0.0] * 700)
    found = estimate([group(values)])
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert found.mean == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - half, abs=0.004)
    assert found.high == pytest.approx(0.3 + half, abs=0.004)


def test_seeds_that_disagree_widen_the_interval_to_their_range() -> None:
    # Of two seeds one alone is drawn half of the time: the quarter at either end is 0, or 1.
    found = estimate([group([0.0] * 50), group([1.0] * 50)])
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_samples_of_one_dialogue_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(1)
    twice = np.repeat(rng.random(400) < 0.5, 2).astype(float)
    alone, together = estimate([group(twice)]), estimate([group(twice, size=2)])
    wider = (together.high - together.low) / (alone.high - alone.low)
    assert wider == pytest.approx(np.sqrt(2), rel=0.08)


def test_each_seed_counts_the_same_whatever_its_number_of_samples() -> None:
    assert estimate([group([1.0] * 10), group([0.0] * 90)]).mean == 0.5


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    truth, held = 0.04, 0
    for number in range(120):
        means = truth + rng.normal(0, 0.01, size=3)  # seeds differ by less than their samples do
        groups = [group(rng.normal(mean, 0.5, size=600)) for mean in means]
        found = estimate(groups, draws=300, random_seed=number)
        held += found.low <= truth <= found.high
    assert 0.9 <= held / 120 <= 1


def test_the_same_rows_give_the_same_interval() -> None:
    groups = [group(np.random.default_rng(n).random(50)) for n in range(3)]
    assert estimate(groups) == estimate(groups)


def test_students_interval_over_three_seeds() -> None:
    low, high = over_seeds((1.0, 2.0, 3.0)) or (0, 0)
    assert low == pytest.approx(2 - 4.303 / np.sqrt(3), abs=1e-3)
    assert high == pytest.approx(2 + 4.303 / np.sqrt(3), abs=1e-3)
    assert over_seeds((1.0,)) is None


def test_no_items_are_no_estimate() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        estimate([group([])])
