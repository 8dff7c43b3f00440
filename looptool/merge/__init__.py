"""The next dataset: error seeds, expansions, high perplexity, unused seeds (method, section 7).

Nothing leaves in silence: each sample that does not go on has a `Fate` with its reason.
"""

from looptool.merge.build import (
    Merged,
    MergeOutcome,
    first_dataset,
    merge_round,
    merge_sources,
    new_seed_rate,
    unused,
)
from looptool.merge.report import MergeReport
from looptool.merge.sources import (
    NOTHING_RETRACTED,
    MergeInputs,
    MergeSources,
    Source,
    heldout_rows,
    nothing,
    records_source,
    training_rows,
)

__all__ = [
    "NOTHING_RETRACTED",
    "MergeInputs",
    "MergeOutcome",
    "MergeReport",
    "MergeSources",
    "Merged",
    "Source",
    "first_dataset",
    "heldout_rows",
    "merge_round",
    "merge_sources",
    "new_seed_rate",
    "nothing",
    "records_source",
    "training_rows",
    "unused",
]
