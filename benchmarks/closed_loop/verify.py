"""One run again in a fresh store: are its digests the same?

Compared are, round by round, the dataset (samples and their order), the checkpoint (every file of it) and the
answers on the held-out samples. The outcome is a row of kind `verify`. A killed verification goes on where it
was; one that ended begins anew the next time.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.closed_loop.arms import Run
from benchmarks.closed_loop.rows import IDENTITY, Row, RowFile, pick_rounds
from benchmarks.closed_loop.run import Policy, Runner
from benchmarks.closed_loop.study import Study
from looptool.records import JsonObject

PARTS = ("dataset", "checkpoint", "answers")


def verify(study: Study, run: Run, policy: Policy, folder: Path) -> int:
    """Run `run` below `folder`, compare, append the outcome; 0 if everything is the same."""
    rows = RowFile(study.out)
    recorded = pick_rounds(rows.read(), study.identity(run))
    if not recorded:
        raise SystemExit(f"{run.name} has no rows in {study.out} yet; run it first")
    last = recorded[max(recorded)]
    rounds = min(run.rounds, max(recorded))
    # With another number of threads sums are rounded in another order.
    fresh = replace(study, root=folder, out=folder / "rows.jsonl", threads=last["threads"])
    os.environ["LOOPTOOL_CACHE"] = str((folder / "cache").resolve())
    runner = Runner(fresh, policy)
    runner.run(replace(run, rounds=rounds))
    again = pick_rounds(runner.rows.read(), fresh.identity(run))
    compared = [
        {"round": number, **compare(recorded[number], again[number])}
        for number in range(1, rounds + 1)
    ]
    outcome: JsonObject = {
        **dict(zip(IDENTITY, study.identity(run), strict=True)),
        "kind": "verify",
        "round": 0,
        "rounds": compared,
        "threads": last["threads"],
        "same_code": all(recorded[n]["code"] == again[n]["code"] for n in again),
    }
    rows.append(outcome)
    shutil.rmtree(folder)
    print(describe(run.name, compared))
    return 0 if all(row[part] for row in compared for part in PARTS) else 1


def compare(left: Mapping[str, Row], right: Mapping[str, Row]) -> dict[str, bool]:
    """Which digests of a round are the same."""
    return {
        "dataset": left["dataset"]["digest"] == right["dataset"]["digest"],
        "checkpoint": left["checkpoint"] == right["checkpoint"],
        "answers": left["matched"] == right["matched"] and left["called"] == right["called"],
    }


def describe(name: str, compared: list[JsonObject]) -> str:
    """One sentence: all the same, or the first difference."""
    for row in compared:
        for part in PARTS:
            if not row[part]:
                return f"{name}: the first difference is the {part} of round {row['round']}"
    return f"{name}: every dataset, checkpoint and answer of {len(compared)} rounds is the same"
