"""Command line of the benchmark."""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.closed_loop.arms import ARMS, GROUPS, Run, plan_runs
from benchmarks.closed_loop.gradients import count_gradients
from benchmarks.closed_loop.page import DOCS, write_page
from benchmarks.closed_loop.rehearsal import SIMULATED
from benchmarks.closed_loop.rows import RowFile
from benchmarks.closed_loop.run import REAL, Runner, missing_rounds
from benchmarks.closed_loop.schedule import (
    Schedule,
    default_threads,
    die_with_parent,
    python_command,
    with_bases,
)
from benchmarks.closed_loop.study import Study
from benchmarks.closed_loop.verify import verify
from tasks.profiles import read_override

RESULTS = Path("benchmarks/results/closed_loop.jsonl")
ROOT = Path("lake/closed-loop")


def main() -> int:
    """Do what the options ask for."""
    parser = make_parser()
    options = parser.parse_args()
    study = make_study(options)
    if options.page:
        docs = study.root if options.rehearse else DOCS
        for path in write_page(RowFile(study.out), options.study or None, docs):
            print(path)
        return 0
    if options.gradients:
        print(f"{count_gradients(study)} rows added to {study.out}")
        return 0
    policy = SIMULATED if options.rehearse else REAL
    if options.child:
        die_with_parent()
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        logging.getLogger("looptool").setLevel(logging.INFO)
        Runner(study, policy).run(Run(**json.loads(options.child)))
        return 0
    if options.verify:
        arm, seed = options.verify
        folder = study.root.with_name(f"{study.root.name}-verify") / f"{arm}-{seed}"
        return verify(study, Run(arm, int(seed), options.rounds), policy, folder)
    runs = choose_runs(options)
    if options.list:
        show_runs(study, runs)
        return 0
    failed = Schedule(study, lambda run: child_command(run, options), options.jobs).work(runs)
    return 1 if failed else 0


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.closed_loop", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--threads", type=int, help="CPU threads of each; default: cores / jobs")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="GROUP|ARM|ARM:SEED", help=f"of {GROUPS} or arms"
    )
    parser.add_argument("--study", default="", help="name of this set of runs; default: main")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--root", type=Path, help=f"the store; default: {ROOT}")
    parser.add_argument("--out", type=Path, help=f"file of the rows; default: {RESULTS}")
    parser.add_argument("--list", action="store_true", help="say which runs are finished")
    parser.add_argument(
        "--gradients", action="store_true", help="count which groups carried one, from the store"
    )
    parser.add_argument("--page", action="store_true", help="write docs/evidence.md and its charts")
    parser.add_argument(
        "--verify", nargs=2, metavar=("ARM", "SEED"), help="run it again and compare"
    )
    parser.add_argument("--rounds", type=int, default=4, help="rounds of --verify")
    parser.add_argument("--rehearse", action="store_true", help="with a simulated policy")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def make_study(options: argparse.Namespace) -> Study:
    """The study that the options name; a rehearsal has a store and rows of its own."""
    root = options.root or (ROOT.with_name("closed-loop-rehearsal") if options.rehearse else ROOT)
    out = options.out or (root / "rows.jsonl" if options.rehearse else RESULTS)
    return Study(
        name=options.study or "main",
        root=root,
        out=out,
        profile=options.profile,
        threads=options.threads or default_threads(options.jobs),
        overrides=dict(read_override(text) for text in options.set),
        rehearsed=options.rehearse,
    )


def choose_runs(options: argparse.Namespace) -> list[Run]:
    """The runs of the plan that `--only` names; all without it."""
    if not options.only:
        return plan_runs()
    runs: list[Run] = []
    for text in options.only:
        arm, _, seed = text.partition(":")
        if text in GROUPS:
            runs += plan_runs((text,))
        elif arm in ARMS:
            planned = [run for run in plan_runs(("main", "ablations")) if run.arm == arm]
            runs += [Run(arm, int(seed))] if seed else planned
        else:
            raise SystemExit(f"--only {text}: know {', '.join([*GROUPS, *ARMS])}")
    return runs


def show_runs(study: Study, runs: list[Run]) -> None:
    """One line a run."""
    rows = RowFile(study.out).read()
    table = Table("run", "rounds", "missing")
    for run in with_bases(runs):
        missing = missing_rounds(run, study, rows)
        table.add_row(run.name, str(run.rounds), ", ".join(map(str, missing)) or "-")
    Console().print(table)


def child_command(run: Run, options: argparse.Namespace) -> list[str]:
    """The command line of a child: the same study, one run."""
    study = make_study(options)
    command = [*python_command(), "--child", json.dumps(asdict(run))]
    command += ["--study", study.name, "--profile", study.profile, "--threads", str(study.threads)]
    command += ["--root", str(study.root), "--out", str(study.out)]
    command += [part for text in options.set for part in ("--set", text)]
    return [*command, "--rehearse"] if options.rehearse else command


if __name__ == "__main__":
    sys.exit(main())
