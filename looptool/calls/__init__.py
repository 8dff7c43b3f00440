"""Model text <-> tool calls, and the one rule by which two answers are the same.

    text  ── parse_reply ──> Reply ── answers_match ──> yes or no, for label checks, reward, probe
    calls ── calls_match, explain_mismatch, relaxed_match ──> the same rule on lists of calls

`json_text` strict JSON (R1) · `parse` replies · `schema` compiled tools · `values` R4-R8 ·
`validity` R9 · `match` R2, R3 and the verdicts · `explain` the first difference · `reward` veRL.
Unlike the paper's, the rule is written down and one: nothing else in LoopTool compares calls.
"""

from looptool.calls.explain import Mismatch, explain_mismatch
from looptool.calls.json_text import ArgumentsError, canonical_json, parse_arguments
from looptool.calls.match import answers_match, calls_match, check_label, relaxed_match
from looptool.calls.parse import Reply, parse_reply, render_calls
from looptool.calls.reward import compute_score
from looptool.calls.schema import ToolIndex

__all__ = [
    "ArgumentsError",
    "Mismatch",
    "Reply",
    "ToolIndex",
    "answers_match",
    "calls_match",
    "canonical_json",
    "check_label",
    "compute_score",
    "explain_mismatch",
    "parse_arguments",
    "parse_reply",
    "relaxed_match",
    "render_calls",
]
