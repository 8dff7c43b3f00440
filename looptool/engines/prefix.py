"""Attention of several continuations of one prompt: the prompt's keys and values are read once for all of them.

Decoding 16 prompts x 8 rollouts is bound by memory: a cache that holds each prompt eight times is read
whole for every token. Here the cache keeps a prompt once, the queries of its continuations go over it
together, and what each of them has said itself is attended to apart; both parts are joined by their
softmax sums, which is the same attention up to rounding. It takes a sixth of the time of torch's kernel
over a repeated cache (`benchmarks.training_step`).

For models whose attention is transformers' `sdpa` and whose layers see the whole context.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "looptool_shared_prompts"
Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Unnormalised output (…, head size), largest score and sum of exponentials (…, 1), fp32 but the first."""


class SharedPrompts:
    """Keys and values of the prompts, and which prompt each row of the batch continues."""

    def __init__(self, cache: DynamicCache, mask: torch.Tensor, repeats: int) -> None:
        """`mask` (prompts, length) is false where a prompt is padded."""
        # (prompts, kv heads, size, length) and (prompts, kv heads, length, size) for each layer
        self.keys = [layer.keys.transpose(-1, -2).contiguous() for layer in cache.layers]
        self.values = [layer.values.contiguous() for layer in cache.layers]
        self._hidden = ~mask.bool()[:, None, None, :]
        self._prompts = len(mask)
        self._rows = torch.arange(self._prompts).repeat_interleave(repeats)
        self._arrange()

    @property
    def length(self) -> int:
        """Tokens of the longest prompt."""
        return int(self._hidden.shape[-1])

    def select(self, keep: torch.Tensor) -> None:
        """Only these rows go on."""
        self._rows = self._rows[keep]
        self._arrange()

    def _arrange(self) -> None:
        """Gives each row a place among those of its prompt."""
        counts = torch.bincount(self._rows, minlength=self._prompts)
        first = counts.cumsum(0) - counts  # rows of a prompt stand together
        self._width = int(counts.max())
        self._places = self._rows * self._width + torch.arange(len(self._rows)) - first[self._rows]

    def attend(self, layer: int, query: torch.Tensor) -> Part:
        """Attention over the prompts alone; `query` (rows, kv heads, group, size) is scaled."""
        _, heads, group, size = query.shape
        room = query.new_zeros(self._prompts * self._width, heads, group, size)
        room[self._places] = query
        shape = (self._prompts, self._width, heads, group)
        packed = room.view(*shape, size).transpose(1, 2).reshape(self._prompts, heads, -1, size)
        scores = (packed @ self.keys[layer]).float()
        part = _sum_up(scores.masked_fill(self._hidden, float("-inf")), self.values[layer])

        def unpack(x: torch.Tensor) -> torch.Tensor:
            back = x.view(self._prompts, heads, self._width, group, -1).transpose(1, 2)
            return back.reshape(len(room), heads, group, -1)[self._places]

        return unpack(part[0]), unpack(part[1]), unpack(part[2])


def _sum_up(scores: torch.Tensor, values: torch.Tensor) -> Part:
    top = scores.amax(-1, keepdim=True)
    weights = (scores - top).exp()
    return weights.to(values.dtype) @ values, top, weights.sum(-1, keepdim=True)


def attend_shared(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    shared_prompts: SharedPrompts | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: one query a row, `key` and `value` those of its continuation."""
    if shared_prompts is None:
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    rows, heads, _, size = query.shape
    grouped = query.view(rows, key.shape[1], -1, size) * (scaling or size**-0.5)
    prompt, prompt_top, prompt_sum = shared_prompts.attend(int(module.layer_idx), grouped)
    scores = (key @ grouped.transpose(-1, -2)).float().transpose(-1, -2)
    own, own_top, own_sum = _sum_up(scores, value)
    top = torch.maximum(prompt_top, own_top)
    left, right = (prompt_top - top).exp(), (own_top - top).exp()
    joined = (prompt * left + own * right) / (prompt_sum * left + own_sum * right)
    return joined.to(value.dtype).view(rows, 1, heads, size), None


AttentionInterface.register(NAME, attend_shared)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def shared_attention(model: Any) -> Iterator[None]:
    """Within it the model attends by `attend_shared`."""
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def can_share(model: Any, layers: Sequence[Any], kind: type) -> bool:
    """Whether the model attends by `sdpa` alone, and all layers of its cache are of the plain kind."""
    return model.config._attn_implementation == "sdpa" and all(type(x) is kind for x in layers)
