"""How many of the LABEL_WRONG verdicts are right, as planted pairs and the real verdicts tell it.

Planted pairs hold each truth as often as we want, real mismatches do not, so the share of right ones
among the planted LABEL_WRONG says nothing about the data. What carries over is the confusion matrix
C, the chance of each verdict given the truth. The real verdicts, of which there are n_v, come from
an unknown mix p of truths: n_v ~ sum_t p_t C_tv. p is found by maximum likelihood (EM, never
negative), and

    precision = p_LW C_LW,LW / sum_t p_t C_t,LW

The interval takes in both uncertainties: rows of C and the shares of the real verdicts are drawn from
their Dirichlet posteriors, p and the precision are computed anew, and the ends are quantiles of the
results. As in the exact interval of Clopper and Pearson the ends are drawn apart, the lower one with
pseudo-counts and the upper one without, so that the estimate lies between them.

What it does not take in: that the policy's errors may be harder to judge than the planted ones.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from looptool.records import Record, Verdict4

TRUTHS: tuple[str, ...] = get_args(Verdict4)
VERDICTS = (*TRUTHS, "unjudged")
PLACE = TRUTHS.index("LABEL_WRONG")
"""Of LABEL_WRONG among truths and verdicts, where PRED_WRONG alone stands before it."""
DRAWS = 400
"""For each end of the interval."""
CAUTION = 0.25
"""Pseudo-counts of each cell at the lower end: an error that was never seen is still possible."""
ROUNDS_OF_EM = 60

Floats = NDArray[np.float64]


class Precision(Record):
    """The share of right ones among the LABEL_WRONG verdicts of a round, with a 95% interval."""

    estimate: float
    low: float
    high: float
    wrong_label_rate: float
    """Estimated share of the judged mismatches whose label alone is wrong."""


def count_confusion(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """How often each truth got each verdict; truths that do not occur are left out."""
    found = Counter(pairs)
    seen = {truth for truth, _ in found}
    return {
        truth: {verdict: found[truth, verdict] for verdict in VERDICTS}
        for truth in TRUTHS
        if truth in seen
    }


def estimate_precision(
    confusion: Mapping[str, Mapping[str, int]], verdicts: Mapping[str, int], random_seed: int
) -> Precision | None:
    """The precision of LABEL_WRONG among real pairs with these verdicts.

    None when pairs with one wrong answer were not planted both ways round, or when no real verdict is
    LABEL_WRONG; a truth of the other two that could not be planted counts as absent from the data.
    """
    counts = np.array([[confusion.get(t, {}).get(v, 0) for v in VERDICTS] for t in TRUTHS], float)
    real = np.array([verdicts.get(v, 0) for v in VERDICTS], float)
    planted: NDArray[np.bool_] = counts.sum(axis=1) > 0
    if not planted[: PLACE + 1].all() or not real[PLACE]:
        return None
    counts = counts[planted]
    rng = np.random.default_rng(random_seed)
    rates = counts[None] / counts.sum(axis=1)[None, :, None]
    mix = find_mixes(rates, (real / real.sum())[None])
    estimate = float(_precisions(rates, mix)[0])
    lower = np.quantile(_draw_precisions(counts, real, CAUTION, rng), 0.025)
    upper = np.quantile(_draw_precisions(counts, real, 0.0, rng), 0.975)
    return Precision(
        estimate=estimate,
        low=min(float(lower), estimate),
        high=max(float(upper), estimate),
        wrong_label_rate=float(mix[0, PLACE]),
    )


def find_mixes(rates: Floats, shares: Floats) -> Floats:
    """The shares of the truths under which the shares of the verdicts are most likely.

    `rates` (draws, truths, verdicts) and `shares` (draws, verdicts) give (draws, truths); by
    expectation maximisation, which keeps every share at or above zero.
    """
    mixes = np.full(rates.shape[:2], 1 / rates.shape[1])
    for _ in range(ROUNDS_OF_EM):
        expected = np.einsum("dt,dtv->dv", mixes, rates)
        weights = np.divide(shares, expected, out=np.zeros_like(shares), where=expected > 0)
        mixes = mixes * np.einsum("dtv,dv->dt", rates, weights)
        mixes /= np.maximum(mixes.sum(axis=1, keepdims=True), 1e-300)
    return mixes


def _precisions(rates: Floats, mixes: Floats) -> Floats:
    said = np.einsum("dt,dt->d", mixes, rates[:, :, PLACE])
    right = mixes[:, PLACE] * rates[:, PLACE, PLACE]
    found: Floats = np.divide(right, said, out=np.zeros_like(said), where=said > 0)
    return found


def _draw_precisions(
    counts: Floats, real: Floats, caution: float, rng: np.random.Generator
) -> Floats:
    """Precisions under which the counts could have come about."""
    rates = _draw_shares(np.broadcast_to(counts, (DRAWS, *counts.shape)) + caution, rng)
    shares = _draw_shares(np.broadcast_to(real, (DRAWS, *real.shape)) + caution, rng)
    return _precisions(rates, find_mixes(rates, shares))


def _draw_shares(counts: Floats, rng: np.random.Generator) -> Floats:
    """Draws from the Dirichlet distribution of the counts along the last axis."""
    drawn = rng.gamma(counts)
    total = drawn.sum(axis=-1, keepdims=True)
    shares: Floats = np.divide(drawn, total, out=np.zeros_like(drawn), where=total > 0)
    return shares
