"""EDDE: new samples that keep an error's trap and change everything else (method, section 6).

For each error seed the teacher sees the conversation, the right and the wrong answer and the
judge's analysis, and writes k new samples. Released code skips answers without calls, and the model
that it trains learns to abstain too much: here clarifications and refusals are expanded as well.
What can be read becomes a sample of its parent's split; the caller validates it like a seed.
"""

from looptool.expand.reply import ExpandReply, build_sample
from looptool.expand.run import (
    ErrorSeed,
    ExpandOutcome,
    ExpandReport,
    choose_seeds,
    error_seeds,
    expand_seeds,
    plan_voices,
)

__all__ = [
    "ErrorSeed",
    "ExpandOutcome",
    "ExpandReply",
    "ExpandReport",
    "build_sample",
    "choose_seeds",
    "error_seeds",
    "expand_seeds",
    "plan_voices",
]
