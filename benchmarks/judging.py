"""Four rounds with a judge of known accuracy: how many labels of D_j are wrong, how many were spoilt.

    python -m benchmarks.judging --accuracy 0.9 0.6

The real stages (seed, validate, judge, expand, merge) with the scripted teacher, without a Prefect server
and without training: the policy is **simulated**. Its answer to a sample is right with a chance that grows
over the rounds, whatever the label says; sometimes it has learned the label, wrong or not; else it is wrong
in one of the scripted teacher's ways, and all of it is drawn from the sample and the round. A judge of
accuracy 0.9 gives one of the three other verdicts in 10% of its replies.

The truth is the answer of the scripted teacher without noise (see `benchmarks.labels`); the pipeline never
sees it.
"""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.labels import find_wrong
from benchmarks.seed_noise import run_seed_phase
from looptool.artifacts import ArtifactRef, Store
from looptool.calls import answers_match, parse_reply, relaxed_match, render_calls
from looptool.config import LoopConfig, parse_config
from looptool.records import JsonObject, Judgement, ProbeResult, Sample
from looptool.simulator.noise import make_wrong
from looptool.simulator.speak import make_rng
from looptool.simulator.toolbox import load_toolbox
from looptool.simulator.understand import decide
from tasks.expand import expand
from tasks.judge import judge
from tasks.merge import first_dataset, merge
from tasks.scope import Scope, Stage

SKILL = (0.55, 0.65, 0.72, 0.78)
"""Chance of the right answer by round."""
LEARNED = 0.1
"""Chance that the policy repeats the label instead: it was trained on it."""
ROLLOUTS = 8
ROUNDS = len(SKILL)


def make_config(root: Path, accuracy: float, options: argparse.Namespace) -> LoopConfig:
    """The sizes and the noise of the laptop profile, with a judge of this accuracy."""
    noise = {"wrong_label_rate": options.wrong_labels, "wrong_review_rate": 0.6}
    return parse_config(
        {
            "store": {"root": str(root)},
            "random_seed": options.seed,
            "teacher": {
                "simulator": {"noise": {**noise, "wrong_verdict_rate": round(1 - accuracy, 6)}}
            },
            "seed": {
                "train_samples": options.pool,
                "heldout_samples": 20,
                "heldout_unseen_samples": 10,
                "heldout_model": "scripted-expert",
                "tools_min": 3,
                "tools_max": 5,
                "turns_max": 3,
            },
            "merge": {"dataset_size": options.size},
        }
    )


def answer_as_policy(sample: Sample, iteration: int, seed: int) -> str:
    """What the simulated policy says to a sample in a round."""
    rng = make_rng("policy", seed, iteration, sample.sample_id)
    label = render_calls(sample.label.as_calls(), sample.label.text)
    if rng.random() < LEARNED:
        return label
    box = load_toolbox(json.dumps(sample.tool_specs()))
    chat = sample.chat()
    due = decide(box, chat)
    answer: JsonObject | None = due.as_answer()
    if rng.random() >= SKILL[iteration - 1]:
        said = next(str(m["content"]) for m in reversed(chat) if m["role"] == "user")
        answer = make_wrong(box, due, said, rng) or answer
    return render_calls(answer["tool_calls"], answer["content"]) if answer else label


def render_due(sample: Sample) -> str:
    """The right answer as the policy would say it."""
    due = decide(load_toolbox(json.dumps(sample.tool_specs())), sample.chat()).as_answer()
    return render_calls(due["tool_calls"], due["content"])


def probe_as_policy(sample: Sample, iteration: int, seed: int) -> ProbeResult:
    """The probe of the simulated policy, graded by the one matching rule."""
    output = answer_as_policy(sample, iteration, seed)
    reply = parse_reply(output)
    label, tools = sample.label.as_calls(), sample.tool_specs()
    matched = answers_match(reply, label, tools, ordered=sample.ordered)
    relaxed = bool(label) and not reply.error and relaxed_match(reply.calls, label, tools)
    rng = make_rng("surprise", seed, iteration, sample.sample_id)
    # Rollouts go as the greedy answer does: the label by heart, or else the right answer by skill.
    fine = answers_match(parse_reply(render_due(sample)), label, tools, ordered=sample.ordered)
    chance = LEARNED + (1 - LEARNED) * SKILL[iteration - 1] * fine
    passed = sum(rng.random() < chance for _ in range(ROLLOUTS))
    return ProbeResult(
        sample_id=sample.sample_id,
        output=output,
        matched=matched,
        relaxed=matched or relaxed,
        called=bool(reply.calls),
        tokens=max(1, len(output) // 4),
        ppl_output=math.exp(rng.expovariate(4.0 if matched else 2.0)),
        pass_rate=passed / ROLLOUTS,
    )


def probe(scope: Scope, dataset: ArtifactRef) -> ArtifactRef:
    """The probe stage of a round, by the simulated policy."""
    stage = Stage("probe", scope, {"dataset": dataset})
    if done := stage.committed():
        return done
    samples = stage.store.read(dataset, "samples", Sample)
    seed = scope.config.random_seed
    rows = [probe_as_policy(sample, scope.iteration, seed) for sample in samples]
    stage.writer.write("probes", "probes", rows)
    return stage.commit({"mismatched": sum(not row.matched for row in rows)})


def run_rounds(config: LoopConfig, pool: ArtifactRef) -> list[JsonObject]:
    """The rounds over one pool; a row of figures for each of them."""
    start = Scope(campaign="judging", iteration=0, config=config)
    history = [first_dataset.fn(scope=start, pool=pool)]
    verdicts: list[ArtifactRef] = []
    rows: list[JsonObject] = []
    for iteration in range(1, ROUNDS + 1):
        scope = start.model_copy(update={"iteration": iteration})
        probes = probe(scope, history[-1])
        judged = judge.fn(scope=scope, dataset=history[-1], probes=probes, earlier=verdicts)
        grown = expand.fn(scope=scope, dataset=history[-1], verdicts=judged)
        merged = merge.fn(
            scope=scope,
            pool=pool,
            history=history,
            probes=probes,
            verdicts=judged,
            expansions=grown,
        )
        rows.append(describe(scope.store(), history[-1], judged, merged))
        history, verdicts = [*history, merged], [*verdicts, judged]
    return rows


def count_wrong(samples: Sequence[Sample]) -> int:
    """Labels that are not the noiseless teacher's answer."""
    return len(asyncio.run(find_wrong(samples)))


def describe(
    store: Store, dataset: ArtifactRef, judged: ArtifactRef, merged: ArtifactRef
) -> JsonObject:
    """The figures of one round, with the truth beside what the run itself says."""
    before = store.read(dataset, "samples", Sample)
    after = store.read(merged, "samples", Sample)
    wrong = {sample.sample_id for sample in asyncio.run(find_wrong(before))}
    rows = store.read(judged, "judgements", Judgement)
    proposed = {j.sample_id: j.proposed_label for j in rows if j.proposed_label}
    replaced = {j.sample_id for j in rows if j.new_label}
    relabelled = [
        sample.model_copy(update={"label": proposed[sample.sample_id]})
        for sample in before
        if sample.sample_id in proposed
    ]
    still = {sample.sample_id for sample in asyncio.run(find_wrong(relabelled))}
    stats: JsonObject = store.manifest_of(judged).stats
    return {
        "size": len(before),
        "wrong": len(wrong),
        "right": len(before) - len(wrong),
        "mismatches": len(rows),
        "proposed": len(proposed),
        "true_precision": 1 - len(still) / len(proposed) if proposed else None,
        "precision": stats["measure"]["precision"],
        "trusted": stats["judge_trusted"],
        "reason": stats["judge_trust_reason"],
        "replaced": len(replaced),
        "spoilt": len((replaced & still) - wrong),
        "next_size": len(after),
        "next_wrong": count_wrong(after),
        "next_wrong_by_origin": _by_origin(after),
    }


def _by_origin(samples: Sequence[Sample]) -> dict[str, list[int]]:
    wrong = {sample.sample_id for sample in asyncio.run(find_wrong(samples))}
    found: dict[str, list[int]] = {}
    for sample in samples:
        counts = found.setdefault(sample.origin.value, [0, 0])
        counts[0] += sample.sample_id in wrong
        counts[1] += 1
    return dict(sorted(found.items()))


def summarise(rows: Sequence[JsonObject]) -> JsonObject:
    """What the rounds brought together."""
    right = sum(row["right"] for row in rows)
    spoilt = sum(row["spoilt"] for row in rows)
    return {
        "wrong_rate_first": rows[0]["wrong"] / rows[0]["size"],
        "wrong_rate_last": rows[-1]["next_wrong"] / rows[-1]["next_size"],
        "spoilt_rate": spoilt / right,
        "replaced": sum(row["replaced"] for row in rows),
        "rounds_trusted": sum(row["trusted"] for row in rows),
    }


def show(console: Console, accuracy: float, rows: Sequence[JsonObject]) -> None:
    """One table for a judge."""
    names = ("round", "wrong in D_j", "mismatches", "proposed", "precision, measured", "true")
    table = Table(*names, "replaced", "spoilt", "wrong in D_j+1", title=f"judge of {accuracy:.0%}")
    for number, row in enumerate(rows, 1):
        found = row["precision"]
        measured = (
            f"{found['estimate']:.2f} ({found['low']:.2f}-{found['high']:.2f})" if found else "-"
        )
        true = row["true_precision"]
        table.add_row(
            str(number),
            f"{row['wrong']} of {row['size']} ({row['wrong'] / row['size']:.1%})",
            str(row["mismatches"]),
            str(row["proposed"]),
            measured,
            "-" if true is None else f"{true:.2f}",
            str(row["replaced"]) if row["trusted"] else "withheld",
            str(row["spoilt"]),
            f"{row['next_wrong']} of {row['next_size']} "
            f"({row['next_wrong'] / row['next_size']:.1%}) {row['next_wrong_by_origin']}",
        )
    console.print(table)


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accuracy", type=float, nargs="+", default=[0.9, 0.6])
    parser.add_argument("--pool", type=int, default=1200)
    parser.add_argument("--size", type=int, default=320)
    # After validation, which finds some of them, 12% of the labels of D_1 are wrong.
    parser.add_argument("--wrong-labels", type=float, default=0.22)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=Path("lake/judging"))
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    # The pool is the same for all judges: the seed phase does not ask any.
    pool = run_seed_phase(make_config(options.root, 1.0, options))
    results: dict[str, Any] = {}
    console = Console(width=180)
    for accuracy in options.accuracy:
        rows = run_rounds(make_config(options.root, accuracy, options), pool)
        results[str(accuracy)] = {"rounds": rows, **summarise(rows)}
        show(console, accuracy, rows)
        console.print({name: v for name, v in results[str(accuracy)].items() if name != "rounds"})
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
