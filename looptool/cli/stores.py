"""Whether a store is whole, and what it can do without: `fsck`, `gc`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from looptool.artifacts import Store, open_store
from looptool.cli.terminal import JsonOption, err, examples, out, reply, say
from looptool.config import StoreConfig, load_profile
from looptool.fsck import Survey, repair, survey
from looptool.retention import Plan, plan_removals, remove

app = typer.Typer(rich_markup_mode="rich")
PANEL = "Store and benchmarks"


class RepairBy(StrEnum):
    """What becomes of an artifact that does not fit its manifest."""

    requeue = "requeue"
    quarantine = "quarantine"


StoreRoot = Annotated[str | None, typer.Argument(help="Root of the store; lake by default.")]
StoreProfile = Annotated[Path | None, typer.Option("--profile", help="Take [store] from here.")]


def store_of(root: str | None, profile: Path | None) -> Store:
    """The store of a profile, or at a root."""
    config = load_profile(profile).store if profile else StoreConfig()
    return open_store(config.model_copy(update={"root": root}) if root else config)


def show_survey(found: Survey, done: list[str]) -> None:
    """What was mended, and the findings, one a line, faults first."""
    for line in done:
        say(line)
    table = Table("", "where", "what", title_justify="left")
    for finding in sorted(found.findings, key=lambda f: (f not in found.faults, f.path)):
        table.add_row(finding.kind, escape(finding.path), escape(finding.detail))
    if found.findings:
        out.print(table)
    counts = found.as_json()
    out.print(
        f"{counts['artifacts']} artifacts, {counts['iterations']} iterations, "
        f"{counts['objects']} objects: {counts['faults']} faults"
    )


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool fsck s3://bucket/lake",
        "looptool fsck lake --repair requeue",
    ),
)
def fsck(
    root: StoreRoot = None,
    profile: StoreProfile = None,
    repair_: Annotated[
        RepairBy | None,
        typer.Option("--repair", help="requeue: make it again; quarantine: move it aside."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Lengths alone, no sha256.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Check a store: manifests against parts, iterations against artifacts.

    The exit status is 1 while there are faults. Run it with --repair only when nothing else writes.
    """
    done: list[str] = []
    store = store_of(root, profile)
    found = survey(store, contents=not quick)
    if repair_ and found.faults:
        done = repair(store, found, repair_.value)
        found = survey(store, contents=not quick)
    document = found.as_json() | {"repaired": done}
    reply(document, json_output, lambda: show_survey(found, done))
    if found.faults:
        raise typer.Exit(1)


def show_plan(plan: Plan, removed: int | None) -> None:
    """What may go, one artifact a line; `removed` objects are gone, None if none was asked to."""
    table = Table("why", "where", "objects", "MiB", title_justify="left")
    for removal in plan.removals:
        size = f"{removal.bytes / (1 << 20):.1f}"
        table.add_row(removal.why, escape(removal.path), str(len(removal.objects)), size)
    if plan.removals:
        out.print(table)
    for note in plan.notes:
        err.print(escape(note), soft_wrap=True)
    total = sum(removal.bytes for removal in plan.removals) / (1 << 20)
    what = "nothing deleted; --yes deletes" if removed is None else f"deleted {removed} objects"
    out.print(f"{len(plan.removals)} places, {total:.1f} MiB may go, {plan.kept} stay: {what}")


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool gc s3://bucket/lake",
        "looptool gc lake --keep-checkpoints 2 --yes",
    ),
)
def gc(
    root: StoreRoot = None,
    profile: StoreProfile = None,
    keep_checkpoints: Annotated[
        int, typer.Option(min=1, help="Keep the checkpoints of so many last iterations.")
    ] = 3,
    age_hours: Annotated[
        float, typer.Option(min=0, help="Nothing younger than this is touched.")
    ] = 48.0,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Show, and with --yes delete, what no complete iteration of any campaign needs."""
    store = store_of(root, profile)
    plan = plan_removals(store, keep_checkpoints=keep_checkpoints, age_s=3600 * age_hours)
    removed = remove(store, plan) if yes else None
    document = plan.as_json() | {"removed": removed or 0}
    reply(document, json_output, lambda: show_plan(plan, removed))
