"""What our layer costs over bare `LLM.generate`, on the same prompts with the same settings.

    python -m benchmarks.vllm_overhead [--model models/nano-base] [--prompts 256] [--rounds 5]

Both engines stay open and take turns; a round of ours is timed from the caller's side, with the pipe
to the child, text, token places and log-probabilities. Both render the prompts within the time.
"""

import argparse
import dataclasses
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

from looptool.engines import EngineOptions, Limits, Prompt, check_model_folder, open_engine
from looptool.engines.interpreter import find_python
from looptool.engines.process import Child
from models.pretrain.text import NEEDS, draw_dialogue


def draw_prompts(count: int) -> list[Prompt]:
    """First decisions of drawn dialogues."""
    rng = random.Random(7)
    found = []
    for _ in range(count):
        dialogue = draw_dialogue(rng, rng.choice(NEEDS))
        first = next(i for i, m in enumerate(dialogue.messages) if m["role"] == "assistant")
        tools = [tool.build_spec() for tool in dialogue.tools]
        found.append(Prompt(messages=dialogue.messages[:first], tools=tools))
    return found


def measure(folder: Path, count: int, rounds: int, new_tokens: int) -> dict[str, Any]:
    """Seconds of every round, both ways, and the overhead, the median over rounds."""
    prompts = draw_prompts(count)
    options = EngineOptions(context_tokens=2048, cache_gib=1.0, timeout_s=600)
    engine = open_engine("vllm", folder, options)
    bare = Child("benchmarks.bare_vllm", python=find_python("vllm"))
    asked = [[list(p.messages), list(p.tools)] for p in prompts]
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    with bare:
        request = {"checkpoint": str(folder), "options": dataclasses.asdict(options)}
        bare.request({"op": "open", **request}, timeout_s=600)
        tokens = 0
        for number in range(rounds + 1):
            began = time.monotonic()
            engine.generate(prompts, Limits(new_tokens, 2048 - new_tokens))
            ours = time.monotonic() - began
            work = {"op": "generate", "prompts": asked, "max_new_tokens": new_tokens}
            theirs = bare.request(work, timeout_s=600)
            tokens = theirs["tokens"]
            if number:  # the first round warms up
                seconds["ours"].append(ours)
                seconds["bare"].append(theirs["seconds"])
    engine.close()
    ours, theirs = (statistics.median(seconds[name]) for name in ("ours", "bare"))
    pairs = list(zip(seconds["ours"], seconds["bare"], strict=True))
    return {
        "model": folder.name,
        "prompts": count,
        "generated_tokens": tokens,
        "seconds": seconds,
        "tokens_per_s": {"ours": tokens / ours, "bare": tokens / theirs},
        "overhead_rate": statistics.median(a / b for a, b in pairs) - 1,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/nano-base"))
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=64)
    given = parser.parse_args()
    found = measure(check_model_folder(given.model), given.prompts, given.rounds, given.new_tokens)
    print(json.dumps(found, indent=1))
