"""A million mutated replies through the parser and the matching rule: no exception, and no verdict by halves.

    python -m benchmarks.mutated_replies --replies 1000000 --out benchmarks/results/mutated_replies.json

The replies are real ones: what the base policy answers greedily to the samples of a small seed phase, and the
labels of these samples as a policy that has learned them would write them. Each is changed by a seeded mutation
(`fuzz.mutate`), of its text or of the call inside, and compared with the sample's own label in both directions.
The same seed gives the same replies.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console

from benchmarks.seed_noise import run_seed_phase
from fuzz.mutate import mutate_json, mutate_text
from looptool.artifacts import Store
from looptool.calls import ToolIndex, calls_match, explain_mismatch, parse_reply
from looptool.config import ProbeConfig, parse_config
from looptool.engines.client import borrow_engine, close_engines
from looptool.engines.grading import render_label
from looptool.probe import probe_samples
from looptool.records import JsonObject, Sample

BASE = Path(__file__).resolve().parent.parent / "models" / "nano-base"
SLOW_S = 1.0
"""A reply that takes longer is listed."""


@dataclass(frozen=True)
class Case:
    """A real reply, with what it answers."""

    reply: str
    label: list[dict[str, Any]]
    tools: ToolIndex


def make_samples(count: int) -> list[Sample]:
    """The pool of a seed phase of about this size."""
    with tempfile.TemporaryDirectory() as folder:
        seed = {
            "train_samples": count - count // 4,
            "heldout_samples": count // 4,
            "heldout_unseen_samples": count // 8,
            "tools_min": 3,
            "tools_max": 5,
        }
        config = parse_config({"store": {"root": folder}, "seed": seed})
        return Store(folder).read(run_seed_phase(config), "samples", Sample)


def real_replies(samples: Sequence[Sample], policy: Path) -> list[str]:
    """The greedy answer of a policy to each sample."""
    config = ProbeConfig(max_new_tokens=128, label_ppl=False)
    try:
        with borrow_engine("transformers", policy) as engine:
            results, _ = probe_samples(samples, config, engine)
    finally:
        close_engines()
    return [result.output for result in results]


def make_cases(samples: Sequence[Sample], answers: Sequence[str]) -> list[Case]:
    """Each sample twice: answered by its label, and by the policy."""
    cases = []
    for sample, answer in zip(samples, answers, strict=True):
        tools = ToolIndex([tool.as_openai() for tool in sample.tools])
        label = sample.label.as_calls()
        cases += [Case(reply, label, tools) for reply in (render_label(sample), answer)]
    return cases


def mutate_reply(rng: Random, case: Case, others: Sequence[str]) -> str:
    """The reply with a change of its text, or of the JSON between its first brace and its last."""
    start, stop = case.reply.find("{"), case.reply.rfind("}") + 1
    if start < 0 or rng.random() < 0.5:
        return mutate_text(rng, case.reply, others)
    try:
        call = mutate_json(rng, json.loads(case.reply[start:stop]))
        return case.reply[:start] + json.dumps(call, ensure_ascii=False) + case.reply[stop:]
    except ValueError:
        return mutate_text(rng, case.reply, others)


def judge_reply(text: str, case: Case) -> str:
    """What the parser and the rule say of it; raises AssertionError where they disagree."""
    reply = parse_reply(text)
    matched = calls_match(reply.calls, case.label, case.tools)
    assert calls_match(case.label, reply.calls, case.tools) is matched, repr(text)
    assert (explain_mismatch(reply.calls, case.label, case.tools) is None) is matched, repr(text)
    if reply.error is not None:
        return "not a reply"
    return "the label" if matched else "another call" if reply.calls else "words"


def run(cases: Sequence[Case], count: int, random_seed: int) -> JsonObject:
    """So many mutated replies, each from its own seed."""
    others = [case.reply for case in cases]
    verdicts: Counter[str] = Counter()
    slow: list[JsonObject] = []
    raised: list[JsonObject] = []
    changed, slowest, began = 0, 0.0, time.monotonic()
    for number in range(count):
        rng = Random(f"{random_seed}/{number}")
        case = cases[rng.randrange(len(cases))]
        text = mutate_reply(rng, case, others)
        changed += text != case.reply
        start = time.process_time()
        try:
            verdicts[judge_reply(text, case)] += 1
        except Exception as exc:  # any at all is what this looks for
            raised.append({"number": number, "error": repr(exc)})
        took = time.process_time() - start
        slowest = max(slowest, took)
        if took > SLOW_S:
            slow.append({"number": number, "seconds": round(took, 2)})
        if number % 100_000 == 99_999:
            print(
                f"{number + 1:,} after {time.monotonic() - began:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return {
        "replies": count,
        "real_replies": len(cases),
        "changed": changed,
        "exceptions": raised,
        "verdicts": dict(sorted(verdicts.items())),
        "slowest_ms": round(1000 * slowest, 1),
        "slow": slow,
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policy", type=Path, default=BASE)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    samples = make_samples(options.samples)
    cases = make_cases(samples, real_replies(samples, options.policy))
    result = run(cases, options.replies, options.seed)
    Console().print_json(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if result["exceptions"] or result["slow"] else 0


if __name__ == "__main__":
    sys.exit(main())
