"""Runs side by side: in order, after what they share, tried again, and never left behind."""

import subprocess
import sys
from pathlib import Path

from benchmarks.closed_loop.arms import ABLATIONS, BASE, ROUNDS_MOST, Run, plan_runs
from benchmarks.closed_loop.rows import IDENTITY
from benchmarks.closed_loop.schedule import Schedule, with_bases
from benchmarks.closed_loop.study import Study

APPEND = (
    "import json, sys; from pathlib import Path; from benchmarks.closed_loop.rows import RowFile;"
    "[RowFile(Path(sys.argv[1])).append(row) for row in json.loads(sys.argv[2])]"
)
"""A process that does nothing but write the rows of its run."""


def make_study(folder: Path) -> Study:
    return Study("main", folder, folder / "rows.jsonl", threads=1)


def write_rows(study: Study, run: Run) -> list[str]:
    import json

    identity = dict(zip(IDENTITY, study.identity(run), strict=True))
    kind = "ground" if run.arm == BASE else "round"
    numbers = [0] if run.arm == BASE else range(1, run.rounds + 1)
    rows = [{**identity, "kind": kind, "round": number} for number in numbers]
    return [sys.executable, "-c", APPEND, str(study.out), json.dumps(rows)]


def test_the_most_telling_runs_come_first() -> None:
    runs = plan_runs()
    names = [run.name for run in runs]
    assert names[:6] == ["loop-0", "static-0", "loop-1", "static-1", "loop-2", "static-2"]
    for arm in ABLATIONS:
        assert {run.seed for run in runs if run.arm == arm} == {0, 1, 2}
    assert [run.rounds for run in runs if run.rounds > 4] == [8, 8]
    assert max(run.rounds for run in runs) <= ROUNDS_MOST
    assert "loop-0-noise-0.24" in names
    assert "loop-0-judge-0.6" in names


def test_what_runs_share_is_made_once_and_before_them() -> None:
    runs = with_bases([Run("loop", 0), Run("static", 0), Run("loop", 0, judge=0.6)])
    assert [run.name for run in runs] == ["base-0", "loop-0", "static-0", "loop-0-judge-0.6"]
    assert Run("loop", 0, noise=0.24).base() == Run(BASE, 0, 0, 0.24)


def test_finished_runs_are_passed_over(tmp_path: Path) -> None:
    study, said = make_study(tmp_path), list[str]()
    schedule = Schedule(study, lambda run: write_rows(study, run), jobs=2, say=said.append)
    assert schedule.work([Run("loop", 0), Run("static", 0)]) == []
    assert [line for line in said if "is finished" in line]
    again = Schedule(study, lambda run: ["false"], jobs=2, say=said.append)
    assert again.work([Run("loop", 0), Run("static", 0)]) == []


def test_more_rounds_of_a_run_go_on_from_those_that_are_there(tmp_path: Path) -> None:
    study, said = make_study(tmp_path), list[str]()
    schedule = Schedule(study, lambda run: write_rows(study, run), jobs=1, say=said.append)
    assert schedule.work([Run("loop", 0, 1)]) == []
    assert schedule.work([Run("loop", 0, 2)]) == []
    assert said[-1].startswith("loop-0 is finished")


def test_a_run_that_fails_twice_is_left_and_the_others_are_done(tmp_path: Path) -> None:
    study, said = make_study(tmp_path), list[str]()
    failing = [sys.executable, "-c", "raise SystemExit('no luck')"]

    def command(run: Run) -> list[str]:
        return failing if run.arm == "static" else write_rows(study, run)

    failed = Schedule(study, command, jobs=1, say=said.append).work(
        [Run("static", 0), Run("loop", 0)]
    )
    assert failed == [Run("static", 0)]
    assert sum("static-0 failed" in line and "no luck" in line for line in said) == 2
    assert sum("loop-0 is finished" in line for line in said) == 1


def test_runs_whose_shared_part_failed_do_not_start(tmp_path: Path) -> None:
    study, said = make_study(tmp_path), list[str]()
    schedule = Schedule(study, lambda run: ["false"], jobs=2, say=said.append)
    failed = schedule.work([Run("loop", 0), Run("static", 0)])
    assert [run.name for run in failed] == ["base-0", "loop-0", "static-0"]


def test_a_child_ends_when_its_parent_is_gone() -> None:
    code = (
        "import time; from benchmarks.closed_loop.schedule import die_with_parent;"
        "die_with_parent(); print('up', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"up\n"
        child.stdin.close()  # as the kernel does when the parent is killed
        assert child.wait(timeout=60) == 1
