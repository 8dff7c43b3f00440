"""EDDE: new samples that keep an error's trap and change everything else (method, section 6).

    error seeds ── plan ── ask ── read ── no repetition ── validate ──> k new samples each
                            └──────────── tried again, at most 2k times ────────────┘

For each error seed the teacher sees the conversation, the right and the wrong answer and the
judge's analysis, and writes k new samples. Released code skips answers without calls, and the model
that it trains learns to abstain too much: here clarifications and refusals are expanded as well.
The validation is handed in by the caller and is part of every attempt: k counts samples that passed
it. Each of them belongs to the split of its parent.
"""

from looptool.expand.plan import (
    Descriptions,
    Variation,
    Variety,
    load_variety,
    plan_variations,
    spread,
)
from looptool.expand.repeats import Family
from looptool.expand.reply import ExpandReply, build_sample
from looptool.expand.report import ExpandReport, Yield, summarise
from looptool.expand.run import Check, ExpandOutcome, Setting, count_attempts, expand_seeds
from looptool.expand.seeds import ErrorSeed, choose_seeds, error_seeds, find_certain, seed_key
from looptool.expand.toolset import TOOL_CHANGES, find_difficulty, tools_of, vary_tools

__all__ = [
    "TOOL_CHANGES",
    "Check",
    "Descriptions",
    "ErrorSeed",
    "ExpandOutcome",
    "ExpandReply",
    "ExpandReport",
    "Family",
    "Setting",
    "Variation",
    "Variety",
    "Yield",
    "build_sample",
    "choose_seeds",
    "count_attempts",
    "error_seeds",
    "expand_seeds",
    "find_certain",
    "find_difficulty",
    "load_variety",
    "plan_variations",
    "seed_key",
    "spread",
    "summarise",
    "tools_of",
    "vary_tools",
]
