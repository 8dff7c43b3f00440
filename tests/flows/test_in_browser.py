"""The real Prefect UI in headless Chromium: start a run from the form, read it, schedule, queue."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from deployments.api import post
from tests.flows.conftest import FINAL, TINY, Prefect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PATIENCE_MS = 120_000
"""On a busy machine Chromium takes its time."""
CAMPAIGN = "by-hand"


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Any]:
    """One window for all tests of the module."""
    context = chromium.new_context(viewport={"width": 1300, "height": 1250})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def open_deployment(page: Any, prefect: Prefect, name: str = "iterate") -> None:
    page.goto(f"http://127.0.0.1:{prefect.port}/deployments")
    page.get_by_role("link", name=name, exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).first.wait_for()


def open_form(page: Any, prefect: Prefect, name: str = "iterate") -> None:
    open_deployment(page, prefect, name)
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.get_by_text("Custom run").first.click()
    page.get_by_text("Name of the campaign").wait_for()


def parameter(page: Any, name: str) -> Any:
    """One parameter's part of the form."""
    return page.locator(".schema-form-property", has_text=f"{name} (Optional)")


def read_artifact(page: Any, run_url: str, key: str) -> None:
    """Open an artifact from its run, as a person does."""
    page.goto(run_url)
    page.get_by_text("Artifacts", exact=True).last.click()
    page.get_by_text(key, exact=True).last.click()
    page.wait_for_url("**/artifacts/artifact/**")


@pytest.fixture(scope="module")
def run_url(page: Any, prefect: Prefect) -> str:
    """Address of a completed run of one iteration that was started from the form."""
    open_form(page, prefect)
    parameter(page, "campaign").locator("textarea").fill(CAMPAIGN)
    profile = parameter(page, "profile")
    profile.get_by_text("TOML file", exact=True).click()
    profile.locator("textarea").fill(str(TINY))
    settings = json.dumps({"store.root": str(prefect.lake), "merge.dataset_size": 16})
    parameter(page, "overrides").locator("textarea").fill(settings)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/deployments/deployment/*?tab=Runs")
    page.locator("a[href*='/runs/flow-run/']").first.click()
    page.wait_for_url("**/runs/flow-run/**")
    url = str(page.url)
    run_id = url.partition("/flow-run/")[2][:36]
    page.goto("about:blank")  # a page that shows a running flow takes a core for its animation
    assert prefect.wait(run_id) == "COMPLETED", prefect.explain(run_id)
    page.goto(url)
    page.get_by_text("Completed", exact=True).first.wait_for()
    return url


def test_the_form_offers_choices_and_says_what_each_parameter_is(
    page: Any, prefect: Prefect
) -> None:
    open_form(page, prefect)
    for name, text in {
        "campaign": "A known name goes on where it stands",
        "profile": "the path of your own",
        "iteration": "the first iteration that is not complete",
        "overrides": '{"judge.votes": 3}',
        "accept_config_change": "another configuration",
    }.items():
        assert text in parameter(page, name).inner_text()
    assert parameter(page, "campaign").locator("textarea").input_value() == "nightly"
    parameter(page, "profile").locator(".p-select-button__control").focus()
    page.keyboard.press("ArrowDown")
    for choice in ("laptop", "one_gpu", "paper_8b"):
        page.get_by_text(choice, exact=True).last.wait_for()


def test_a_value_out_of_range_is_refused_by_the_form(page: Any, prefect: Prefect) -> None:
    before = runs_of(prefect, "looptool-campaign/run")
    open_form(page, prefect, "run")
    parameter(page, "iterations").locator("input").fill("1000")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("1000 is greater than the maximum of 100").first.wait_for()
    assert runs_of(prefect, "looptool-campaign/run") == before


def test_a_run_from_the_form_completes_with_the_values_that_were_typed(
    run_url: str, page: Any, prefect: Prefect
) -> None:
    page.goto(run_url)
    page.get_by_text(f"{CAMPAIGN} · iteration 1 (tiny)").first.wait_for()
    run_id = run_url.partition("/flow-run/")[2][:36]
    run = prefect.client.get(f"/flow_runs/{run_id}").raise_for_status().json()
    assert run["parameters"]["campaign"] == CAMPAIGN
    assert run["parameters"]["overrides"]["merge.dataset_size"] == 16
    assert set(prefect.settled(run_id).values()) == {"Completed"}


def test_its_summary_is_a_page_with_tables(run_url: str, page: Any) -> None:
    read_artifact(page, run_url, f"{CAMPAIGN}-summary")
    page.get_by_role("heading", name=f"{CAMPAIGN} · iteration 1").wait_for()
    for heading in ("Accuracy, held out", "Data", "Verdicts", "Costs", "Where it is"):
        assert page.get_by_role("heading", name=heading, exact=True).count() == 1
    assert page.locator("table").count() >= 3
    assert page.get_by_role("cell", name="error seed").count() == 1


def test_its_curve_of_accuracy_is_a_picture(run_url: str, page: Any) -> None:
    read_artifact(page, run_url, f"{CAMPAIGN}-summary")
    picture = page.locator("img[src^='data:image/png']").last
    picture.wait_for()
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert picture.evaluate("image => image.naturalWidth") > 300


def test_its_steps_are_a_table_and_its_report_a_link(run_url: str, page: Any) -> None:
    read_artifact(page, run_url, "train-1-steps")
    page.get_by_text("GRPO, by step").first.wait_for()
    read_artifact(page, run_url, f"{CAMPAIGN}-report")
    page.get_by_text(f"Report of {CAMPAIGN} after iteration 1").first.wait_for()


def test_its_log_holds_what_the_stages_say_and_no_noise(run_url: str, prefect: Prefect) -> None:
    run_id = run_url.partition("/flow-run/")[2][:36]
    body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}
    lines = [str(row["message"]) for row in post(prefect.client, "/logs/filter", body)]
    assert any("samples accepted" in line for line in lines)
    assert lines.count("Finished in state Completed()") <= 1  # the run's own end


def test_a_failed_run_says_what_is_wrong_and_how_to_go_on(
    run_url: str, page: Any, prefect: Prefect
) -> None:
    parameters = prefect.parameters(CAMPAIGN, overrides={"merge.dataset_size": 10})
    run_id = prefect.press_run(**parameters)
    assert prefect.wait(run_id) == "FAILED"
    page.goto(f"http://127.0.0.1:{prefect.port}/runs/flow-run/{run_id}")
    page.get_by_text("merge.dataset_size: 16 -> 10").first.wait_for()
    page.get_by_text("it goes on at the first stage that is missing").first.wait_for()


def test_the_nightly_schedule_is_switched_on_and_off_by_hand(page: Any, prefect: Prefect) -> None:
    open_deployment(page, prefect)
    try:
        for wanted in (True, False):
            page.locator(".p-toggle").first.click()
            assert is_nightly(prefect, wanted)
    finally:
        url = f"/deployments/{prefect.deployment()['id']}/schedules/{nightly(prefect)['id']}"
        prefect.client.patch(url, json={"active": False}).raise_for_status()


def is_nightly(prefect: Prefect, wanted: bool, seconds: float = 60.0) -> bool:
    """Whether the schedule comes to be on or off in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if nightly(prefect)["active"] is wanted:
            return True
        time.sleep(0.2)
    return False


def nightly(prefect: Prefect) -> dict[str, Any]:
    (schedule,) = (s for s in prefect.deployment()["schedules"] if s["slug"] == "nightly")
    return dict(schedule)


def test_a_schedule_that_is_due_fires(run_url: str, prefect: Prefect) -> None:
    known = runs_of(prefect)
    parameters = prefect.parameters(CAMPAIGN, iteration=1, overrides={"merge.dataset_size": 16})
    schedule = {
        "schedule": {"interval": 60, "anchor_date": datetime.now(UTC).isoformat()},
        "active": True,
        "parameters": parameters,
    }
    url = f"/deployments/{prefect.deployment()['id']}/schedules"
    made = prefect.client.post(url, json=[schedule]).raise_for_status().json()
    try:
        ended = wait_for_end(prefect, known)
    finally:
        prefect.client.delete(f"{url}/{made[0]['id']}").raise_for_status()
    assert ended["auto_scheduled"] is True
    assert ended["state"]["type"] == "COMPLETED"
    assert ended["parameters"]["campaign"] == CAMPAIGN


def wait_for_end(prefect: Prefect, known: set[str], seconds: float = 600.0) -> dict[str, Any]:
    """The first run of the deployment that was not known and has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for run_id in runs_of(prefect) - known:
            run = prefect.client.get(f"/flow_runs/{run_id}").raise_for_status().json()
            if run["state"]["type"] in FINAL:
                return dict(run)
        time.sleep(0.5)
    raise AssertionError(f"no scheduled run ended within {seconds} s")


def runs_of(prefect: Prefect, name: str = "looptool/iterate") -> set[str]:
    """Ids of the runs of a deployment."""
    body = {"deployments": {"id": {"any_": [prefect.deployment(name)["id"]]}}, "limit": 200}
    return {str(row["id"]) for row in post(prefect.client, "/flow_runs/filter", body)}


def test_of_two_overlapping_runs_the_second_waits(run_url: str, prefect: Prefect) -> None:
    parameters = prefect.parameters(CAMPAIGN, iteration=1, overrides={"merge.dataset_size": 16})
    pair = [prefect.press_run(**parameters) for _ in range(2)]
    assert [prefect.wait(run_id) for run_id in pair] == ["COMPLETED", "COMPLETED"]
    runs = [prefect.client.get(f"/flow_runs/{run_id}").raise_for_status().json() for run_id in pair]
    first, second = sorted(runs, key=lambda run: run["start_time"])
    assert first["end_time"] <= second["start_time"]
    assert "AwaitingConcurrencySlot" in state_names(prefect, second["id"])
    assert "AwaitingConcurrencySlot" not in state_names(prefect, first["id"])


def state_names(prefect: Prefect, run_id: str) -> list[str]:
    """The states that a run went through."""
    rows = prefect.client.get("/flow_run_states/", params={"flow_run_id": run_id})
    return [str(row["name"]) for row in rows.raise_for_status().json()]
