"""A real Prefect server and worker, started once for all tests of flows."""

import importlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_METRICS_ENABLED, temporary_settings

from deployments import stack
from deployments.api import api_url, connect, post

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PLANTED = {
    "LOOPTOOL_TEACHER_API_KEY": "planted-teacher-key-0c77a1",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDKEY000002",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-9d20b4",
    "AWS_SESSION_TOKEN": "planted-token-41fe66",
}
"""Secrets in the environment of the worker, and so of every run."""
ENDED = {"Completed", "Cached", "Failed", "Crashed", "Cancelled"}
TINY = Path(__file__).with_name("tiny.toml")


@dataclass
class Prefect:
    """What a person does with `prefect` and with the UI, over the same API."""

    port: int
    lake: Path
    patience_s: float = 280.0
    """How long a run may take."""
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = connect(self.port)

    def deployment(self, name: str = "looptool/iterate") -> dict[str, Any]:
        answer = self.client.get(f"/deployments/name/{name}")
        answer.raise_for_status()
        return dict(answer.json())

    def press_run(self, *, of: str = "looptool/iterate", **parameters: Any) -> str:
        """Create a run of the deployment as the UI's Run button does."""
        url = f"/deployments/{self.deployment(of)['id']}/create_flow_run"
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        answer = self.client.post(url, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def parameters(self, campaign: str, **more: Any) -> dict[str, Any]:
        overrides = {"store.root": str(self.lake)} | more.pop("overrides", {})
        return {"campaign": campaign, "profile": str(TINY), "overrides": overrides} | more

    def state(self, run_id: str) -> tuple[str, str]:
        answer = self.client.get(f"/flow_runs/{run_id}").raise_for_status()
        state = answer.json().get("state") or {}
        return str(state.get("type")), str(state.get("message") or "")

    def wait(self, run_id: str) -> str:
        deadline = time.monotonic() + self.patience_s
        while time.monotonic() < deadline:
            kind, _ = self.state(run_id)
            if kind in FINAL:
                return kind
            time.sleep(0.5)
        raise AssertionError(f"run {run_id} is {self.state(run_id)} after {self.patience_s} s")

    def run(self, campaign: str, **more: Any) -> dict[str, str]:
        """Run an iteration to its end; state names by task run name."""
        run_id = self.press_run(**self.parameters(campaign, **more))
        assert self.wait(run_id) == "COMPLETED", self.explain(run_id)
        return self.settled(run_id)

    def settled(self, run_id: str, seconds: float = 30.0) -> dict[str, str]:
        """The tasks of a run that has ended; the server books their last states a moment later."""
        deadline = time.monotonic() + seconds
        before: dict[str, str] = {}
        while time.monotonic() < deadline:
            states = self.tasks(run_id)
            if states and states == before and set(states.values()) <= ENDED:
                break
            before = states
            time.sleep(0.5)
        return self.tasks(run_id)

    def tasks(self, run_id: str) -> dict[str, str]:
        body = {"flow_runs": {"id": {"any_": [run_id]}}, "limit": 100}
        rows = post(self.client, "/task_runs/filter", body)
        # A task run that was created this moment has no state yet.
        return {str(row["name"]): str(row["state"]["name"]) for row in rows if row["state"]}

    def wait_for_task(self, run_id: str, name: str, state: str, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.tasks(run_id).get(name) == state:
                return
            assert self.state(run_id)[0] not in FINAL, self.explain(run_id)
            time.sleep(0.2)
        raise AssertionError(f"{name} is not {state}: {self.tasks(run_id)}")

    def ran_between(self, run_id: str) -> tuple[str, str]:
        """When a run began and ended, by its states, UTC."""
        body = {"flow_run_id": run_id}
        states = self.client.get("/flow_run_states/", params=body).raise_for_status().json()
        began = min(state["timestamp"] for state in states if state["type"] == "RUNNING")
        return began, max(state["timestamp"] for state in states if state["type"] in FINAL)

    def explain(self, run_id: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}
        logs = post(self.client, "/logs/filter", body)
        text = "\n".join(str(row["message"]) for row in logs)
        return f"{self.state(run_id)} {self.tasks(run_id)}\n{text}"

    def processes(self, run_id: str) -> dict[int, bytes]:
        """Command lines of the process that runs a flow and of all that it started, by process id."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environ = (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"PREFECT__FLOW_RUN_ID={run_id}".encode() in environ and command:
                found[int(process.name)] = command
        return found

    def kill(self, run_id: str) -> None:
        """SIGKILL the process that runs a flow, as the kernel does when memory is out."""
        for pid, command in self.processes(run_id).items():
            if b"prefect" in command:
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError(f"no process runs flow run {run_id}")

    def cancel(self, run_id: str) -> None:
        """What the UI's Cancel button does."""
        post(self.client, f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    os.environ["LOOPTOOL_STATE"] = str(tmp_path_factory.mktemp("state"))
    os.environ["LOOPTOOL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.update(PLANTED)
    importlib.reload(stack)  # its folder is that of the environment at import
    with stack.running_stack(0) as port:
        server = Prefect(port, tmp_path_factory.mktemp("lake"))
        yield server
        server.client.close()


@pytest.fixture
def server(prefect: Prefect) -> Iterator[None]:
    """Flows of this process talk to the tests' server."""
    changed = {PREFECT_API_URL: api_url(prefect.port), PREFECT_CLIENT_METRICS_ENABLED: False}
    with temporary_settings(changed):
        yield


@pytest.fixture(scope="session")
def first_run(prefect: Prefect) -> dict[str, str]:
    """State names of the first iteration of campaign `shared`, by task run name."""
    return prefect.run("shared", overrides={"policy.processes": 2})
