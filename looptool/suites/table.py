"""Scores as the rows of a table for people: one benchmark each, a category a row."""

from collections.abc import Iterator, Sequence

from looptool.records import BenchmarkScore

HEADS = ("category", "items", "failed", "official", "strict", "decided", "differ")
"""`failed` requests are in neither accuracy; `decided`: items on which our rule has a verdict; `differ`: on
which the two rules do."""


def score_rows(scores: Sequence[BenchmarkScore]) -> Iterator[tuple[str, ...]]:
    """One row a score; accuracies in percent with their 95% intervals."""
    for score in scores:
        part = f"{score.n}" if score.n == score.available else f"{score.n} of {score.available}"
        yield (
            score.category,
            part,
            str(score.errors),
            show_rate(score.official, score.official_low, score.official_high),
            show_rate(score.strict, score.strict_low, score.strict_high),
            str(score.decided),
            str(score.only_official + score.only_strict),
        )


def show_rate(rate: float | None, low: float | None, high: float | None) -> str:
    """`53.7 (48–59)`; a dash without a verdict."""
    if rate is None or low is None or high is None:
        return "–"
    return f"{100 * rate:.1f} ({100 * low:.0f}–{100 * high:.0f})"
