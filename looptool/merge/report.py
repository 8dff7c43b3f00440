"""What went into a dataset, what came out, and why."""

from looptool.records import Record


class BenchmarkReport(Record):
    """What the gate against one benchmark did."""

    entries: int
    """Entries of the index."""
    digest: str
    """sha256 of the index file."""
    dropped: int
    """Samples that overlap, used or not."""
    flagged: int
    """Samples that are only flagged."""


class MergeReport(Record):
    """What went in, what came out, and why."""

    makes: int
    """Number of the dataset that was made, j + 1."""
    size: int
    target: int
    short_by: int
    """Samples missing to the target."""
    by_origin: dict[str, int]
    by_kind: dict[str, int]
    no_call_rate: float
    """Share of samples whose label calls nothing."""
    rows_in: dict[str, int]
    """Samples read, by where they came from; of the pool the unused ones."""
    offered: dict[str, int]
    """How many samples each part could have given."""
    places: dict[str, int]
    """How many places each part was given at most, where it was not what was left."""
    taken: dict[str, int]
    """How many it gave, `filled_*` for places that stayed empty at first."""
    left_out: dict[str, int]
    """Samples that left or never entered, by fate and reason; unused seeds are not among them."""
    selection: str
    """How the mastered ones worth another round were chosen."""
    ppl: str
    """What ranked them: a perplexity, or the pass rate."""
    ppl_threshold: float | None
    """Value of the easiest one chosen; None without candidates."""
    ppl_lowest_kept: float | None
    """The same after empty places were filled."""
    new_seed_rate: float
    near_duplicate_similarity: float | None
    benchmarks: dict[str, BenchmarkReport]
    """By name of the benchmark."""
