"""Validation: rule checks, which are pure, and the teacher's review (method, section 2).

The paper checks syntax, known tools, required parameters and types, and lets an LLM review each
step. Here the rules also apply the whole JSON Schema, want every value grounded in the
conversation, and every rejected row is kept with the rule that it broke.
"""

from looptool.validate.calls import CALL_RULES, Violation, check_call
from looptool.validate.review import REVIEW_RULES, review_dialogues, review_samples
from looptool.validate.rules import (
    RULES,
    check_dialogue,
    check_label,
    check_sample,
    find_label_problems,
)
from looptool.validate.stage import (
    ValidationOutcome,
    ValidationReport,
    cut_parts,
    find_violations,
    review_part,
    summarise,
    validate_samples,
)

__all__ = [
    "CALL_RULES",
    "REVIEW_RULES",
    "RULES",
    "ValidationOutcome",
    "ValidationReport",
    "Violation",
    "check_call",
    "check_dialogue",
    "check_label",
    "check_sample",
    "cut_parts",
    "find_label_problems",
    "find_violations",
    "review_dialogues",
    "review_part",
    "review_samples",
    "summarise",
    "validate_samples",
]
