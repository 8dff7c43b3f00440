"""JGLV: which of label and prediction is right? (method, section 5)

    mismatches ─┐
                ├─ shuffled batch ── votes ── rule ──> judgements ──┐
    planted ────┘                                └──> confusion ── trust ──> labels replaced, or not

`pairs` what is judged · `ask` one question, one vote · `decide` votes -> verdict · `corrupt` how an
answer goes wrong · `plant` pairs with known verdicts · `run` a batch · `measure` what they say about
the judge · `precision` of LABEL_WRONG, with its interval · `trust` the floor · `review` what people
see and decide. The judge compares, it never writes a label. Unlike the paper, both orders are asked,
what the votes do not agree on is `unjudged`, and labels change only while the judge has been seen to
be right.
"""

from looptool.decisions import relabel
from looptool.judge.ask import JudgeReply
from looptool.judge.decide import decide_verdict
from looptool.judge.measure import JudgeMeasure, measure_judge
from looptool.judge.pairs import Pair, RuleCheck, find_mismatch, read_prediction
from looptool.judge.plant import Plan, Planting, count_planted, find_mastered, plant_pairs
from looptool.judge.precision import Precision, estimate_precision
from looptool.judge.run import (
    JudgeOutcome,
    JudgeReport,
    judge_batch,
    judge_mismatches,
    judge_mixed,
    pair_key,
    report_judgements,
)
from looptool.judge.trust import Trust, apply_trust, decide_trust

__all__ = [
    "JudgeMeasure",
    "JudgeOutcome",
    "JudgeReply",
    "JudgeReport",
    "Pair",
    "Plan",
    "Planting",
    "Precision",
    "RuleCheck",
    "Trust",
    "apply_trust",
    "count_planted",
    "decide_trust",
    "decide_verdict",
    "estimate_precision",
    "find_mastered",
    "find_mismatch",
    "judge_batch",
    "judge_mismatches",
    "judge_mixed",
    "measure_judge",
    "pair_key",
    "plant_pairs",
    "read_prediction",
    "relabel",
    "report_judgements",
]
