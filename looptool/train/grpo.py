"""TRL's `GRPOTrainer`, the same mathematics with a quarter of the work, for small models on a CPU.

TRL's advantages, clipping, loss, optimiser and logging are used as they are. Replaced, each exactly
or up to rounding:
- Rollouts of one prompt share one pass over it, in sampling and in the loss (a group of 8 would
  read it 8 times), and the loss's pass goes by length (`looptool.train.forward`).
- Rollouts without an advantage (a group that got the same reward throughout) have no gradient and
  are left out of the loss's forward pass; the loss stays divided by all tokens of the batch.
- Sampling (`engines.decode`) uses a copy of the weights in bf16 when `bf16` is on, as the loss's autocast does.
What that saves: `benchmarks.training_step`.

Private methods of TRL are overridden, so its version is pinned.
"""

import time
from collections import defaultdict
from typing import Any

import torch
from torch.nn.functional import pad
from trl import GRPOTrainer

from looptool.engines.decode import decode, end_token_ids
from looptool.train.forward import forward_by_length

GROUP_MULTIPLE = 4
"""The loss keeps multiples of so many groups: few shapes, few oneDNN primitives."""
SAMPLING_ROWS = 512
"""Most rollouts that are sampled at once."""


class SharedPrefixTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO over plain-text prompts and one completion a rollout; no tools, images or vLLM."""

    def __init__(self, *args: Any, sampler: Any, **kwargs: Any) -> None:
        self.timings: defaultdict[str, float] = defaultdict(float)
        self._sampler = sampler
        super().__init__(*args, **kwargs)
        self._ends = end_token_ids(sampler, self._tokenizer)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        # The chat template has written every special token already.
        ids = self._tokenizer(prompts, add_special_tokens=False)["input_ids"]
        return ids, None, {}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *_args: Any, **_kwargs: Any
    ) -> tuple[list[list[int]], None]:
        started = time.perf_counter()
        with torch.no_grad():
            weights = zip(self._sampler.parameters(), self.model.parameters(), strict=True)
            for mine, trained in weights:
                mine.copy_(trained)
        group = self.num_generations
        prompts = prompt_ids[
            ::group
        ]  # the sampler of TRL puts the rollouts of a prompt side by side
        size = max(1, SAMPLING_ROWS // group)
        completions: list[list[int]] = []
        for i in range(0, len(prompts), size):
            decoded = decode(
                self._sampler,
                prompts[i : i + size],
                max_new_tokens=self.max_completion_length,
                end_ids=self._ends,
                pad_id=self._tokenizer.pad_token_id,
                repeats=group,
                temperature=self.temperature,
            )
            completions += [list(d.token_ids) for d in decoded]
        self.timings["generate"] += time.perf_counter() - started
        self.timings["tokens"] += sum(len(c) for c in completions)
        return completions, None

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As TRL's; the time of everything but sampling counts as update."""
        before = self.timings["generate"]
        started = time.perf_counter()
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        apart = self.timings["generate"] - before
        self.timings["update"] += time.perf_counter() - started - apart
        return loss

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """As TRL's, over the rollouts that carry an advantage."""
        if self.beta == 0.0:  # with a KL term every rollout has a gradient
            inputs = keep_rows(inputs, find_signal_rows(inputs["prompt_ids"], inputs["advantages"]))
        loss: torch.Tensor = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **_kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        start = input_ids.size(1) - logits_to_keep
        rows, chosen, entropies = [], [], []
        for some, logits in forward_by_length(
            model, input_ids, attention_mask, start, self.accelerator.autocast
        ):
            logprobs = (logits / self.temperature).log_softmax(
                -1
            )  # (some, length, vocabulary), fp32
            rest = (0, logits_to_keep - logits.size(1))
            targets = input_ids[some, start : start + logits.size(1), None]
            chosen.append(pad(logprobs.gather(-1, targets)[..., 0], rest))
            rows.append(some)
            if compute_entropy:
                with torch.no_grad():
                    entropies.append(pad(-(logprobs.exp() * logprobs).sum(-1), rest))
        order = torch.cat(rows).argsort()
        entropy = torch.cat(entropies)[order] if compute_entropy else None
        return torch.cat(chosen)[order], entropy, None


def find_signal_rows(prompt_ids: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """Rows of the groups with any advantage, filled up to a round number of groups, in order."""
    _, group = prompt_ids.unique(dim=0, return_inverse=True)
    count = int(group.max()) + 1
    signal = torch.zeros(count).scatter_reduce_(0, group, advantages.abs().float(), "amax")
    with_signal = int((signal > 0).sum())
    wanted = min(count, max(1, -(-with_signal // GROUP_MULTIPLE)) * GROUP_MULTIPLE)
    kept = signal.sort(descending=True, stable=True).indices[:wanted]
    return torch.nonzero(torch.isin(group, kept))[:, 0]


def keep_rows(inputs: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """The batch cut down to these rows; what has no row dimension stays."""
    return {
        name: value[rows] if isinstance(value, torch.Tensor) and value.dim() > 0 else value
        for name, value in inputs.items()
    }
