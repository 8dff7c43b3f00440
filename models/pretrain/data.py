"""Batches for pre-training: dialogues as tokens, with the assistant's turns marked.

Batches hold dialogues of like length, padded to a multiple of 32: few distinct shapes, or the CPU
kernels are prepared anew for each. A process of its own draws them ahead of the trainer.
"""

from __future__ import annotations

import functools
import multiprocessing as mp
import random
from collections.abc import Iterator
from pathlib import Path
from queue import Full
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from models.pretrain.lessons import draw_drill_dialogue, draw_easy_dialogue
from models.pretrain.taught import draw_taught
from models.pretrain.text import Dialogue, draw_dialogue

BATCH = 64
BUCKET = 32
"""Batches per bucket: dialogues are sorted by length within one bucket."""
MAX_TOKENS = 768
PAD_MULTIPLE = 32
TAUGHT_RATE = 0.6
"""Share of the scripted teacher's dialogues once they come in."""

Batch = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""Token ids and which of them are to be learnt, both (batch, length)."""

Mix = tuple[float, float, float]
"""Shares of drill, easy and full dialogues."""


def render_dialogue(tokenizer: PreTrainedTokenizerBase, dialogue: Dialogue) -> str:
    """The dialogue as the chat template writes it."""
    tools = [tool.build_spec() for tool in dialogue.tools]
    text = tokenizer.apply_chat_template(dialogue.messages, tools=tools, tokenize=False)
    assert isinstance(text, str)
    return text


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[bool]]:
    """Token ids, and True where an assistant's turn (its end token included) is to be learnt."""
    head = "<|im_start|>assistant\n"
    ids: list[int] = []
    learnt: list[bool] = []
    for index, piece in enumerate(text.split(head)):
        answer, end, rest = piece.partition("<|im_end|>") if index else ("", "", piece)
        later = rest + head
        for part, flag in ((answer + end, True), (later, False)):
            tokens = tokenizer(part, add_special_tokens=False)["input_ids"] if part else []
            ids += tokens
            learnt += [flag] * len(tokens)
    surplus = len(tokenizer(head, add_special_tokens=False)["input_ids"])
    return ids[:-surplus], learnt[:-surplus]


def draw_bucket(
    tokenizer: PreTrainedTokenizerBase, seed: int, index: int, mix: Mix, taught_rate: float
) -> list[Batch]:
    """`BUCKET` batches; the same for the same arguments."""
    rng = random.Random(f"train-{seed}-{index}")
    taught = round(BATCH * BUCKET * taught_rate)
    rows = list(_draw_taught_rows(tokenizer, f"{seed}-{index // 2}", taught))
    for _ in range(BATCH * BUCKET - len(rows)):
        draw = rng.choices((draw_drill_dialogue, draw_easy_dialogue, draw_dialogue), mix)[0]
        dialogue = draw(rng)
        rows.append(encode_text(tokenizer, render_dialogue(tokenizer, dialogue)))
    rows.sort(key=lambda row: len(row[0]))
    batches = [_pad(rows[i : i + BATCH], tokenizer) for i in range(0, len(rows), BATCH)]
    rng.shuffle(batches)
    return batches


@functools.lru_cache(maxsize=1)
def _draw_taught_rows(
    tokenizer: PreTrainedTokenizerBase, seed: str, count: int
) -> tuple[tuple[list[int], list[bool]], ...]:
    """`count` dialogues of the scripted teacher; kept for the next bucket: they cost more than a step."""
    if not count:
        return ()
    rows = []
    for tools, messages in draw_taught(seed, count):
        text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
        assert isinstance(text, str)
        rows.append(encode_text(tokenizer, text))
    return tuple(rows[:count])


def _pad(rows: list[tuple[list[int], list[bool]]], tokenizer: PreTrainedTokenizerBase) -> Batch:
    longest = min(max(len(ids) for ids, _ in rows), MAX_TOKENS)
    length = -(-longest // PAD_MULTIPLE) * PAD_MULTIPLE
    tokens = np.full((len(rows), length), tokenizer.pad_token_id, dtype=np.int32)
    learnt = np.zeros((len(rows), length), dtype=np.bool_)
    for row, (ids, flags) in enumerate(rows):
        tokens[row, : len(ids)] = ids[:length]
        learnt[row, : len(flags)] = flags[:length]
    return tokens, learnt


def compute_mix(step: int, lesson_steps: int) -> Mix:
    """Drill first, then easy dialogues, then over as many steps the full mix."""
    lesson = step / max(1, lesson_steps)
    if lesson < 1:
        return (1.0, 0.0, 0.0)
    full = 0.85 * min(1.0, max(0.0, lesson - 2))
    return (0.2 * (1 - full), 0.8 * (1 - full), full)


def _fill(
    queue: Any, folder: Path, seed: int, first: int, lesson_steps: int, taught_from: int
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    trainer = mp.parent_process()
    index = first
    while True:
        mix = compute_mix(index * BUCKET, lesson_steps)
        taught_rate = TAUGHT_RATE if index * BUCKET >= taught_from else 0.0
        for batch in draw_bucket(tokenizer, seed, index, mix, taught_rate):
            while not _offer(queue, batch):
                if not (trainer and trainer.is_alive()):
                    return
        index += 1


def _offer(queue: Any, batch: Batch) -> bool:
    try:
        queue.put(batch, timeout=5)
    except Full:
        return False
    return True


def stream_batches(
    folder: Path, seed: int, first: int, lesson_steps: int, taught_from: int
) -> Iterator[Batch]:
    """Endless batches from bucket `first` on, drawn ahead by a process of their own."""
    context = mp.get_context("spawn")
    queue: Any = context.Queue(maxsize=4 * BUCKET)
    worker = context.Process(
        target=_fill, args=(queue, folder, seed, first, lesson_steps, taught_from), daemon=True
    )
    worker.start()
    try:
        while True:
            yield queue.get()
    finally:
        worker.terminate()
