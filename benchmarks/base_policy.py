"""The base policy on the held-out samples of a profile: greedy and sampled pass rates by kind.

    python -m benchmarks.base_policy --profile laptop --samples 400 --rounds 4

What the policy never samples, GRPO never learns: every kind wants a sampled pass rate of some percent.
"""

import argparse
import asyncio
import json
from collections import Counter
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from looptool.config import LoopConfig
from looptool.records import Sample, Split
from looptool.seed import collect_tools, simulate_dialogues, split_tools
from models.pretrain import evaluate
from tasks.profiles import resolve_profile
from tasks.scope import Scope
from tasks.teacher import open_teacher


async def draw_heldout(config: LoopConfig, count: int) -> list[Sample]:
    """Held-out samples as the seed stage makes them, seen and unseen tools alike."""
    tools = collect_tools(config.seed.sources).tools
    seen, unseen = split_tools(tools, config.seed.unseen_tool_rate, config.random_seed)
    samples: list[Sample] = []
    async with open_teacher(Scope(campaign="bench", iteration=0, config=config)) as teacher:
        for split, some, share in (
            (Split.HELDOUT_SEEN, seen, 2),
            (Split.HELDOUT_UNSEEN, unseen, 1),
        ):
            made = await simulate_dialogues(
                config.seed,
                some,
                teacher,
                split=split,
                target_samples=count * share // 3,
                random_seed=config.random_seed,
            )
            samples += made.samples
    return samples


def as_prompt(sample: Sample) -> evaluate.Sample:
    """The sample in the shape of the pre-training's own evaluation."""
    return evaluate.Sample(
        kind=str(sample.kind),
        messages=sample.chat(),
        tools=sample.tool_specs(),
        label=sample.label.as_calls(),
    )


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--model", default="")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    config = resolve_profile(options.profile)
    samples = asyncio.run(draw_heldout(config, options.samples))
    folder = options.model or config.policy.base
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(config.random_seed)
    prompts = [as_prompt(sample) for sample in samples]
    greedy = evaluate.measure(model, tokenizer, prompts)
    rounds: list[dict[str, Any]] = [
        evaluate.measure(model, tokenizer, prompts, sample=True) for _ in range(options.rounds)
    ]
    counts = Counter(prompt.kind for prompt in prompts)
    print(f"{'kind':12} {'n':>5} {'greedy':>8} {'sampled':>8}")
    for kind, n in sorted(counts.items()):
        sampled = sum(r[kind] for r in rounds) / len(rounds)
        print(f"{kind:12} {n:5} {100 * greedy[kind]:7.1f}% {100 * sampled:7.1f}%")
    overall = sum(greedy[kind] * n for kind, n in counts.items()) / sum(counts.values())
    print(json.dumps({"samples": len(prompts), "greedy_all": round(overall, 4)}))


if __name__ == "__main__":
    main()
