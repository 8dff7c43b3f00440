"""The next dataset: error seeds, expansions, high perplexity, unused seeds (method, section 7).

Nothing leaves in silence: each sample that does not go on has a `Fate` with its reason.
"""

from looptool.merge.build import (
    MergeInputs,
    MergeOutcome,
    MergeReport,
    first_dataset,
    merge_round,
    new_seed_rate,
    unused,
)

__all__ = [
    "MergeInputs",
    "MergeOutcome",
    "MergeReport",
    "first_dataset",
    "merge_round",
    "new_seed_rate",
    "unused",
]
