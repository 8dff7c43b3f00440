"""The forward pass of the loss over the rollouts of a batch, without the work that is done twice.

Rollouts of one prompt share one pass over it (gradients flow through the shared keys and values), and prompts
and completions of about the same length go together, cut to the longest of them: of a batch that is padded to
its longest prompt and completion most is padding. The same numbers as a pass over whole rows, up to rounding.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import DynamicCache

from looptool.engines.decode import PAD_MULTIPLE, positions

PROMPTS_AT_ONCE, PORTIONS = 4, 2
"""Prompts that are read together, and portions of their completions, by length: few shapes, few
oneDNN primitives."""


def forward_by_length(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    start: int,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows in portions, each with the logits (rows, length, vocabulary), fp32, that predict completions.

    Rows are a prompt, left-padded up to `start`, and a right-padded completion, both ids and mask (rows,
    length). Each row comes once; `length` is that of the longest completion of the portion or more.
    """
    prompts, group = input_ids[:, :start].unique(dim=0, return_inverse=True)
    first = torch.zeros(len(prompts), dtype=torch.long).scatter_(0, group, torch.arange(len(group)))
    masks = attention_mask[first, :start]
    for some in masks.sum(-1).argsort(descending=True, stable=True).split(PROMPTS_AT_ONCE):
        left = start - _round_up(int(masks[some].sum(-1).max()), start)
        with autocast():
            cache, heads = _read_prompts(model, prompts[some, left:], masks[some, left:])
        rows = torch.nonzero(torch.isin(group, some))[:, 0]
        lengths = attention_mask[rows, start:].sum(-1)
        for portion in lengths.argsort(stable=True).split(-(-len(rows) // PORTIONS)):
            end = start + _round_up(int(lengths[portion].max()), input_ids.size(1) - start)
            chosen = rows[portion]
            place = (group[chosen][:, None] == some).long().argmax(-1)
            ids, mask = (x[chosen, left:end] for x in (input_ids, attention_mask))
            with autocast():
                body = _continue(model, cache, place, ids, mask, start - left)
            yield chosen, torch.cat([heads.index_select(0, place).float(), body.float()], dim=1)


def _round_up(length: int, most: int) -> int:
    return min(most, -(-max(1, length) // PAD_MULTIPLE) * PAD_MULTIPLE)


def _read_prompts(
    model: Any, prompts: torch.Tensor, mask: torch.Tensor
) -> tuple[DynamicCache, torch.Tensor]:
    """Keys and values of some prompts, and the logits (prompts, 1, vocabulary) of their last tokens."""
    cache = DynamicCache(config=model.config)
    heads = model(
        input_ids=prompts,
        attention_mask=mask,
        position_ids=positions(mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    return cache, heads


def _continue(
    model: Any,
    cache: DynamicCache,
    place: torch.Tensor,
    ids: torch.Tensor,
    mask: torch.Tensor,
    start: int,
) -> torch.Tensor:
    """Logits of all but the last completion token; row i continues prompt `place[i]` of the cache."""
    own = copy.copy(cache)
    own.layers = [copy.copy(layer) for layer in cache.layers]
    own.batch_select_indices(place)
    body: torch.Tensor = model(
        input_ids=ids[:, start:-1],
        attention_mask=mask[:, :-1],
        position_ids=positions(mask)[:, start:-1],
        past_key_values=own,
        use_cache=True,
    ).logits
    return body
