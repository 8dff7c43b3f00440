"""How often the policy decides right on freshly drawn tools, by kind of decision.

    python -m models.pretrain.evaluate --model models/nano-base

Greedy exact match and the sampled pass rate at temperature 1. A text answer is right when it makes
no call and says something; what it says is not compared (matching rule R3).
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from looptool.calls import answers_match, parse_reply
from models.pretrain.text import KINDS, NEEDS, Dialogue, draw_dialogue

TEXT_KINDS = ("clarify", "no_tool", "summary")


@dataclass(frozen=True, slots=True)
class Sample:
    """One decision: the turns before it and the label."""

    kind: str
    tools: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    label: list[dict[str, Any]]
    """The calls; empty when the right answer is text."""


def split_dialogue(dialogue: Dialogue) -> list[Sample]:
    """One sample per assistant turn."""
    tools = [tool.build_spec() for tool in dialogue.tools]
    turns = [i for i, message in enumerate(dialogue.messages) if message["role"] == "assistant"]
    samples = []
    for kind, turn in zip(dialogue.kinds, turns, strict=True):
        calls = [call["function"] for call in dialogue.messages[turn].get("tool_calls", [])]
        samples.append(Sample(kind, tools, dialogue.messages[:turn], calls))
    return samples


def draw_samples(seed: int, per_kind: int) -> list[Sample]:
    """`per_kind` samples of each kind, on tools that no training seed draws."""
    rng = random.Random(f"heldout-{seed}")
    chosen: dict[str, list[Sample]] = defaultdict(list)
    while any(len(chosen[kind]) < per_kind for kind in KINDS):
        for sample in split_dialogue(draw_dialogue(rng, rng.choice(NEEDS))):
            if len(chosen[sample.kind]) < per_kind:
                chosen[sample.kind].append(sample)
    return [sample for kind in KINDS for sample in chosen[kind]]


def matches(answer: str, sample: Sample) -> bool:
    """The project's one matching rule: the same calls, or text where text is due."""
    return answers_match(parse_reply(answer), sample.label, sample.tools)


def generate_answers(
    model: Any, tokenizer: Any, samples: list[Sample], *, sample: bool = False, batch: int = 60
) -> list[str]:
    """One answer per sample, greedy or at temperature 1; prompts padded on the left."""
    prompts = [
        tokenizer.apply_chat_template(
            item.messages, tools=item.tools, add_generation_prompt=True, tokenize=False
        )
        for item in samples
    ]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(prompts)
    how = {"do_sample": sample} | ({"temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {})
    tokenizer.padding_side = "left"
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        inputs = tokenizer(
            [prompts[i] for i in chosen],
            return_tensors="pt",
            padding=True,
            pad_to_multiple_of=32,
            add_special_tokens=False,
            return_token_type_ids=False,
        )
        output = model.generate(**inputs, max_new_tokens=160, **how)
        texts = tokenizer.batch_decode(
            output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        for index, text in zip(chosen, texts, strict=True):
            answers[index] = text
    return answers


def measure(
    model: Any, tokenizer: Any, samples: list[Sample], *, sample: bool = False
) -> dict[str, float]:
    """Share of right answers by kind."""
    right: dict[str, list[bool]] = defaultdict(list)
    answers = generate_answers(model, tokenizer, samples, sample=sample)
    for item, answer in zip(samples, answers, strict=True):
        right[item.kind].append(matches(answer, item))
    return {kind: round(sum(flags) / len(flags), 3) for kind, flags in right.items()}


def main() -> None:
    """Prints one JSON object: greedy and sampled shares by kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=Path("models/nano-base"))
    parser.add_argument("--per-kind", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2, help="sampled answers per prompt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print per kind")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    samples = draw_samples(options.seed, options.per_kind)
    greedy = measure(model, tokenizer, samples)
    rounds = [measure(model, tokenizer, samples, sample=True) for _ in range(options.rounds)]
    sampled = {
        kind: round(sum(r[kind] for r in rounds) / len(rounds), 3) for kind in greedy if rounds
    }
    print(json.dumps({"per_kind": options.per_kind, "greedy": greedy, "sampled": sampled}))
    if options.show:
        show_mistakes(model, tokenizer, samples, options.show)


def show_mistakes(model: Any, tokenizer: Any, samples: list[Sample], count: int) -> None:
    """Prints the first wrong greedy answers of each kind with their prompt's end and label."""
    shown: dict[str, int] = defaultdict(int)
    answers = generate_answers(model, tokenizer, samples)
    for sample, answer in zip(samples, answers, strict=True):
        if shown[sample.kind] >= count or matches(answer, sample):
            continue
        shown[sample.kind] += 1
        prompt = tokenizer.apply_chat_template(sample.messages, tools=sample.tools, tokenize=False)
        print(f"--- {sample.kind}\n{prompt}label:  {json.dumps(sample.label)}\nanswer: {answer}")


if __name__ == "__main__":
    main()
