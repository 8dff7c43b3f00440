"""The transformers engine gives what the model itself would give."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from looptool.engines import EngineOptions, Limits, Prompt, Sampling, open_engine

pytestmark = pytest.mark.engines

BASE = Path(__file__).parents[2] / "models" / "nano-base"

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PROMPTS = [
    Prompt(messages=[{"role": "user", "content": "Hi" + " there" * n}], tools=[TOOL] * (n % 2))
    for n in (0, 30, 1, 12, 3)
]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Any:
    from looptool.engines.transformers import TransformersEngine

    return TransformersEngine(tiny_model)


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(tiny_model)


def _prompt_ids(tokenizer: Any, prompt: Prompt) -> Any:
    import torch

    text = tokenizer.apply_chat_template(
        list(prompt.messages),
        tools=list(prompt.tools) or None,
        add_generation_prompt=True,
        tokenize=False,
    )
    return torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])


def _logprobs(model: Any, ids: Any, start: int) -> list[float]:
    import torch

    with torch.no_grad():
        table = model(input_ids=ids).logits.float().log_softmax(-1)[0]
    return [float(table[i - 1, ids[0, i]]) for i in range(start, ids.size(1))]


def test_batched_greedy_text_is_that_of_plain_generation_one_by_one(
    engine: Any, plain: tuple[Any, Any]
) -> None:
    model, tokenizer = plain
    found = engine.generate(PROMPTS, Limits(40, 512, 3))
    for prompt, generation in zip(PROMPTS, found, strict=True):
        ids = _prompt_ids(tokenizer, prompt)
        whole = model.generate(ids, do_sample=False, max_new_tokens=40)[0, ids.size(1) :].tolist()
        assert list(generation.token_ids) == whole
        assert generation.text == tokenizer.decode(whole, skip_special_tokens=True)
        assert generation.prompt_tokens == ids.size(1)


def test_log_probabilities_are_those_of_a_hand_computation(
    engine: Any, plain: tuple[Any, Any]
) -> None:
    import torch

    model, tokenizer = plain
    label = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    labels = [None, label, "No tool fits.", label, None]
    found = engine.generate(PROMPTS, Limits(9, 512, 3), label_texts=labels)
    for prompt, generation, text in zip(PROMPTS, found, labels, strict=True):
        ids = _prompt_ids(tokenizer, prompt)
        own = torch.cat([ids, torch.tensor([generation.token_ids])], dim=1)
        assert generation.token_logprobs == pytest.approx(
            _logprobs(model, own, ids.size(1)), abs=1e-4
        )
        if text is None:
            assert generation.label_logprobs is None
            continue
        answer = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        forced = torch.cat([ids, torch.tensor([answer])], dim=1)
        expected = _logprobs(model, forced, ids.size(1))
        assert generation.label_logprobs == pytest.approx(expected, abs=1e-4)
        assert math.isfinite(sum(generation.label_logprobs))


def test_a_prompt_that_does_not_fit_is_a_record_and_the_others_are_answered(
    engine: Any, plain: tuple[Any, Any]
) -> None:
    lengths = [_prompt_ids(plain[1], prompt).size(1) for prompt in PROMPTS]
    limit = sorted(lengths)[2]
    found = engine.generate(PROMPTS, Limits(4, limit, 3))
    assert [g.failure == "prompt_too_long" for g in found] == [n > limit for n in lengths]
    assert [g.prompt_tokens for g in found] == lengths
    assert [bool(g.token_ids) for g in found] == [n <= limit for n in lengths]


def test_an_answer_at_the_token_limit_is_marked_truncated(engine: Any) -> None:
    found = engine.generate(PROMPTS[:1], Limits(1, 512))[0]
    assert found.truncated
    assert len(found.token_ids) == 1


def test_progress_counts_every_prompt(engine: Any) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate(
        PROMPTS,
        Limits(2, 512, 2),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_tokens_are_found_in_the_text_even_inside_characters(plain: tuple[Any, Any]) -> None:
    from looptool.engines.tokens import locate_tokens

    _, tokenizer = plain
    said = 'Grüße 🙂🙂 aus <tool_call>\n{"name": "a"}\n</tool_call> ' * 3
    ids = tokenizer(said, add_special_tokens=False)["input_ids"]
    text, ends = locate_tokens(tokenizer, ids)
    assert text == said
    assert ends[-1] == len(text)
    assert list(ends) == sorted(ends)
    starts = (0, *ends[:-1])
    pieces = [text[a:b] for a, b in zip(starts, ends, strict=True)]
    assert pieces.count("<tool_call>") == 3


def test_tool_call_markers_survive_decoding(plain: tuple[Any, Any]) -> None:
    _, tokenizer = plain
    ids = tokenizer("<tool_call>x</tool_call>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<tool_call>x</tool_call>"


def test_answers_are_drawn_from_the_seed(check_drawn: Callable[..., None]) -> None:
    engine = open_engine("transformers", BASE, EngineOptions(threads=2))
    try:
        check_drawn(engine)
    finally:
        engine.close()


def test_tokens_are_drawn_as_often_as_the_model_says(engine: Any) -> None:
    """All answers to a prompt, sharing its keys, against the probabilities of the first token."""
    drawn = engine.sample(PROMPTS[:1] * 4, Limits(3, 512, 4), Sampling(500, 1.0, 5))
    firsts = Counter(one.token_ids[0] for answers in drawn for one in answers)
    likely = {one.token_ids[0]: one.token_logprobs[0] for answers in drawn for one in answers}
    for token, logprob in likely.items():
        expected = 2000 * math.exp(logprob)
        assert abs(firsts[token] - expected) < 5 * math.sqrt(expected + 1), token


def test_drawn_answers_over_shared_keys_have_the_log_probabilities_of_a_plain_pass(
    engine: Any, plain: tuple[Any, Any]
) -> None:
    import torch

    model, tokenizer = plain
    drawn = engine.sample(PROMPTS, Limits(12, 512, 3), Sampling(6, 2.0, 1))
    for prompt, answers in zip(PROMPTS, drawn, strict=True):
        ids = _prompt_ids(tokenizer, prompt)
        for one in answers:
            whole = torch.cat([ids, torch.tensor([one.token_ids])], dim=1)
            expected = _logprobs(model, whole, ids.size(1))
            assert one.token_logprobs == pytest.approx(expected, abs=1e-4)
