"""The policy by Hugging Face transformers: greedy, batched, without a server.

Runs inside the child process (`looptool.engines.job`), never in the caller's. Prompts are sorted by
length and padded on the left to multiples of 32; log-probabilities come from fp32 logits.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from looptool.engines import EngineInfo, Generation, Prompt
from looptool.engines.decode import Decoded, decode, end_token_ids, pad_left, positions
from looptool.errors import ConfigError

LOGIT_FLOATS = 1 << 27
"""Largest block of logits that label scoring holds at once (512 MiB)."""
CHUNK_TOKENS = 16
"""Tokens decoded at once when their places in the text are sought."""


class TransformersEngine:
    """`looptool.engines.Engine` in this process."""

    def __init__(self, checkpoint_dir: Path, *, dtype: str = "float32") -> None:
        self._folder = checkpoint_dir
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(checkpoint_dir)
            self._model = AutoModelForCausalLM.from_pretrained(
                checkpoint_dir, dtype=getattr(torch, dtype)
            ).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as exc:
            raise ConfigError(f"model folder {checkpoint_dir} cannot be loaded: {exc}") from exc
        self._ends = end_token_ids(self._model, self._tokenizer)
        if not self._ends or not self._tokenizer.chat_template:
            raise ConfigError(
                f"model folder {checkpoint_dir} needs an end-of-turn token and a chat template"
            )
        pad = self._tokenizer.pad_token_id
        self._pad = pad if pad is not None else self._ends[0]
        self._limit = getattr(self._model.config, "max_position_embeddings", 1 << 30)

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
        *,
        max_new_tokens: int,
        max_prompt_tokens: int,
        batch_size: int = 64,
        label_texts: Sequence[str | None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`."""
        labels = list(label_texts) if label_texts is not None else [None] * len(prompts)
        found: list[Generation | None] = [None] * len(prompts)
        token_ids: dict[int, list[int]] = {}
        limit = min(max_prompt_tokens, self._limit - max_new_tokens)
        for i, prompt in enumerate(prompts):
            try:
                ids = render_prompt(self._tokenizer, prompt)
            except (
                Exception
            ) as exc:  # a template may fail in any way on odd input: that is bad data
                found[i] = Generation(failure=f"prompt_unrenderable: {type(exc).__name__}")
                continue
            if len(ids) > limit:
                found[i] = Generation(failure="prompt_too_long", prompt_tokens=len(ids))
            else:
                token_ids[i] = ids
        done = len(prompts) - len(token_ids)
        for batch in _batches(sorted(token_ids, key=lambda i: len(token_ids[i])), batch_size):
            rows = [token_ids[i] for i in batch]
            decoded = self._decode(rows, max_new_tokens)
            scored = self._score_labels(rows, [labels[i] for i in batch])
            for i, one, label_logprobs in zip(batch, decoded, scored, strict=True):
                found[i] = self._generation(one, len(token_ids[i]), label_logprobs)
            done += len(batch)
            if on_progress is not None:
                on_progress(done, len(prompts))
        return [generation for generation in found if generation is not None]

    def _decode(self, rows: Sequence[Sequence[int]], max_new_tokens: int) -> list[Decoded]:
        found: list[Decoded] = decode(
            self._model,
            rows,
            max_new_tokens=max_new_tokens,
            end_ids=self._ends,
            pad_id=self._pad,
        )
        return found

    def _generation(
        self, decoded: Decoded, prompt_tokens: int, label_logprobs: tuple[float, ...] | None
    ) -> Generation:
        text, ends = locate_tokens(self._tokenizer, decoded.token_ids)
        return Generation(
            text=text,
            token_ids=decoded.token_ids,
            token_logprobs=decoded.logprobs,
            token_ends=ends,
            truncated=not decoded.ended,
            prompt_tokens=prompt_tokens,
            label_logprobs=label_logprobs,
        )

    def _score_labels(
        self, rows: Sequence[Sequence[int]], labels: Sequence[str | None]
    ) -> list[tuple[float, ...] | None]:
        """Teacher forcing: log-probabilities of each label and the end of turn after its prompt."""
        found: list[tuple[float, ...] | None] = [None] * len(rows)
        wanted: dict[int, list[int]] = {}
        end = self._tokenizer.eos_token_id
        for i, text in enumerate(labels):
            if text is not None:
                ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
                wanted[i] = [*ids, self._ends[0] if end is None else end]
        if not wanted:
            return found
        longest = max(len(ids) for ids in wanted.values())
        size = max(1, LOGIT_FLOATS // (longest * self._model.config.vocab_size))
        for batch in _batches(list(wanted), size):
            scored = self._force([rows[i] for i in batch], [wanted[i] for i in batch])
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


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt by the model's own chat template."""
    text = tokenizer.apply_chat_template(
        list(prompt.messages),
        tools=list(prompt.tools) or None,
        add_generation_prompt=True,
        tokenize=False,
    )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def locate_tokens(tokenizer: Any, token_ids: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """The decoded text, and the character at which each token ends in it."""
    text = tokenizer.decode(list(token_ids), skip_special_tokens=True)
    ends: list[int] = []
    start, base = 0, 0  # first token of the chunk, and where it begins in the text
    for i in range(len(token_ids)):
        piece = tokenizer.decode(list(token_ids[start : i + 1]), skip_special_tokens=True)
        ends.append(min(base + len(piece), len(text)))
        # A chunk may only be closed where no character is cut in the middle of its bytes.
        if i + 1 - start >= CHUNK_TOKENS and not piece.endswith("\ufffd"):
            start, base = i + 1, ends[-1]
    return text, tuple(ends)


def _batches(items: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
