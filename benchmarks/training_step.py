"""A GRPO step on a CPU: what sharing prompts and going by length save, as ratios in one run.

    python -m benchmarks.training_step

16 prompts of 250 to 570 tokens with 8 rollouts each, the committed policy, one thread, as the trainer runs it
(bf16 sampler, bf16 autocast of fp32 weights in the loss). Sampling: 64 tokens each, over a cache that holds
each prompt once and over one that holds it eight times. The loss: forward and backward over completions of 10
to 96 tokens, cut by length and as one batch padded to the longest. Each side runs in turn; medians.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM

from looptool.engines import decode as decoding
from looptool.engines.attention import share_grouped_keys
from looptool.train import forward

BASE = Path(__file__).parents[1] / "models" / "nano-base"
PROMPTS, GROUP, TURNS = 16, 8, 3
LENGTHS = (10, 15, 20, 25, 30, 30, 35, 40, 50, 60, 96)


def make_batch(rng: random.Random) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Ids and mask (rows, length) of prompts, left-padded, with completions; and where these start."""
    sizes = [rng.randint(250, 570) for _ in range(PROMPTS)]
    start, longest = max(sizes), max(LENGTHS)
    ids = torch.zeros((PROMPTS * GROUP, start + longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, size in enumerate(sizes):
        prompt = torch.randint(5, 2000, (size,))
        for row in range(number * GROUP, (number + 1) * GROUP):
            end = start + rng.choice(LENGTHS)
            ids[row, start - size : start] = prompt
            ids[row, start:end] = torch.randint(5, 2000, (end - start,))
            mask[row, start - size : end] = 1
    return ids, mask, start


def sample(model: Any, ids: torch.Tensor, mask: torch.Tensor, start: int) -> None:
    """Draw 64 tokens for every rollout."""
    rows = [ids[i, :start][mask[i, :start] > 0].tolist() for i in range(0, len(ids), GROUP)]
    decoding.decode(
        model, rows, max_new_tokens=64, end_ids=[-1], pad_id=0, repeats=GROUP, temperature=1.3
    )


def update(model: Any, ids: torch.Tensor, mask: torch.Tensor, start: int) -> None:
    """Gradients of the log-probabilities of all completions."""
    model.zero_grad()

    def autocast() -> Any:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    total = torch.zeros(())
    for rows, logits in forward.forward_by_length(model, ids, mask, start, autocast):
        end = start + logits.size(1)
        chosen = logits.log_softmax(-1).gather(-1, ids[rows, start:end, None])[..., 0]
        total = total + (chosen * mask[rows, start:end]).sum()
    total.backward()


def compare(left: Callable[[], None], right: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of both, run in turn after one run each to warm up."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS + 1):
        for work, times in zip((left, right), took, strict=True):
            began = time.perf_counter()
            work()
            if turn:
                times.append(time.perf_counter() - began)
    return statistics.median(took[0]), statistics.median(took[1])


def main() -> int:
    """Command line of the module."""
    share_grouped_keys()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    batch = make_batch(random.Random(0))
    sampler = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16).eval()
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).train()
    share = decoding.can_share
    lengths = forward.PROMPTS_AT_ONCE, forward.PORTIONS, forward.PAD_MULTIPLE

    def sample_with(may_share: Callable[..., bool]) -> None:
        decoding.can_share = may_share
        sample(sampler, *batch)

    def update_with(at_once: int, portions: int, multiple: int) -> None:
        forward.PROMPTS_AT_ONCE, forward.PORTIONS, forward.PAD_MULTIPLE = (
            at_once,
            portions,
            multiple,
        )
        update(model, *batch)

    table = Table("", "plain, s", "as it is, s", "ratio")
    for name, plain, ours in (
        ("sampling", lambda: sample_with(lambda *_: False), lambda: sample_with(share)),
        ("forward and backward", lambda: update_with(PROMPTS, 1, 1 << 20), lambda: update_with(*lengths)),
    ):  # fmt: skip
        before, after = compare(plain, ours)
        table.add_row(name, f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
