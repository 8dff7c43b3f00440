"""Intervals for accuracies and paired differences, over seeds and held-out dialogues.

**What is estimated.** For each seed the mean of its items, then the mean over the seeds, each counting the
same. An item is 0 or 1 (answered right), or the difference of two arms on the same held-out sample (-1, 0,
1): two arms of a seed answer the same samples, so what makes a sample hard for both cancels out.

**How.** A hierarchical bootstrap: seeds are drawn with replacement, then, within each drawn seed, whole
dialogues (samples cut from one dialogue share tools and context and are not independent); the interval
holds the middle 95% of the means. It covers the choice of held-out samples and, with the seeds, everything
that a seed decides: tools of either side, training samples, rollouts. With one seed only dialogues are
drawn, and the interval says nothing about other seeds. With S seeds the draw of seeds sees (S - 1)/S of
their variance, two thirds with three; the draw of dialogues is counted on top of what the seeds' means
contain of it already, which makes up for it as long as the seeds do not differ by much more than their
samples explain. So `over_seeds`, Student's interval of the seeds' means alone, is given beside it where it
matters: honest and, with two or three seeds, wide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 4000
_CHUNK = 500
STUDENT_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5% quantile of Student's t for 1 to 9 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Group:
    """The items of one seed."""

    values: NDArray[np.float64]
    clusters: NDArray[np.int64]
    """The dialogue of each item, any numbers."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    items: int
    """Of all seeds."""

    @property
    def seeds(self) -> int:
        """How many it was estimated from."""
        return len(self.by_seed)


def estimate(groups: Sequence[Group], draws: int = DRAWS, random_seed: int = 0) -> Estimate:
    """The mean over seeds and its hierarchical bootstrap interval; raises ValueError without items."""
    if not groups or not all(len(group.values) for group in groups):
        raise ValueError("an interval needs at least one item for each seed")
    rng = np.random.default_rng(random_seed)
    count = len(groups)
    chosen = rng.integers(count, size=(draws, count))
    means = np.zeros((draws, count))
    for number, group in enumerate(groups):
        places = chosen == number
        means[places] = _draw_means(group, int(places.sum()), rng)
    low, high = np.quantile(means.mean(axis=1), (0.025, 0.975))
    own = tuple(float(group.values.mean()) for group in groups)
    items = sum(len(group.values) for group in groups)
    return Estimate(float(np.mean(own)), float(low), float(high), own, items)


def _draw_means(group: Group, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Means of the items of dialogues that are drawn with replacement."""
    _, place = np.unique(group.clusters, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    sums = np.bincount(place, weights=group.values)
    found = [np.zeros(0)]
    for start in range(0, draws, _CHUNK):
        picked = rng.integers(len(sizes), size=(min(_CHUNK, draws - start), len(sizes)))
        found.append(sums[picked].sum(axis=1) / sizes[picked].sum(axis=1))
    return np.concatenate(found)


def over_seeds(means: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95% interval of the mean of the seeds' means; None for one seed, or more than ten."""
    freedom = len(means) - 1
    if not 1 <= freedom <= len(STUDENT_975):
        return None
    half = STUDENT_975[freedom - 1] * float(np.std(means, ddof=1)) / math.sqrt(len(means))
    centre = float(np.mean(means))
    return centre - half, centre + half
