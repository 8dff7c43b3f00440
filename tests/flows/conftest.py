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

from deployments import stack
from deployments.api import connect, post

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
ENDED = {"Completed", "Cached", "Failed", "Crashed", "Cancelled"}
TINY = Path(__file__).with_name("tiny.toml")


@dataclass
class Prefect:
    """What a person does with `prefect` and with the UI, over the same API."""

    port: int
    lake: Path
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

    def wait(self, run_id: str, seconds: float = 280.0) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            kind, _ = self.state(run_id)
            if kind in FINAL:
                return kind
            time.sleep(0.5)
        raise AssertionError(f"run {run_id} is {self.state(run_id)} after {seconds} s")

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

    def wait_for_file(self, run_id: str, pattern: str, seconds: float = 280.0) -> None:
        """Until the run has stored something of this pattern below the lake."""
        deadline = time.monotonic() + seconds
        while not any(self.lake.glob(pattern)):
            assert self.state(run_id)[0] not in FINAL, self.explain(run_id)
            assert time.monotonic() < deadline, f"no {pattern}: {self.tasks(run_id)}"
            time.sleep(0.05)

    def explain(self, run_id: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}
        logs = post(self.client, "/logs/filter", body)
        text = "\n".join(str(row["message"]) for row in logs)
        return f"{self.state(run_id)} {self.tasks(run_id)}\n{text}"

    def kill(self, run_id: str) -> None:
        """SIGKILL the process that runs a flow, as the kernel does when memory is out."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environ = (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"PREFECT__FLOW_RUN_ID={run_id}".encode() in environ and b"prefect" in command:
                os.kill(int(process.name), signal.SIGKILL)
                return
        raise AssertionError(f"no process runs flow run {run_id}")


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    os.environ["LOOPTOOL_STATE"] = str(tmp_path_factory.mktemp("state"))
    os.environ["LOOPTOOL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    importlib.reload(stack)  # its folder is that of the environment at import
    with stack.running_stack(0) as port:
        server = Prefect(port, tmp_path_factory.mktemp("lake"))
        yield server
        server.client.close()
