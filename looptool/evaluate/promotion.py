"""Whether M_j replaces the best policy so far: a paired test on the held-out samples.

The paper trains on from every M_j. Its own results show why that is risky unattended: relevance falls from
77.8 to 61.1 while the average rises. Here M_j is promoted unless it answers significantly fewer samples
of a guarded slice than the best policy before it; otherwise the next round starts from that one.

Both policies answered the same samples, so only those count on which they differ: of `lost + won` such
samples an equally good policy loses half, and the exact binomial tail (the sign test of McNemar) says how
likely it is to lose so many.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from looptool.config import PromotionConfig
from looptool.evaluate.heldout import answers_by_slice
from looptool.records import ProbeResult, Promotion, Sample, SliceChange


def decide_promotion(
    samples: Sequence[Sample],
    best: Sequence[ProbeResult],
    new: Sequence[ProbeResult],
    config: PromotionConfig,
    *,
    against: int,
) -> Promotion:
    """Compare the policy's answers with those of the best one, which iteration `against` trained.

    Samples that either of them was not asked, for whatever failure of the machine, are left out.
    """
    before, after = answers_by_slice(samples, best), answers_by_slice(samples, new)
    changes = tuple(
        _compare(name, before.get(name, {}), after.get(name, {})) for name in config.slices
    )
    fallen = [change for change in changes if change.p_fall < config.significance]
    promoted = not (config.enabled and fallen)
    return Promotion(
        promoted=promoted, against=against, changes=changes, reason=_explain(fallen, against)
    )


def _compare(name: str, before: Mapping[str, bool], after: Mapping[str, bool]) -> SliceChange:
    both = before.keys() & after.keys()
    lost = sum(before[i] and not after[i] for i in both)
    won = sum(after[i] and not before[i] for i in both)
    return SliceChange(slice=name, n=len(both), lost=lost, won=won, p_fall=tail(lost, lost + won))


def tail(heads: int, tosses: int) -> float:
    """Probability of at least so many heads of a fair coin, 0..1; 1 without a toss."""
    if heads <= 0:
        return 1.0
    logs = (
        math.lgamma(tosses + 1) - math.lgamma(k + 1) - math.lgamma(tosses - k + 1)
        for k in range(heads, tosses + 1)
    )
    return min(1.0, math.fsum(math.exp(log - tosses * math.log(2)) for log in logs))


def _explain(fallen: Iterable[SliceChange], against: int) -> str:
    return "; ".join(
        f"{change.slice} fell by {-change.points:.1f} points against M_{against} "
        f"({change.lost} lost, {change.won} won of {change.n}, p = {change.p_fall:.3g})"
        for change in fallen
    )
