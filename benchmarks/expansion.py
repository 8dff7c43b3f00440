"""What error-driven expansion yields, by type of error, and how many of its labels are wrong.

    python -m benchmarks.expansion --seeds 320

Samples of the laptop profile's seed phase become error seeds: where the label is right, the wrong answer
is a corruption of it (PRED_WRONG); where it is wrong, the right answer replaces it (LABEL_WRONG). Right is
what the scripted teacher without noise answers; the judge's words are those of its judge without noise. They
are expanded with the profile's noise: as in the pipeline, with validation afterwards instead of in the loop,
without a change of tools, with a generator that errs, and with mistaken verdicts. The scripted expander
labels by its own language core, so that its labels are right by construction where the structure is kept;
the erring generator says what validation is worth: a share of its labels is corrupted. The mistaken verdicts
all call a right label wrong and put the corruption in its place: the worst that a judge can do.
"""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.labels import find_wrong
from looptool.chat import AsgiTransport, Teacher
from looptool.config import LoopConfig, TeacherConfig
from looptool.expand import (
    ErrorSeed,
    ExpandReply,
    Setting,
    choose_seeds,
    error_seeds,
    expand_seeds,
    summarise,
)
from looptool.records import JsonObject, Judgement, Label, Rejection, Sample, Split, ToolCall
from looptool.seed import collect_tools, simulate_dialogues, split_sides
from looptool.simulator import create_app
from looptool.simulator.critic import is_right, judge
from looptool.simulator.noise import make_wrong
from looptool.simulator.toolbox import Toolbox, load_toolbox
from looptool.simulator.understand import decide
from looptool.validate import validate_samples
from tasks.expand import make_setting, plan_variety
from tasks.profiles import resolve_profile
from tasks.scope import Scope

VERDICTS = ("A_WRONG", "B_WRONG")


def open_scripted(config: LoopConfig) -> Teacher:
    """The scripted teacher of a profile, in process."""
    settings = TeacherConfig(max_concurrency=16, simulator=config.teacher.simulator)
    return Teacher(settings, AsgiTransport(create_app(config.teacher.simulator)))


async def make_samples(config: LoopConfig, count: int) -> list[Sample]:
    """Validated training samples, some of whose labels are wrong."""
    tools = collect_tools(config.seed.sources).tools
    side = split_sides(tools, config.seed.unseen_tool_rate, config.random_seed)[Split.TRAIN]
    async with open_scripted(config) as teacher:
        made = await simulate_dialogues(
            config.seed, side, teacher, split=Split.TRAIN, target_samples=count, random_seed=0
        )
        kept = await validate_samples(made.samples, config.validate_, teacher, stage="validate")
    return list(kept.kept)


def judge_sample(sample: Sample, mistaken: bool = False) -> Judgement | None:
    """The judgement of a sample on which the policy, or the label, is wrong; None if no wrong answer fits.

    A mistaken one replaces the label where it is right, and is None where it is not.
    """
    box, conversation = load_toolbox(json.dumps(sample.tool_specs())), sample.chat()
    expected = decide(box, conversation)
    label = as_answer(sample.label)
    predicted = expected.as_answer()
    if is_right(box, label, expected):
        predicted = corrupt(box, conversation, Random(sample.sample_id)) or label
    reply = judge(box, conversation, label, predicted)
    replaces = reply["verdict"] == "A_WRONG"
    if reply["verdict"] not in VERDICTS or (mistaken and replaces):
        return None
    answer = read_answer(predicted)
    replaces = replaces or mistaken
    return Judgement(
        sample_id=sample.sample_id,
        verdict="LABEL_WRONG" if replaces else "PRED_WRONG",
        votes=(),
        predicted=answer,
        error_type=reply["error_type"],
        error_analysis=reply["error_analysis"],
        right_approach=reply["right_approach"],
        new_label=answer if replaces else None,
    )


def make_seeds(samples: Sequence[Sample], count: int, mistaken: bool) -> list[ErrorSeed]:
    """At most so many error seeds."""
    judgements = [found for sample in samples if (found := judge_sample(sample, mistaken))]
    rows = {sample.sample_id: sample for sample in samples}
    return choose_seeds(error_seeds(rows, judgements, 1), count, 0)


def corrupt(box: Toolbox, conversation: Sequence[JsonObject], rng: Random) -> JsonObject | None:
    """A plausible wrong answer to a conversation."""
    said = next((str(m["content"]) for m in reversed(conversation) if m["role"] == "user"), "")
    return make_wrong(box, decide(box, conversation), said, rng)


def as_answer(label: Label) -> JsonObject:
    """A label in the shape of the scripted teacher's answers."""
    return {"content": label.text, "tool_calls": label.as_calls()}


def read_answer(answer: JsonObject) -> Label:
    """The label that such an answer is."""
    calls = tuple(ToolCall(**call) for call in answer["tool_calls"])
    return Label(calls=calls, text="" if calls else answer["content"])


class ErringGenerator:
    """A teacher whose new samples have a wrong label in a share of the replies."""

    def __init__(self, teacher: Teacher, rate: float) -> None:
        self._teacher, self._rate = teacher, rate

    async def ask(self, messages: Sequence[dict[str, str]], **request: Any) -> Any:
        """The teacher's reply, or a corrupted one."""
        reply = await self._teacher.ask(messages, **request)
        rng = Random(json.dumps(messages))
        if not isinstance(reply, ExpandReply) or rng.random() >= self._rate:
            return reply
        specs = messages[-1]["content"].partition("<tools>")[2].partition("</tools>")[0]
        raw = reply.model_dump(mode="json")
        conversation = [
            {**row, "content": _as_text(row["content"]), "tool_calls": row["tool_calls"] or []}
            for row in raw["messages"]
        ]
        wrong = corrupt(load_toolbox(specs), conversation, rng)
        return ExpandReply.model_validate({**raw, "label": wrong or raw["label"]})


def _as_text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


async def measure(
    config: LoopConfig,
    samples: Sequence[Sample],
    seeds: Sequence[ErrorSeed],
    *,
    in_loop: bool = True,
    erring_rate: float = 0.0,
) -> JsonObject:
    """The report of one expansion, and the wrong labels among what it gave."""
    scope = Scope(campaign="expansion", iteration=1, config=config)
    async with open_scripted(config) as teacher:
        asked = ErringGenerator(teacher, erring_rate) if erring_rate else teacher
        setting = make_setting(scope, plan_variety(config, samples), teacher)
        if not in_loop:
            setting = replace_check(setting)
        grown = await expand_seeds(seeds, setting, asked)  # type: ignore[arg-type]
        kept, rejections = list(grown.samples), list(grown.rejections)
        if not in_loop:
            late = await validate_samples(kept, config.validate_, teacher, stage="validate")
            kept, rejections = list(late.kept), [*rejections, *late.rejected]
        usage = teacher.usage_report()
    wrong = {sample.sample_id for sample in await find_wrong(kept)}
    types = {seed.sample.sample_id: seed.error_type for seed in seeds}
    by_type = Counter(types[s.parent_id] for s in kept if s.sample_id in wrong)
    report = summarise(seeds, kept, rejections, config.expand.per_seed)
    asked_for = {name: used["answers"] for name, used in usage.items()}
    return {
        "report": report.model_dump(mode="json"),
        "wrong": len(wrong),
        "wrong_by_error_type": dict(by_type),
        "answers": asked_for,
    }


def replace_check(setting: Setting) -> Setting:
    """The setting with an attempt that is accepted as soon as it can be read."""

    async def check(sample: Sample) -> Rejection | None:
        return None

    return replace(setting, check=check)


def show(console: Console, name: str, result: JsonObject) -> None:
    """One variant as a table by type of error."""
    table = Table("error", "seeds", "attempts", "accepted", "of k", "wrong labels", title=name)
    rows = {**result["report"]["by_error_type"], "all": result["report"]}
    for error, row in rows.items():
        wrong = result["wrong"] if error == "all" else result["wrong_by_error_type"].get(error, 0)
        got = row["accepted"]
        table.add_row(
            error,
            str(row["seeds"]),
            str(row["attempted"]),
            f"{got} ({got / max(1, row['attempted']):.0%})",
            f"{got / max(1, row['wanted']):.0%}",
            f"{wrong} ({wrong / max(1, got):.1%})",
        )
    console.print(table)
    console.print(f"rejected: {result['report']['rejected']}; answers: {result['answers']}")


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=320)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--erring-rate", type=float, default=0.12)
    parser.add_argument("--only", default="", help="the variants whose name contains this")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    config = resolve_profile(options.profile, {"expand.per_seed": 4})
    fixed = config.model_copy(
        update={"expand": config.expand.model_copy(update={"vary_tools": False})}
    )
    samples = asyncio.run(make_samples(config, round(1.3 * options.seeds)))
    erring: dict[str, Any] = {"erring_rate": options.erring_rate}
    variants: dict[str, tuple[LoopConfig, dict[str, Any]]] = {
        "as in the pipeline": (config, {}),
        "validated afterwards": (config, {"in_loop": False}),
        "tools as they are": (fixed, {}),
        "erring generator": (config, erring),
        "erring generator, validated afterwards": (config, {"in_loop": False, **erring}),
        "mistaken verdicts": (config, {}),
    }
    console = Console()
    results: dict[str, JsonObject] = {}
    for name, (settings, arguments) in variants.items():
        if options.only not in name:
            continue
        seeds = make_seeds(samples, options.seeds, mistaken=name == "mistaken verdicts")
        results[name] = asyncio.run(measure(settings, samples, seeds, **arguments))
        show(console, name, results[name])
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
