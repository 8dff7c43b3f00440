"""The command line: thin, everything it does is in the library."""

import dataclasses
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from looptool.artifacts import Store, open_store
from looptool.campaign import Campaign, IterationRecord
from looptool.config import SimulatorConfig, StoreConfig, ToolSource, load_profile
from looptool.doctor import Diagnosis, diagnose
from looptool.errors import LoopToolError
from looptool.fsck import Survey, repair, survey
from looptool.records import canonical_json
from looptool.retention import Plan, plan_removals, remove
from looptool.seed import ToolCollection, check_output, collect_tools, save_tools
from looptool.simulator import serve

app = typer.Typer(
    name="looptool",
    help="Train small models to call tools, by letting the data and the model improve each other.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


class Format(StrEnum):
    """Formats of tool sources."""

    auto = "auto"
    json = "json"
    openapi = "openapi"
    mcp = "mcp"
    python = "python"
    parquet = "parquet"
    catalogue = "catalogue"


def fail(error: LoopToolError) -> typer.Exit:
    """Print an error as one line and give the exit status 1."""
    err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
    return typer.Exit(1)


@app.command("import-tools")
def import_tools(
    source: Annotated[
        str,
        typer.Argument(help="File, URL, 'mcp:COMMAND ARGS', mcp+https://…, or module[:function]."),
    ],
    format_: Annotated[
        Format, typer.Option("--format", help="Kind of source; auto looks at it.")
    ] = Format.auto,
    tag: Annotated[
        list[str] | None, typer.Option(help="OpenAPI: only operations with this tag.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="OpenAPI: only operations below this path, or glob.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only tools whose name or path holds this.")
    ] = None,
    include_deprecated: Annotated[
        bool, typer.Option("--include-deprecated", help="OpenAPI: deprecated operations too.")
    ] = False,
    env: Annotated[
        list[str] | None, typer.Option(help="MCP command: pass on this environment variable.")
    ] = None,
    token_env: Annotated[
        str, typer.Option(help="MCP over HTTP: variable that holds the bearer token.")
    ] = "",
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Longest wait, seconds.")
    ] = 30.0,
    output: Annotated[
        Path | None, typer.Option("-o", help="Write the tools here: .parquet or .json.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Read the tools of a source and show them.

    A Python module is imported, which runs its code; an MCP command is started.

    Examples: looptool import-tools openapi.json --tag flows -o tools.parquet,
    looptool import-tools 'mcp:my-server --quiet', looptool import-tools statistics:mean
    """
    try:
        if output:
            check_output(output)
        wanted = ToolSource(
            format=format_.value,
            location=source,
            tags=tuple(tag or ()),
            paths=tuple(path or ()),
            include=tuple(include or ()),
            include_deprecated=include_deprecated,
            env=tuple(env or ()),
            token_env=token_env,
            timeout_s=timeout_s,
        )
        found = collect_tools([wanted])
        if output:
            save_tools(found.tools, output)
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json(found.as_json()))
    else:
        out.print(_tool_table(found))
    _report_losses(found)


def _tool_table(found: ToolCollection) -> Table:
    """One line a tool, whatever the width."""
    table = Table(title=f"{len(found.tools)} tools", expand=True)
    for heading, ratio in (("tool", 3), ("parameters", 3), ("description", 4)):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=ratio)
    for tool in found.tools:
        names = ", ".join(tool.parameters.get("properties", {}))
        table.add_row(escape(tool.name), escape(names), escape(tool.description))
    return table


def _report_losses(found: ToolCollection) -> None:
    """What was left out, and why, on stderr."""
    deprecated = [row for row in found.rejections if row.rule == "deprecated"]
    for row in found.rejections:
        if row.rule != "deprecated":
            err.print(f"rejected {escape(row.row_id)}: {escape(row.detail)}", soft_wrap=True)
    if deprecated:
        err.print(f"skipped {len(deprecated)} deprecated; --include-deprecated takes them")
    for twin in found.duplicates:
        same = "the same" if twin.why == "content" else "the same name and properties"
        err.print(
            f"duplicate {escape(twin.dropped.name)} ({escape(twin.dropped.source)}): {same} as in "
            f"{escape(twin.kept.source)}",
            soft_wrap=True,
        )


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="TCP port to listen on.")] = 8009,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    profile: Annotated[
        Path | None, typer.Option(help="Take [teacher.simulator] from this profile.")
    ] = None,
) -> None:
    """Serve the scripted teacher as an OpenAI-compatible endpoint.

    Example: looptool simulate --profile deployments/laptop.toml, then set
    [teacher] base_url = "http://127.0.0.1:8009/v1"
    """
    try:
        config = load_profile(profile).teacher.simulator if profile else SimulatorConfig()
    except LoopToolError as exc:
        raise fail(exc) from exc
    out.print(f"scripted teacher at http://{host}:{port}/v1 (models: scripted, scripted-expert)")
    serve(config, host, port)


def show_iterations(records: Sequence[IterationRecord]) -> Table:
    """The campaign's iterations side by side, one figure a row."""
    table = Table(title="Held-out accuracy and data by iteration", title_justify="left")
    table.add_column("iteration")
    for record in records:
        table.add_column(str(record.iteration), justify="right")
    names = dict.fromkeys(name for record in records for name in record.summary["table"])
    for name in names:
        table.add_row(name, *(str(r.summary["table"].get(name, "")) for r in records))
    return table


@app.command()
def status(
    campaign: Annotated[str, typer.Argument(help="Name of the campaign.")],
    root: Annotated[str, typer.Option(help="Root of the store.")] = "lake",
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Show the complete iterations of a campaign and what they brought.

    Example: looptool status demo
    """
    try:
        records = Campaign(Store(root), campaign).complete()
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json([record.model_dump(mode="json") for record in records]))
        return
    if not records:
        err.print(f"campaign {escape(campaign)} has no complete iteration below {escape(root)}")
        raise typer.Exit(1)
    out.print(show_iterations(records))


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


@app.command()
def doctor(
    profile: Annotated[
        list[Path] | None, typer.Argument(help="Profiles to judge; all of deployments/ by default.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Say what is installed, which profiles can run here, and what is missing.

    The exit status is 1 when a profile named on the command line cannot run.

    Example: looptool doctor deployments/laptop.toml
    """
    found = diagnose(profile)
    if json_output:
        typer.echo(canonical_json(dataclasses.asdict(found)))
    else:
        show_diagnosis(found)
    if profile and any(check.problems for check in found.profiles):
        raise typer.Exit(1)


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


def show_survey(found: Survey) -> None:
    """The findings, one a line, faults first."""
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


@app.command()
def fsck(
    root: StoreRoot = None,
    profile: StoreProfile = None,
    repair_: Annotated[
        RepairBy | None,
        typer.Option("--repair", help="requeue: make it again; quarantine: move it aside."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Lengths alone, no sha256.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Check every manifest of a store against its parts, and every iteration against its artifacts.

    The exit status is 1 while there are faults. Run it with --repair only when nothing else writes.

    Examples: looptool fsck s3://bucket/lake, looptool fsck lake --repair requeue
    """
    done: list[str] = []
    try:
        store = store_of(root, profile)
        found = survey(store, contents=not quick)
        if repair_ and found.faults:
            done = repair(store, found, repair_.value)
            found = survey(store, contents=not quick)
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json(found.as_json() | {"repaired": done}))
    else:
        for line in done:
            out.print(escape(line), soft_wrap=True)
        show_survey(found)
    if found.faults:
        raise typer.Exit(1)


def show_plan(plan: Plan) -> None:
    """What may go, one artifact a line."""
    table = Table("why", "where", "objects", "MiB", title_justify="left")
    for removal in plan.removals:
        size = f"{removal.bytes / (1 << 20):.1f}"
        table.add_row(removal.why, escape(removal.path), str(len(removal.objects)), size)
    if plan.removals:
        out.print(table)
    for note in plan.notes:
        err.print(escape(note), soft_wrap=True)


@app.command()
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
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Show, and with --yes delete, what no complete iteration of any campaign needs.

    Examples: looptool gc s3://bucket/lake, looptool gc lake --keep-checkpoints 2 --yes
    """
    try:
        store = store_of(root, profile)
        plan = plan_removals(store, keep_checkpoints=keep_checkpoints, age_s=3600 * age_hours)
        removed = remove(store, plan) if yes else 0
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json(plan.as_json() | {"removed": removed}))
        return
    show_plan(plan)
    size = sum(removal.bytes for removal in plan.removals) / (1 << 20)
    what = f"deleted {removed} objects" if yes else "nothing deleted; --yes deletes"
    out.print(f"{len(plan.removals)} places, {size:.1f} MiB may go, {plan.kept} stay: {what}")


if __name__ == "__main__":
    app()
