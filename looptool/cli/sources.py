"""Tools in, and the teacher that needs no model: `import-tools`, `simulate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from looptool.cli.terminal import JsonOption, err, examples, out, reply
from looptool.config import SimulatorConfig, ToolSource, load_profile
from looptool.seed import ToolCollection, check_output, collect_tools, save_tools
from looptool.simulator import serve

app = typer.Typer(rich_markup_mode="rich")
PANEL = "Begin"


class Format(StrEnum):
    """Formats of tool sources."""

    auto = "auto"
    json = "json"
    openapi = "openapi"
    mcp = "mcp"
    python = "python"
    parquet = "parquet"
    catalogue = "catalogue"


@app.command(
    "import-tools",
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool import-tools openapi.json --tag flows -o tools.parquet",
        "looptool import-tools 'mcp:my-server --quiet' --env MY_KEY",
        "looptool import-tools mcp+https://host/mcp --token-env MY_TOKEN",
        "looptool import-tools statistics:mean --json",
    ),
)
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
    json_output: JsonOption = False,
) -> None:
    """Read the tools of a source and show them.

    OpenAPI, MCP, Python and JSON; what kind it is, is found by looking. A Python module is imported,
    which runs its code; an MCP command is started.
    """
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
    reply(found.as_json(), json_output, lambda: out.print(_tool_table(found)))
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


@app.command(
    rich_help_panel=PANEL,
    epilog=examples("looptool simulate --profile deployments/laptop.toml --port 8009"),
)
def simulate(
    port: Annotated[int, typer.Option(help="TCP port to listen on.")] = 8009,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    profile: Annotated[
        Path | None, typer.Option(help="Profile whose section teacher.simulator counts.")
    ] = None,
) -> None:
    """Serve the scripted teacher as an OpenAI-compatible endpoint.

    A profile uses it by \\[teacher] base_url = "http://127.0.0.1:8009/v1".
    """
    config = load_profile(profile).teacher.simulator if profile else SimulatorConfig()
    out.print(f"scripted teacher at http://{host}:{port}/v1 (models: scripted, scripted-expert)")
    serve(config, host, port)
