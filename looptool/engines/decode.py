"""Batched decoding for any Hugging Face causal language model: greedy for GCP, sampled for GRPO.

Why not `model.generate`: a prompt's `repeats` rollouts share one pass over the prompt, rows that
have ended leave the batch, and the log-probability of each chosen token is kept without keeping the
scores of the whole vocabulary. Rollouts of a prompt share its keys, too (`looptool.engines.prefix`).
Only models whose cache can be indexed by row (`DynamicCache`) are supported; left out: beams,
penalties, filters.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from looptool.engines.prefix import SharedPrompts, can_share, shared_attention

PAD_MULTIPLE = 32
"""Lengths are padded to multiples of this: oneDNN prepares, and keeps, primitives by shape."""
ROW_MULTIPLE = 16
"""A shrinking batch keeps multiples of so many rows, for the same reason."""
ROOM_TOKENS = 32
"""How far the cache grows at once; growing by each token would copy all of it each time."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One continuation."""

    token_ids: tuple[int, ...]
    """With the end-of-turn token, if it was reached."""
    logprobs: tuple[float, ...]
    """Natural log-probabilities at temperature 1."""
    ended: bool
    """The model ended its turn; otherwise the token limit did."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer that appends in place: `keys` and `values` are views into larger tensors."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._rooms: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append along the length; both are (rows, heads, length, head size)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rooms = self._rooms or (None, None)
        self.keys, key_room = _append(self.keys, rooms[0], key_states)
        self.values, value_room = _append(self.values, rooms[1], value_states)
        self._rooms = (key_room, value_room)
        return self.keys, self.values


class ContinuationLayer(RoomyLayer):
    """What a row has said itself; its prompt, which counts for its length, is kept elsewhere."""

    def __init__(self, prompt_length: int) -> None:
        super().__init__()
        self._prompt_length = prompt_length

    def get_seq_length(self) -> int:
        """Tokens of the prompt and of the continuation."""
        own: int = super().get_seq_length()
        return self._prompt_length + own

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Only these rows stay."""
        if self.is_initialized:
            super().batch_select_indices(indices)


def _append(
    held: torch.Tensor, room: torch.Tensor | None, new: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    used = held.shape[-2] if held.numel() else 0
    total = used + new.shape[-2]
    # Rows that were selected or repeated lie elsewhere by now.
    if room is None or held.data_ptr() != room.data_ptr() or room.shape[-2] < total:
        room = new.new_empty((*new.shape[:2], total + ROOM_TOKENS, new.shape[-1]))
        if used:
            room[..., :used, :] = held
    room[..., used:total, :] = new
    return room[..., :total, :], room


def make_cache(model: Any) -> DynamicCache:
    """An empty cache for decoding; layers of other kinds (sliding windows) stay as they are."""
    cache = DynamicCache(config=model.config)
    cache.layers = [RoomyLayer() if type(x) is DynamicLayer else x for x in cache.layers]
    return cache


def pad_left(
    rows: Sequence[Sequence[int]], pad_id: int, multiple: int = PAD_MULTIPLE
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both (rows, length), padded on the left."""
    length = -(-max(len(row) for row in rows) // multiple) * multiple
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, length - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[i, length - len(row) :] = 1
    return ids, mask


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of each token in its own row; padding gets 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def end_token_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a turn, by the model's generation settings and its tokenizer."""
    found = model.generation_config.eos_token_id
    ids = set(found if isinstance(found, list) else [found]) | {tokenizer.eos_token_id}
    return sorted(i for i in ids if i is not None)


@torch.no_grad()  # type: ignore[untyped-decorator]
def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    end_ids: Sequence[int],
    pad_id: int,
    repeats: int = 1,
    temperature: float | None = None,
) -> list[Decoded]:
    """`repeats` continuations of each prompt, those of one prompt side by side.

    `temperature` None is greedy; otherwise tokens are drawn from torch's global generator.
    """
    ids, mask = pad_left(prompts, pad_id)
    cache = make_cache(model)
    logits = _forward(model, ids, mask, positions(mask), cache)
    with ExitStack() as stack:
        shared = None
        if repeats > 1 and can_share(model, cache.layers, RoomyLayer):
            shared = SharedPrompts(cache, mask, repeats)
            stack.enter_context(shared_attention(model))
            cache.layers = [ContinuationLayer(shared.length) for _ in cache.layers]
        elif repeats > 1:
            cache.batch_repeat_interleave(repeats)
        return _continue(
            model,
            cache,
            shared,
            logits.repeat_interleave(repeats, 0),
            mask.repeat_interleave(repeats, 0),
            max_new_tokens=max_new_tokens,
            end_ids=end_ids,
            temperature=temperature,
        )


def _continue(
    model: Any,
    cache: DynamicCache,
    shared: SharedPrompts | None,
    logits: torch.Tensor,
    mask: torch.Tensor,
    *,
    max_new_tokens: int,
    end_ids: Sequence[int],
    temperature: float | None,
) -> list[Decoded]:
    """Token after token; `logits` (rows, vocabulary) fp32 choose the first, `mask` (rows, length)."""
    where = mask.sum(-1, keepdim=True)  # (rows, 1), position of the next token
    ends = torch.tensor(list(end_ids))
    total = len(logits)
    tokens = torch.full((total, max_new_tokens), -1, dtype=torch.long)
    logprobs = torch.zeros((total, max_new_tokens))
    rows = torch.arange(total)  # which continuation each row of the batch is
    open_ = torch.ones(total, dtype=torch.bool)
    for step in range(max_new_tokens):
        chosen = _choose(logits, temperature)
        chosen_logprobs = logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        tokens[rows[open_], step] = chosen[open_]
        logprobs[rows[open_], step] = chosen_logprobs[open_]
        open_ = open_ & ~torch.isin(chosen, ends)
        if not bool(open_.any()) or step + 1 == max_new_tokens:
            break
        keep = _rows_to_keep(open_)
        if keep is not None:
            cache.batch_select_indices(keep)
            if shared is not None:
                shared.select(keep)
            rows, open_, mask, where = rows[keep], open_[keep], mask[keep], where[keep]
            chosen = chosen[keep]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=-1)
        logits = _forward(model, chosen[:, None], mask, where, cache, shared)
        where = where + 1
    return _collect(tokens, logprobs, set(end_ids))


def _forward(
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    where: torch.Tensor,
    cache: DynamicCache,
    shared: SharedPrompts | None = None,
) -> torch.Tensor:
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=where,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        **({} if shared is None else {"shared_prompts": shared}),
    )
    logits: torch.Tensor = out.logits[:, -1].float()
    return logits


def _choose(logits: torch.Tensor, temperature: float | None) -> torch.Tensor:
    if temperature is None:
        return logits.argmax(-1)
    # One random number a row; torch.multinomial draws one for each token of the vocabulary.
    reached = (logits / temperature).softmax(-1).cumsum(-1)  # (rows, vocabulary)
    drawn = torch.rand(len(logits), 1) * reached[:, -1:]
    return torch.searchsorted(reached, drawn, right=True)[:, 0].clamp(max=logits.size(-1) - 1)


def _rows_to_keep(open_: torch.Tensor) -> torch.Tensor | None:
    """Indices of the open rows, filled up to a round number with ended ones; None: keep all."""
    wanted = -(-int(open_.sum()) // ROW_MULTIPLE) * ROW_MULTIPLE
    if wanted >= len(open_):
        return None
    filler = torch.nonzero(~open_)[:, 0][: wanted - int(open_.sum())]
    return torch.cat([torch.nonzero(open_)[:, 0], filler]).sort().values


def _collect(tokens: torch.Tensor, logprobs: torch.Tensor, ends: set[int]) -> list[Decoded]:
    found = []
    for ids, values in zip(tokens.tolist(), logprobs.tolist(), strict=True):
        length = ids.index(-1) if -1 in ids else len(ids)
        found.append(
            Decoded(
                token_ids=tuple(ids[:length]),
                logprobs=tuple(values[:length]),
                ended=ids[length - 1] in ends,
            )
        )
    return found
