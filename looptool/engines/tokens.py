"""The tokenizer's side of an engine: prompts to token ids by the model's own chat template, and back.

Shared by every engine, so that their prompts, texts and token places are the same by construction.
Needs transformers, no torch.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from looptool.engines import Generation, LabelTexts, Limits, Prompt
from looptool.errors import ConfigError

CHUNK_TOKENS = 16
"""Tokens decoded at once when their places in the text are sought."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt that fits."""

    token_ids: list[int]
    label_ids: list[int] | None = None
    """The label and the end of turn after it; None: not asked for."""


class TokenSide:
    """Tokenizer, chat template, end-of-turn tokens and context length of one checkpoint."""

    def __init__(self, folder: Path) -> None:
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as exc:
            raise ConfigError(f"the tokenizer in {folder} cannot be loaded: {exc}") from exc
        config = _read_json(folder / "config.json")
        generation = _read_json(folder / "generation_config.json")
        found = generation.get("eos_token_id", config.get("eos_token_id"))
        ends = {*(found if isinstance(found, list) else [found]), self.tokenizer.eos_token_id}
        self.end_ids = sorted(i for i in ends if i is not None)
        if not self.end_ids or not self.tokenizer.chat_template:
            raise ConfigError(
                f"model folder {folder} needs an end-of-turn token and a chat template"
            )
        self.max_tokens: int = config.get("max_position_embeddings", 1 << 30)
        self._pieces: dict[int, str] = {}

    def fit_all(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        label_texts: LabelTexts = None,
        context_tokens: int | None = None,
    ) -> Iterator[Row | Generation]:
        """`fit` for every prompt, in order."""
        labels = label_texts if label_texts is not None else [None] * len(prompts)
        for prompt, label in zip(prompts, labels, strict=True):
            yield self.fit(prompt, label, limits, context_tokens)

    def fit(
        self,
        prompt: Prompt,
        label: str | None,
        limits: Limits,
        context_tokens: int | None = None,
    ) -> Row | Generation:
        """The prompt as tokens, or the record that says why it has no answer."""
        try:
            token_ids = render_prompt(self.tokenizer, prompt)
        except Exception as exc:  # a template may fail in any way on odd input: that is bad data
            return Generation(failure=f"prompt_unrenderable: {type(exc).__name__}")
        room = min(self.max_tokens, context_tokens or self.max_tokens) - limits.max_new_tokens
        if len(token_ids) > min(limits.max_prompt_tokens, room):
            return Generation(failure="prompt_too_long", prompt_tokens=len(token_ids))
        return Row(token_ids, None if label is None else self.label_ids(label))

    def label_ids(self, text: str) -> list[int]:
        """Tokens of a label and of the end of turn after it."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        return [*ids, self.end_ids[0] if end is None else end]

    def answer(
        self,
        row: Row,
        token_ids: Sequence[int],
        logprobs: Sequence[float],
        label_logprobs: Sequence[float] | None = None,
    ) -> Generation:
        """What was generated after a prompt, with its text."""
        text, ends = self.locate(token_ids)
        return Generation(
            text=text,
            token_ids=tuple(token_ids),
            token_logprobs=tuple(logprobs),
            token_ends=ends,
            truncated=not token_ids or token_ids[-1] not in self.end_ids,
            prompt_tokens=len(row.token_ids),
            label_logprobs=None if label_logprobs is None else tuple(label_logprobs),
        )

    def locate(self, token_ids: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        """The decoded text, and the character at which each token ends in it.

        A token mostly says the same wherever it stands: then remembered pieces do, which is many
        times faster than decoding. Where a character is spread over tokens, they are decoded.
        """
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=True)
        pieces = [self._piece(i) for i in token_ids]
        if "".join(pieces) != text:
            return locate_tokens(self.tokenizer, token_ids)
        ends, at = [], 0
        for piece in pieces:
            at += len(piece)
            ends.append(at)
        return text, tuple(ends)

    def _piece(self, token_id: int) -> str:
        piece = self._pieces.get(token_id)
        if piece is None:
            piece = self.tokenizer.decode([token_id], skip_special_tokens=True)
            self._pieces[token_id] = piece
        return piece


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
    """The decoded text, and the character at which each token ends in it, by decoding alone."""
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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc
    return found
