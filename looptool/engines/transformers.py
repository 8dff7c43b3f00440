"""The policy by Hugging Face transformers: batched, without a server.

Runs inside the child process (`looptool.engines.job`), never in the caller's. Prompts are sorted by
length and padded on the left to multiples of 32; log-probabilities come from fp32 logits.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from transformers import AutoModelForCausalLM

from looptool.engines import (
    EngineInfo,
    Generation,
    LabelTexts,
    Limits,
    OnProgress,
    Prompt,
    Sampling,
)
from looptool.engines.attention import share_grouped_keys
from looptool.engines.decode import Decoded, decode, pad_left, positions
from looptool.engines.tokens import Row, TokenSide
from looptool.errors import ConfigError

T = TypeVar("T")

LOGIT_FLOATS = 1 << 27
"""Largest block of logits that label scoring holds at once (512 MiB)."""


class TransformersEngine:
    """`looptool.engines.Engine` in this process."""

    def __init__(self, checkpoint_dir: Path, *, dtype: str = "float32") -> None:
        self._folder = checkpoint_dir
        self._tokens = TokenSide(checkpoint_dir)
        share_grouped_keys()
        try:
            self._model = AutoModelForCausalLM.from_pretrained(
                checkpoint_dir, dtype=getattr(torch, dtype)
            ).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as exc:
            raise ConfigError(f"model folder {checkpoint_dir} cannot be loaded: {exc}") from exc
        pad = self._tokens.tokenizer.pad_token_id
        self._pad = self._tokens.end_ids[0] if pad is None else pad

    def info(self) -> EngineInfo:
        """Name, versions and size."""
        return EngineInfo(
            name="transformers",
            checkpoint=str(self._folder),
            versions={"torch": torch.__version__, "transformers": transformers.__version__},
            parameters=self._model.num_parameters(),
        )

    def close(self) -> None:
        """Nothing to give back before the process ends."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        *,
        label_texts: LabelTexts = None,
        on_progress: OnProgress = None,
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`."""
        found, rows = self._fit(prompts, limits, label_texts)
        for batch in _batches(_by_length(rows), limits.batch_size):
            taken = [rows[i] for i in batch]
            decoded = self._decode([row.token_ids for row in taken], limits.max_new_tokens)
            scored = self._score_labels(taken)
            for i, row, one, label_logprobs in zip(batch, taken, decoded, scored, strict=True):
                found[i] = self._tokens.answer(row, one.token_ids, one.logprobs, label_logprobs)
            if on_progress is not None:
                on_progress(len(found), len(prompts))
        return [found[i] for i in range(len(prompts))]

    def sample(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        sampling: Sampling,
        *,
        on_progress: OnProgress = None,
    ) -> list[tuple[Generation, ...]]:
        """See `looptool.engines.Engine.sample`."""
        failed, rows = self._fit(prompts, limits)
        found: dict[int, tuple[Generation, ...]] = {i: (one,) for i, one in failed.items()}
        torch.manual_seed(sampling.seed)
        for batch in _batches(_by_length(rows), limits.batch_size):
            decoded = self._decode(
                [rows[i].token_ids for i in batch], limits.max_new_tokens, sampling
            )
            for i, answers in zip(batch, _batches(decoded, sampling.answers), strict=True):
                found[i] = tuple(
                    self._tokens.answer(rows[i], one.token_ids, one.logprobs) for one in answers
                )
            if on_progress is not None:
                on_progress(len(found), len(prompts))
        return [found[i] for i in range(len(prompts))]

    def _fit(
        self, prompts: Sequence[Prompt], limits: Limits, label_texts: LabelTexts = None
    ) -> tuple[dict[int, Generation], dict[int, Row]]:
        """By number of the prompt: the records of those that do not fit, and the tokens of the others."""
        fitted = dict(enumerate(self._tokens.fit_all(prompts, limits, label_texts)))
        failed = {i: row for i, row in fitted.items() if isinstance(row, Generation)}
        return failed, {i: row for i, row in fitted.items() if isinstance(row, Row)}

    def _decode(
        self,
        rows: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: Sampling | None = None,
    ) -> list[Decoded]:
        """Greedy answers, one a row; or those that are drawn, the ones of a row side by side."""
        found: list[Decoded] = decode(
            self._model,
            rows,
            max_new_tokens=max_new_tokens,
            end_ids=self._tokens.end_ids,
            pad_id=self._pad,
            repeats=sampling.answers if sampling else 1,
            temperature=sampling.temperature if sampling else None,
        )
        return found

    def _score_labels(self, rows: Sequence[Row]) -> list[tuple[float, ...] | None]:
        """Teacher forcing: log-probabilities of each label and the end of turn after its prompt."""
        found: list[tuple[float, ...] | None] = [None] * len(rows)
        wanted = {i: row.label_ids for i, row in enumerate(rows) if row.label_ids is not None}
        if not wanted:
            return found
        longest = max(len(ids) for ids in wanted.values())
        size = max(1, LOGIT_FLOATS // (longest * self._model.config.vocab_size))
        for batch in _batches(list(wanted), size):
            scored = self._force([rows[i].token_ids for i in batch], [wanted[i] for i in batch])
            for i, logprobs in zip(batch, scored, strict=True):
                found[i] = logprobs
        return found

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _force(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...]]:
        rows = [[*p, *a] for p, a in zip(prompts, answers, strict=True)]
        ids, mask = pad_left(rows, self._pad)
        keep = max(len(a) for a in answers) + 1
        logits = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask), logits_to_keep=keep
        ).logits.float()  # (rows, keep, vocabulary)
        logprobs = logits[:, :-1].log_softmax(-1)
        picked = logprobs.gather(-1, ids[:, 1 - keep :, None])[..., 0]  # (rows, keep - 1)
        return [tuple(row[-len(a) :]) for row, a in zip(picked.tolist(), answers, strict=True)]


def _by_length(rows: Mapping[int, Row]) -> list[int]:
    return sorted(rows, key=lambda i: len(rows[i].token_ids))


def _batches(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
