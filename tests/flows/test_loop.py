"""The deployed loop on a real Prefect server: run, run again, change a section, kill and resume."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.api import post
from looptool.artifacts import Store
from looptool.campaign import Campaign
from looptool.records import Sample
from tests.flows.conftest import Prefect

pytestmark = pytest.mark.timeout(580)

SEED_PHASE = {"tools-0", "plan-0", "seed-0", "validate-0", "pool-0", "evaluate-0", "dataset-0"}
STAGES = SEED_PHASE | {
    "train-1", "evaluate-1", "probe-1", "judge-1", "expand-1", "validate-1", "scout-1", "merge-1",
}  # fmt: skip


def stages(states: dict[str, str], *wanted: str) -> set[str]:
    """The stages all of whose runs ended in one of these states; rounds (`seed-0.2`) count as one."""
    names = {name.partition(".")[0] for name in states}
    return {
        name
        for name in names
        if all(s in wanted for run, s in states.items() if run.partition(".")[0] == name)
    }


def test_one_iteration_runs_every_stage(first_run: dict[str, str], prefect: Prefect) -> None:
    assert stages(first_run, "Completed") == STAGES
    assert {"plan-0.1", "seed-0.1", "validate-0.1", "plan-0.2", "pool-0"} <= set(first_run)
    (record,) = Campaign(Store(str(prefect.lake)), "shared").complete()
    assert record.next_dataset.rows["samples"] == 20
    assert 0.0 <= record.summary["accuracy"]["all"] <= 1.0


def test_the_same_iteration_again_is_cached_throughout_and_a_second_run_waits_for_the_first(
    first_run: dict[str, str], prefect: Prefect
) -> None:
    parameters = prefect.parameters("shared", iteration=1)
    runs = [prefect.press_run(**parameters) for _ in range(2)]
    assert [prefect.wait(run_id) for run_id in runs] == ["COMPLETED"] * 2
    for run_id in runs:
        assert prefect.settled(run_id) == dict.fromkeys(first_run, "Cached")
    (_, first_ends), (second_begins, _) = sorted(map(prefect.ran_between, runs))
    assert first_ends <= second_begins


def test_a_changed_section_runs_its_stage_and_those_after_it(
    first_run: dict[str, str], prefect: Prefect
) -> None:
    states = prefect.run(
        "shared",
        iteration=1,
        overrides={"judge.both_orders": False},
        accept_config_change=True,
    )
    again = {"judge-1", "expand-1", "validate-1", "scout-1", "merge-1"}
    assert stages(states, "Cached") >= STAGES - again
    assert states["judge-1"] == "Completed"


def test_another_configuration_is_refused_before_any_work(
    first_run: dict[str, str], prefect: Prefect
) -> None:
    parameters = prefect.parameters("shared", overrides={"merge.dataset_size": 10})
    run_id = prefect.press_run(**parameters)
    assert prefect.wait(run_id) == "FAILED"
    assert "merge.dataset_size: 20 -> 10" in prefect.state(run_id)[1]
    assert prefect.tasks(run_id) == {}


def test_a_killed_run_is_resumed_by_the_next_one_which_streams(prefect: Prefect) -> None:
    parameters = prefect.parameters("killed", overrides={"streaming": True})
    run_id = prefect.press_run(**parameters)
    wait_for_trainer(prefect, run_id)
    prefect.kill(run_id)
    assert prefect.wait(run_id) == "CRASHED"
    wait_for_end(prefect, run_id)
    states = prefect.run("killed", overrides={"streaming": True})
    assert stages(states, "Cached") == SEED_PHASE
    assert states["ahead-1"] == states["merge-1"] == "Completed"
    store = Store(str(prefect.lake))
    (record,) = Campaign(store, "killed").complete()
    assert store.manifest_of(record.verdicts).stats["judged_ahead"] > 0


@pytest.mark.slow
def test_a_cancelled_run_ends_its_children_and_is_resumed_by_the_next_one(prefect: Prefect) -> None:
    run_id = prefect.press_run(**prefect.parameters("cancelled"))
    wait_for_trainer(prefect, run_id)
    prefect.cancel(run_id)
    assert prefect.wait(run_id) == "CANCELLED"
    wait_for_end(prefect, run_id)
    states = prefect.run("cancelled")
    assert stages(states, "Cached") == SEED_PHASE


def wait_for_trainer(prefect: Prefect, run_id: str, seconds: float = 240.0) -> None:
    """Until the run's training has a process of its own."""
    prefect.wait_for_task(run_id, "train-1", "Running", seconds)
    deadline = time.monotonic() + seconds
    while not any(b"looptool.train" in command for command in prefect.processes(run_id).values()):
        assert time.monotonic() < deadline, prefect.explain(run_id)
        time.sleep(0.1)


def wait_for_end(prefect: Prefect, run_id: str, seconds: float = 60.0) -> None:
    """Until nothing is left of a run that has ended."""
    deadline = time.monotonic() + seconds
    while left := prefect.processes(run_id):
        assert time.monotonic() < deadline, f"{run_id} has left {left}"
        time.sleep(0.1)


def test_the_run_shows_targets_and_coverage(first_run: dict[str, str], prefect: Prefect) -> None:
    body = {"artifacts": {"key": {"any_": ["seed-targets", "seed-coverage"]}}}
    shown = {row["key"]: row["data"] for row in post(prefect.client, "/artifacts/filter", body)}
    assert "| **all** | 40 of 40 | 10 of 10 | 6 of 6 |" in shown["seed-targets"]
    assert shown["seed-coverage"].count("`") == 2 * 60


def test_the_report_of_an_iteration_is_linked_from_its_run(
    first_run: dict[str, str], prefect: Prefect
) -> None:
    body = {"artifacts": {"key": {"any_": ["shared-report"]}}}
    shown = [str(row["data"]) for row in post(prefect.client, "/artifacts/filter", body)]
    page = prefect.lake / "campaigns" / "shared" / "iterations" / "0001" / "report.html"
    assert any(page.as_uri() in text for text in shown)
    assert "rounds complete" in page.read_text("utf-8")


def test_the_seed_phase_alone_is_what_the_iteration_starts_with(
    first_run: dict[str, str], prefect: Prefect
) -> None:
    parameters = prefect.parameters("shared", accept_config_change=True)
    run_id = prefect.press_run(of="looptool-seed/seed", **parameters)
    assert prefect.wait(run_id) == "COMPLETED", prefect.explain(run_id)
    states = prefect.settled(run_id)
    assert stages(states, "Cached") == SEED_PHASE - {"evaluate-0", "dataset-0"}


@pytest.mark.slow
def test_the_loop_runs_on_tools_that_nobody_here_wrote(prefect: Prefect) -> None:
    source = {
        "format": "openapi",
        "location": f"http://127.0.0.1:{prefect.port}/api/openapi.json",
    }
    overrides = {
        "seed.sources": [source],
        "train.max_prompt_tokens": 2048,
        "seed.heldout_model": "",
    }
    states = prefect.run("real", overrides=overrides)
    assert stages(states, "Completed") == STAGES
    store = Store(str(prefect.lake))
    (record,) = Campaign(store, "real").complete()
    names = {
        tool.name
        for sample in store.read(record.dataset, "samples", Sample)
        for tool in sample.tools
    }
    assert any("flow_run" in name for name in names)


def test_a_parameter_out_of_range_is_refused_before_a_run_exists(prefect: Prefect) -> None:
    url = f"/deployments/{prefect.deployment()['id']}/create_flow_run"
    answer = prefect.client.post(url, json={"parameters": {"campaign": "c", "iteration": 0}})
    assert answer.status_code in (409, 422)
    assert "minimum" in answer.text


@pytest.mark.slow
def test_the_prefect_command_starts_a_run_that_completes(
    first_run: dict[str, str], prefect: Prefect
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "run", "looptool/iterate",
         "-p", "campaign=shared", "-p", f"profile={Path(__file__).with_name('tiny.toml')}",
         "-p", "iteration=1", "-p", "accept_config_change=true",
         "-p", f'overrides={{"store.root": "{prefect.lake}"}}', "--watch"],
        env=os.environ | {"PREFECT_API_URL": f"http://127.0.0.1:{prefect.port}/api"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
