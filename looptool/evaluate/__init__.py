"""Accuracy of a checkpoint on held-out sets: samples never trained on, never expanded.

`heldout` scores our own held-out set by the same grading as the probe, `promotion` decides whether a policy
is good enough to go on from. The paper reports BFCL and
ACEBench only; those suites get their own modules here, each in its own process.
"""

from looptool.evaluate.heldout import EvaluateReport, evaluate_heldout, score_heldout
from looptool.evaluate.promotion import decide_promotion

__all__ = ["EvaluateReport", "decide_promotion", "evaluate_heldout", "score_heldout"]
