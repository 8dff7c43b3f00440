"""This machine and its Prefect server: `setup`, `doctor`."""

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

import looptool
from looptool.cli.terminal import JsonOption, examples, out, reply
from looptool.doctor import Diagnosis, diagnose
from looptool.errors import ConfigError

app = typer.Typer(rich_markup_mode="rich")
PANEL = "Begin"


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "PREFECT_API_URL=http://127.0.0.1:4200/api looptool setup",
        "LOOPTOOL_ALERT_URL=https://host/hook looptool setup --profile mine.toml",
    ),
)
def setup(
    profile: Annotated[
        Path | None, typer.Option(help="Keep the results of tasks on this profile's store.")
    ] = None,
) -> None:
    """Give a Prefect server its work pool, deployments and automations.

    Run again, it changes only what differs. Which server, is Prefect's own setting: PREFECT_API_URL,
    or the active profile. With LOOPTOOL_ALERT_URL set, failures and drops of accuracy are posted there.
    """
    checkout = find_checkout()
    if importlib.util.find_spec("prefect") is None:
        raise ConfigError("Prefect is not installed; run: pip install 'looptool[orchestration]'")
    command = [sys.executable, "-m", "deployments.setup"]
    if profile:
        command += ["--profile", str(profile.resolve() if profile.exists() else profile)]
    done = subprocess.run(command, cwd=checkout, check=False)  # noqa: S603 - our own, no shell
    if done.returncode:
        raise typer.Exit(1)


def find_checkout() -> Path:
    """The folder with prefect.yaml and deployments/: the current one, or that of this package.

    Raises ConfigError where there is none: flows and deployments are not in the wheel.
    """
    for folder in (Path.cwd(), Path(looptool.__file__).resolve().parent.parent):
        wanted = ("prefect.yaml", "deployments/setup.py", "flows/iterate.py")
        if all((folder / name).is_file() for name in wanted):
            return folder
    raise ConfigError(
        "no checkout of LoopTool here: the installed package holds neither prefect.yaml nor the flows; "
        "clone the repository and run looptool setup in its folder"
    )


@app.command(
    rich_help_panel=PANEL,
    epilog=examples("looptool doctor", "looptool doctor deployments/one_gpu.toml --json"),
)
def doctor(
    profile: Annotated[
        list[Path] | None, typer.Argument(help="Profiles to judge; all of deployments/ by default.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Say what is installed, which profiles can run here, and what is missing.

    The exit status is 1 when a profile named on the command line cannot run.
    """
    found = diagnose(profile)
    reply(dataclasses.asdict(found), json_output, lambda: show_diagnosis(found))
    if profile and any(check.problems for check in found.profiles):
        raise typer.Exit(1)


def show_diagnosis(found: Diagnosis) -> None:
    """Machine, packages and profiles, with a command beside whatever is missing."""
    gpus = ", ".join(found.machine.gpus) or "no GPU"
    out.print(f"{found.machine.cores} cores, {found.machine.memory_gib} GiB memory, {gpus}")
    table = Table("group", "packages", "to install")
    for group in found.groups:
        versions = ", ".join(f"{n} {v or '[red]missing[/red]'}" for n, v in group.versions.items())
        table.add_row(group.name, versions, "" if group.complete else escape(group.install))
    out.print(table)
    table = Table("profile", "runs here", "what is missing", "what to do")
    for check in found.profiles:
        table.add_row(escape(check.name), "no" if check.problems else "yes")
        for problem in check.problems:
            table.add_row("", "", escape(problem.what), escape(problem.fix))
    out.print(table)
