"""Confidence intervals of shares."""

import math

Z95 = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """The 95% Wilson interval of a share; (0, 1) without observations."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = correct / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
