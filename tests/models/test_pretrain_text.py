"""The generated text: sound labels, every kind of decision, the turns to be learnt marked rightly."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from looptool.calls import check_label

transformers = pytest.importorskip("transformers")

from models.pretrain.data import compute_mix, draw_bucket, encode_text, render_dialogue  # noqa: E402
from models.pretrain.evaluate import split_dialogue  # noqa: E402
from models.pretrain.lessons import draw_drill_dialogue, draw_easy_dialogue  # noqa: E402
from models.pretrain.text import KINDS, Dialogue, draw_dialogue  # noqa: E402

pytestmark = pytest.mark.engines

FOLDER = Path(__file__).parents[2] / "models" / "nano-base"
Draw = Callable[[random.Random], Dialogue]
DRAWS: list[Draw] = [draw_drill_dialogue, draw_easy_dialogue, draw_dialogue]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(FOLDER)


@pytest.mark.parametrize("draw", DRAWS)
def test_every_label_satisfies_its_schema(draw: Draw) -> None:
    rng = random.Random(0)
    for _ in range(200):
        for sample in split_dialogue(draw(rng)):
            assert check_label(sample.label, sample.tools) == []


def test_the_full_mix_holds_every_kind_and_no_kind_rules() -> None:
    rng = random.Random(1)
    counts = Counter(kind for _ in range(1000) for kind in draw_dialogue(rng).kinds)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 0.03 * counts.total()
    assert max(counts.values()) < 0.5 * counts.total()


def test_text_answers_have_no_calls_and_the_others_have() -> None:
    rng = random.Random(2)
    for _ in range(300):
        for sample in split_dialogue(draw_dialogue(rng)):
            assert bool(sample.label) == (sample.kind not in ("clarify", "no_tool", "summary"))


def test_a_clarification_is_followed_by_the_call_it_was_for() -> None:
    rng = random.Random(3)
    for _ in range(200):
        dialogue = draw_dialogue(rng, "clarify")
        samples = split_dialogue(dialogue)
        for asked, told in itertools.pairwise(samples):
            if asked.kind == "clarify":
                assert told.kind == "supplied"


@pytest.mark.parametrize("draw", DRAWS)
def test_tokens_are_the_template_s_and_the_assistant_s_turns_are_learnt(
    tokenizer: Any, draw: Draw
) -> None:
    rng = random.Random(4)
    for _ in range(30):
        dialogue = draw(rng)
        text = render_dialogue(tokenizer, dialogue)
        ids, learnt = encode_text(tokenizer, text)
        assert tokenizer.decode(ids) == text
        assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
        ends = sum(
            flag and token == tokenizer.eos_token_id
            for token, flag in zip(ids, learnt, strict=True)
        )
        assert ends == len(dialogue.kinds)


def test_batches_are_padded_to_multiples_of_32_and_repeat_with_the_seed(tokenizer: Any) -> None:
    first = draw_bucket(tokenizer, 0, 0, (1.0, 0.0, 0.0), taught_rate=0.02)
    again = draw_bucket(tokenizer, 0, 0, (1.0, 0.0, 0.0), taught_rate=0.02)
    for (tokens, learnt), (same, _) in zip(first, again, strict=True):
        assert tokens.shape == learnt.shape
        assert tokens.shape[1] % 32 == 0
        assert (tokens == same).all()


def test_the_mix_goes_from_drill_over_easy_to_full() -> None:
    assert compute_mix(0, 400) == (1.0, 0.0, 0.0)
    assert compute_mix(400, 400) == (0.2, 0.8, 0.0)
    drill, easy, full = compute_mix(2000, 400)
    assert (round(drill, 3), round(easy, 3), round(full, 3)) == (0.03, 0.12, 0.85)
