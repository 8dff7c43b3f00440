"""Lineage: where a sample came from, what changed it, and how to take it out again.

Everything is read off the artifacts of the campaign: the probe's answers, the judge's votes and the
fates that each merge wrote. Nothing here decides anything, except what a person retracts.
"""

from looptool.lineage.compare import DatasetDiff, compare_datasets
from looptool.lineage.difference import Difference, compare_labels, render_label
from looptool.lineage.family import Explanation, explain
from looptool.lineage.identify import identify
from looptool.lineage.retract import Consequences, find_effect, foresee, request_retraction
from looptool.lineage.rounds import Round, Timeline, open_campaign, read_timeline

__all__ = [
    "Consequences",
    "DatasetDiff",
    "Difference",
    "Explanation",
    "Round",
    "Timeline",
    "compare_datasets",
    "compare_labels",
    "explain",
    "find_effect",
    "foresee",
    "identify",
    "open_campaign",
    "read_timeline",
    "render_label",
    "request_retraction",
]
