"""Accuracy of a checkpoint on held-out sets: samples never trained on, never expanded.

`heldout` scores our own held-out set by the same grading as the probe. The paper reports BFCL and
ACEBench only; those suites get their own modules here, each in its own process.
"""

from looptool.evaluate.heldout import EvaluateReport, evaluate_heldout, score_heldout

__all__ = ["EvaluateReport", "evaluate_heldout", "score_heldout"]
