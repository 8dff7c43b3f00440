"""`make demo`: run iterations of a campaign through a Prefect deployment and watch them.

    python -m deployments.demo --campaign demo --profile laptop --iterations 2

Each iteration is one `prefect deployment run looptool/iterate`. The stack is started for the time of
the demo and stopped again, unless `make up` left one running. Run it again and the campaign goes on with
its next iteration; kill it and run it again, and the broken iteration resumes.
"""

import argparse
import json
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deployments import stack
from deployments.api import connect, post
from looptool.artifacts import Store
from looptool.campaign import Campaign
from looptool.cli.campaigns import show_iterations
from looptool.errors import LoopToolError
from tasks.profiles import read_override, resolve_profile
from tasks.record import check_inputs
from tasks.report import NAME as REPORT

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
COLOURS = {"COMPLETED": "green", "CACHED": "cyan", "RUNNING": "yellow", "FAILED": "red"}


@dataclass(slots=True)
class Row:
    """One task run as it is shown."""

    name: str
    state: str
    seconds: float
    percent: float | None
    note: str


class Watcher:
    """Reads a flow run's state from the Prefect API."""

    def __init__(self, port: int, run_id: str) -> None:
        self.client = connect(port)
        self.run_id = run_id

    def flow_state(self) -> tuple[str, str]:
        """Type and message of the flow run's state."""
        answer = self.client.get(f"/flow_runs/{self.run_id}").raise_for_status()
        state = answer.json().get("state") or {}
        return str(state.get("type", "SCHEDULED")), str(state.get("message") or "")

    def rows(self) -> list[Row]:
        """The run's tasks in the order in which they started."""
        only = {"flow_runs": {"id": {"any_": [self.run_id]}}}
        runs = post(self.client, "/task_runs/filter", only | {"limit": 100})
        progress = self._progress()
        found = [r for r in runs if r.get("start_time")]
        found.sort(key=lambda r: r["start_time"])
        return [self._row(run, progress) for run in found]

    def _progress(self) -> dict[str, tuple[float, str]]:
        body = {
            "artifacts": {"flow_run_id": {"any_": [self.run_id]}, "type": {"any_": ["progress"]}}
        }
        rows = post(self.client, "/artifacts/filter", body)
        return {
            str(r["task_run_id"]): (float(r["data"] or 0.0), r["description"] or "") for r in rows
        }

    @staticmethod
    def _row(run: dict[str, Any], progress: dict[str, tuple[float, str]]) -> Row:
        state = run.get("state") or {}
        kind = str(state.get("type", ""))
        if state.get("name") == "Cached":
            kind = "CACHED"
        percent, note = progress.get(str(run["id"]), (None, ""))
        if kind == "FAILED":
            note = str(state.get("message") or "")
        seconds = float(run.get("estimated_run_time") or run.get("total_run_time") or 0.0)
        return Row(str(run["name"]), kind, seconds, percent, note)


def launch(port: int, campaign: str, profile: str, overrides: dict[str, Any]) -> str:
    """Start an iteration by the Prefect command and return the flow run's id."""
    tag = f"demo-{uuid.uuid4().hex[:12]}"
    parameters = {
        "campaign": json.dumps(campaign),
        "profile": json.dumps(profile),
        "overrides": json.dumps(overrides),
    }
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
    command = ("deployment", "run", "looptool/iterate", *arguments, "--tag", tag)
    stack.run_module(port, "prefect", *command)
    body = {"flow_runs": {"tags": {"all_": [tag]}}}
    with connect(port) as client:
        found = post(client, "/flow_runs/filter", body)
    if len(found) != 1:
        raise stack.StackError("the flow run that was just created cannot be found")
    return str(found[0]["id"])


def picture(title: str, rows: list[Row]) -> Group:
    """The live view of one iteration."""
    table = Table.grid(padding=(0, 2))
    for row in rows:
        state = Text(row.state.lower(), style=COLOURS.get(row.state, "white"))
        bar: ProgressBar | Text = Text("")
        if row.percent is not None and row.state == "RUNNING":
            bar = ProgressBar(total=100.0, completed=row.percent, width=24)
        table.add_row(
            Text(row.name), state, Text(f"{row.seconds:6.1f} s"), bar, Text(row.note[:60])
        )
    return Group(Text(title, style="bold"), table)


def watch(console: Console, port: int, run_id: str, title: str) -> None:
    """Show the run until it ends; StackError if it did not complete."""
    watcher = Watcher(port, run_id)
    began = time.monotonic()
    shown: dict[str, str] = {}
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            state, message = watcher.flow_state()
            rows = watcher.rows()
            head = f"{title} · {state.lower()} · {time.monotonic() - began:.0f} s"
            if console.is_terminal:
                live.update(picture(head, rows))
            else:
                print_changes(rows, shown)
            if state in FINAL:
                break
            time.sleep(1.0)
    if state != "COMPLETED":
        url = f"http://127.0.0.1:{port}/runs/flow-run/{run_id}"
        raise stack.StackError(
            f"the run ended {state.lower()}: {message}\n"
            f"Worker's log: {stack.LOGS / 'worker.log'}; with `make up`, the run is at {url}.\n"
            "Finished stages are kept: run the same command again to resume."
        )


def print_changes(rows: list[Row], shown: dict[str, str]) -> None:
    """Lines for a log instead of a live view: one whenever a task changes its state."""
    for row in rows:
        if shown.get(row.name) != row.state:
            shown[row.name] = row.state
            took = f"{row.seconds:.1f} s" if row.state in FINAL else ""
            print(f"  {row.name:12} {row.state.lower():10} {took}", flush=True)


def run(console: Console, options: argparse.Namespace) -> None:
    """Run the iterations and print what came of them."""
    overrides = dict(read_override(text) for text in options.set)
    config = resolve_profile(options.profile, overrides)
    store = Store(config.store.root)
    store.check()
    campaign = Campaign(store, options.campaign)
    check_inputs(config, tools=not campaign.complete())
    with stack.running_stack(options.port, console.print, config.store.root) as port:
        console.print(f"Prefect UI while this runs: http://127.0.0.1:{port}")
        for _ in range(options.iterations):
            number = len(campaign.complete()) + 1
            run_id = launch(port, options.campaign, options.profile, overrides)
            watch(console, port, run_id, f"campaign {options.campaign}, iteration {number}")
    console.print(show_iterations(campaign.complete()))
    show_where(console, store, campaign)


def show_where(console: Console, store: Store, campaign: Campaign) -> None:
    """Where to look on: the page of the last iteration, its artifacts, Prefect's UI."""
    page = f"{campaign.folder(len(campaign.complete()))}/{REPORT}"
    if store.get(store.path(page)) is not None:  # a report that was not made ends no iteration
        console.print(f"report: {store.uri(page)}", soft_wrap=True)
    console.print(f"artifacts: {store.uri('campaigns', campaign.name)}", soft_wrap=True)
    console.print("Prefect UI with these runs: make up (and make down)", soft_wrap=True)


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m deployments.demo", description=__doc__)
    parser.add_argument("--campaign", default="demo")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--port", type=int, default=4200)
    options = parser.parse_args()
    console = Console()
    try:
        run(console, options)
    except (stack.StackError, LoopToolError, subprocess.TimeoutExpired, httpx.HTTPError) as exc:
        console.print(f"error: {exc}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to resume")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
