"""The policy's own tokenizer: byte-level BPE over the generated text, and the chat template.

Words, single digits and runs of punctuation (blanks included) are separate pieces, so a value has
the same tokens behind a blank in a request as behind a quote in a call: copying it is easy.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.pretrain.text import draw_dialogue

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PLAIN = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
"""Tokens of their own that are not special: decoding with skip_special_tokens keeps them, or the
reward would never see a call."""
PIECES = r"\p{Lu}?[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{Lu}+|\p{N}|[^\p{L}\p{N}\p{M}]+"
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def _draw_texts(count: int, seed: int) -> Iterator[str]:
    """Plain text of generated dialogues: tool lines, turns, calls as JSON."""
    scribe = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    scribe.chat_template = TEMPLATE.read_text()
    rng = random.Random(f"tokenizer-{seed}")
    for _ in range(count):
        dialogue = draw_dialogue(rng)
        text = scribe.apply_chat_template(
            dialogue.messages, tools=[tool.build_spec() for tool in dialogue.tools], tokenize=False
        )
        for token in (*SPECIAL, *PLAIN):
            text = text.replace(token, "")
        yield text


def train_tokenizer(
    vocab_size: int = 2048, dialogues: int = 20_000, seed: int = 0
) -> PreTrainedTokenizerFast:
    """A tokenizer with exactly `vocab_size` entries, chat template set."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(PLAIN),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_draw_texts(dialogues, seed), trainer)
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        additional_special_tokens=[SPECIAL[1]],
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE.read_text()
    if len(tokenizer) != vocab_size:
        raise ValueError(f"the tokenizer has {len(tokenizer)} entries, expected {vocab_size}")
    return tokenizer
