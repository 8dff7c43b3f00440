"""Streaming between stages: how much sooner a round ends when shards flow on while the probe works.

    python -m benchmarks.streaming

The project's own tasks (probe by the engine `endpoint`, judge, expand with its reviews, validate) against
two simulated machines on ports: a policy of 50 ms and a teacher of 200 ms a call, each with so many places.
The places are chosen so that both have about as much to do; where one has far more than the other, nothing
that overlaps them can save much. The same round runs with `streaming` off and on, each on a store of its
own; both must end with the same artifacts. Prints the makespans and their ratio, and what each machine did.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.expansion import as_answer, corrupt, make_samples, read_answer
from benchmarks.streaming_servers import prompt_key
from looptool.artifacts import ArtifactRef
from looptool.calls import render_calls
from looptool.config import LoopConfig, parse_config
from looptool.engines import Limits
from looptool.engines.client import close_engines
from looptool.engines.grading import build_prompt
from looptool.records import JsonObject, RolloutStat, Sample
from looptool.simulator.critic import is_right
from looptool.simulator.toolbox import load_toolbox
from looptool.simulator.understand import decide
from tasks.expand import expand
from tasks.judge import judge
from tasks.policy import base_policy, local_folder, open_policy
from tasks.probe import probe
from tasks.scope import Scope, Stage
from tasks.streaming import working_ahead
from tasks.validate import validate

GOAL = 0.6
SEED = {"tools_min": 3, "tools_max": 5, "turns_max": 2}
RIGHT_RATE = 0.65
"""Share of samples that the simulated policy answers rightly; else it errs as the scripted teacher would."""


@dataclass(frozen=True)
class Machine:
    """A simulated endpoint."""

    url: str
    places: int

    def load(self) -> tuple[int, float]:
        """Requests so far, and the time that they took together, seconds."""
        with urllib.request.urlopen(f"{self.url}/load") as answer:
            found = json.load(answer)
        return int(found["requests"]), float(found["busy_s"])


@contextmanager
def start_machine(role: str, delay_s: float, places: int, *arguments: str) -> Iterator[Machine]:
    """A machine in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.streaming_servers", role, *arguments]
    command += ["--delay", str(delay_s), "--places", str(places)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            port = int(process.stdout.readline())
            yield Machine(f"http://127.0.0.1:{port}", places)
        finally:
            process.terminate()


def make_config(
    root: Path, policy: Machine, teacher: Machine, options: argparse.Namespace, streaming: bool
) -> LoopConfig:
    """A round of so many samples in shards of a thirtieth, as 18,304 are in shards of 512."""
    return parse_config(
        {
            "streaming": streaming,
            "store": {"root": str(root)},
            "teacher": {
                "base_url": f"{teacher.url}/v1",
                "max_concurrency": teacher.places,
                "attempts": 6,
            },
            "policy": {"engine": "endpoint", "endpoint": f"{policy.url}/v1"},
            "probe": {
                "batch_size": policy.places,
                "shard_size": max(1, options.samples // 30),
                "max_new_tokens": 96,
                "max_prompt_tokens": 4096,
            },
            # As in a round of the paper's size, where 10% is more than the minimum of 300.
            "judge": {"planted_min": 0},
            "expand": {"per_seed": options.per_seed},
            "seed": SEED,
        }
    )


def make_answers(scope: Scope, samples: Sequence[Sample]) -> JsonObject:
    """The table of the policy's answers, by prompt; the truth is the noiseless teacher's."""
    from looptool.engines.tokens import Row, TokenSide

    folder, config = local_folder(scope, base_policy(scope)), scope.config
    tokens = TokenSide(folder)
    limits = Limits(config.probe.max_new_tokens, config.probe.max_prompt_tokens)
    answers: dict[str, list[int]] = {}
    for sample in samples:
        row = tokens.fit(build_prompt(sample), None, limits)
        if isinstance(row, Row):
            said = read_answer(choose_answer(sample))
            text = render_calls(said.as_calls(), said.text)
            answers[prompt_key(row.token_ids)] = tokens.label_ids(text)
    return {"folder": str(folder), "answers": answers}


def choose_answer(sample: Sample, salt: str = "") -> JsonObject:
    """What the policy says: the truth or a plausible error, by the sample's id and the salt."""
    rng = Random(sample.sample_id + salt)
    box, conversation = load_toolbox(json.dumps(sample.tool_specs())), sample.chat()
    expected = decide(box, conversation)
    right: JsonObject = expected.as_answer()
    if is_right(box, as_answer(sample.label), expected):
        right = as_answer(sample.label)
    wrong = corrupt(box, conversation, rng)
    return right if wrong is None or rng.random() < RIGHT_RATE else wrong


def run_round(config: LoopConfig, samples: Sequence[Sample]) -> dict[str, Any]:
    """From a trained policy to validated expansions: seconds by stage, digests, counts."""
    scope = Scope(campaign="streaming", iteration=1, config=config)
    dataset, trained = store_inputs(scope, samples)
    policy = base_policy(scope)
    with open_policy(scope, policy):
        pass  # evaluation has started the engine before
    marks = [time.monotonic()]
    with working_ahead(scope, policy, [dataset], trained):
        probes = probe.fn(scope=scope, policy=policy, history=[dataset], trained=trained)
        probed = time.monotonic()
    marks.append(probed)
    verdicts = judge.fn(scope=scope, dataset=dataset, probes=probes)
    marks.append(time.monotonic())
    grown = expand.fn(scope=scope, dataset=dataset, verdicts=verdicts)
    marks.append(time.monotonic())
    checked = validate.fn(scope=scope, candidates=grown)
    marks.append(time.monotonic())
    refs = {"probe": probes, "judge": verdicts, "expand": grown, "validate": checked}
    stats = {name: scope.store().manifest_of(ref).stats for name, ref in refs.items()}
    return {
        "seconds": dict(zip(refs, (b - a for a, b in pairwise(marks)), strict=True)),
        "makespan": marks[-1] - marks[0],
        "digests": {name: ref.digest for name, ref in refs.items()},
        "requests": {
            name: sum(used["requests"] for used in stats[name]["teacher"].values())
            for name in ("judge", "expand", "validate")
        },
        "ahead": stats["judge"]["judged_ahead"] + stats["expand"]["expanded_ahead"],
        "counts": {
            "mismatches": stats["probe"]["mismatched"],
            "by_verdict": stats["judge"]["by_verdict"],
            "error seeds": stats["expand"]["error_seeds"],
            "new samples": checked.rows["samples"],
        },
    }


def store_inputs(scope: Scope, samples: Sequence[Sample]) -> tuple[ArtifactRef, ArtifactRef]:
    """D_1, and a training of it of which only the rollouts are wanted."""
    dataset = Stage("dataset", scope, {"pool": "given"})
    dataset.writer.write("samples", "samples", samples)
    trained = Stage("train", scope, {"dataset": "given"})
    rows = [
        RolloutStat(sample_id=s.sample_id, rollouts=8, passed=6, parse_errors=0) for s in samples
    ]
    trained.writer.write("rollouts", "rollouts", rows)
    return dataset.commit({}), trained.commit({})


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The round both ways, streaming off first."""
    noise = {"wrong_label_rate": options.wrong_labels, "wrong_review_rate": 0.6}
    plain = parse_config({"teacher": {"simulator": {"noise": noise}}, "seed": SEED})
    made = asyncio.run(make_samples(plain, options.samples))
    nowhere = Machine("http://127.0.0.1:9", 1)
    given = make_config(folder / "given", nowhere, nowhere, options, False)
    scope = Scope(campaign="streaming", iteration=1, config=given)
    # As they are read back: the keys of a tool are in another order then, and so is the prompt.
    samples = scope.store().read(store_inputs(scope, made)[0], "samples", Sample)
    table = folder / "answers.json"
    table.write_text(json.dumps(make_answers(scope, samples)))
    result: dict[str, Any] = {"samples": len(samples), "load_average": [], "runs": {}}
    with ExitStack() as stack:
        policy = stack.enter_context(
            start_machine(
                "policy", options.policy_s, options.policy_places, "--answers", str(table)
            )
        )
        stack.callback(close_engines)
        for name in ("off", "on"):
            # A teacher of its own: one that was asked the same before may answer otherwise.
            teacher = stack.enter_context(
                start_machine("teacher", options.teacher_s, options.teacher_places)
            )
            before = policy.load()
            config = make_config(folder / name, policy, teacher, options, name == "on")
            run = run_round(config, samples)
            run["machines"] = {
                "policy": describe(policy, before),
                "teacher": describe(teacher, (0, 0.0)),
            }
            result["runs"][name] = run
            result["load_average"].append(Path("/proc/loadavg").read_text().split()[0])
    off, on = result["runs"]["off"], result["runs"]["on"]
    result["ratio"] = on["makespan"] / off["makespan"]
    result["same_artifacts"] = on["digests"] == off["digests"]
    result["same_requests"] = (
        on["machines"]["teacher"]["requests"] == off["machines"]["teacher"]["requests"]
    )
    return result


def describe(machine: Machine, before: tuple[int, float]) -> JsonObject:
    """What a machine did since then; it was at work for so long if all its places were taken."""
    requests, busy_s = machine.load()
    return {
        "requests": requests - before[0],
        "at_work_s": (busy_s - before[1]) / machine.places,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print both runs side by side."""
    off, on = result["runs"]["off"], result["runs"]["on"]
    table = Table("", "one after another", "streaming", title=f"{result['samples']} samples")
    for stage in off["seconds"]:
        table.add_row(f"{stage}, s", f"{off['seconds'][stage]:.1f}", f"{on['seconds'][stage]:.1f}")
    table.add_row("makespan, s", f"{off['makespan']:.1f}", f"{on['makespan']:.1f}")
    for role in ("policy", "teacher"):
        for name in ("requests", "at_work_s"):
            a, b = (run["machines"][role][name] for run in (off, on))
            table.add_row(f"{role}: {name}", f"{a:.0f}", f"{b:.0f}")
    console.print(table)
    console.print(f"{off['counts']}; rows ahead: {on['ahead']}; load {result['load_average']}")
    console.print(
        f"ratio {result['ratio']:.2f} (goal {GOAL}); same artifacts: {result['same_artifacts']}; "
        f"same number of calls: {result['same_requests']}"
    )


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=450)
    parser.add_argument("--per-seed", type=int, default=4)
    parser.add_argument("--wrong-labels", type=float, default=0.05, help="share in D_1")
    parser.add_argument("--policy-s", type=float, default=0.05)
    parser.add_argument("--teacher-s", type=float, default=0.2)
    parser.add_argument("--policy-places", type=int, default=1)
    parser.add_argument("--teacher-places", type=int, default=8)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Path(folder))
    show(result, Console())
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["same_artifacts"] and result["ratio"] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
