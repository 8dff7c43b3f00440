"""The command line: thin, everything it does is in the library."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from looptool import lineage
from looptool.artifacts import Store, open_store
from looptool.campaign import Campaign, IterationRecord
from looptool.config import LoopConfig, SimulatorConfig, StoreConfig, ToolSource, load_profile
from looptool.decontaminate import (
    BFCL,
    Gatekeeper,
    build_index,
    find_bfcl,
    load_index,
    read_entries,
    save_index,
)
from looptool.doctor import Diagnosis, diagnose
from looptool.errors import CampaignError, ConfigError, DataError, LoopToolError, shorten
from looptool.fsck import Survey, repair, survey
from looptool.lineage.show import (
    show_consequences,
    show_diff,
    show_explanation,
    show_retraction,
)
from looptool.records import BenchmarkScore, canonical_json
from looptool.report import ROWS, render_report
from looptool.retention import Plan, plan_removals, remove
from looptool.schema import Contamination, check_columns
from looptool.seed import ToolCollection, check_output, collect_tools, save_tools
from looptool.simulator import serve
from looptool.suites import HEADS, evaluate_policy, find_policy, narrow, score_rows

app = typer.Typer(
    name="looptool",
    help="Train small models to call tools, by letting the data and the model improve each other.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


class Benchmark(StrEnum):
    """Published benchmarks."""

    bfcl_v3 = "bfcl_v3"
    bfcl_v4 = "bfcl_v4"
    acebench = "acebench"


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


@app.command()
def publish(
    campaign: Annotated[str, typer.Argument(help="Name of the campaign.")],
    output: Annotated[Path, typer.Option("-o", help="A new or empty folder.")],
    iteration: Annotated[
        int | None, typer.Option(min=1, help="Iteration; the best policy's by default.")
    ] = None,
    root: Annotated[str, typer.Option(help="Root of the store.")] = "lake",
    model_repo: Annotated[
        str, typer.Option(help="Upload the model to this hub repository; token in HF_TOKEN.")
    ] = "",
    dataset_repo: Annotated[
        str, typer.Option(help="Upload the dataset to this hub repository; token in HF_TOKEN.")
    ] = "",
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Write the best policy and its data as folders to share, with a model card and a dataset card.

    Formats: Hugging Face for the model; Parquet, TRL, ms-swift and veRL for the data.

    Example: looptool publish demo -o published
    """
    from looptool.publish import publish as publish_campaign
    from looptool.publish import upload

    addresses = {}
    try:
        found = publish_campaign(Campaign(Store(root), campaign), output, iteration)
        if model_repo:
            addresses["model"] = upload(found.model, model_repo, "model")
        if dataset_repo:
            addresses["dataset"] = upload(found.dataset, dataset_repo, "dataset")
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        document = {k: str(v) for k, v in dataclasses.asdict(found).items()}
        typer.echo(canonical_json(document | {"uploaded": addresses}))
        return
    out.print(f"iteration {found.iteration}: {found.model} and {found.dataset}", soft_wrap=True)
    for kind, address in addresses.items():
        out.print(f"{kind}: {address}", soft_wrap=True)


CampaignOption = Annotated[
    str | None, typer.Option(help="Name of the campaign; not needed where there is only one.")
]
RootOption = Annotated[str, typer.Option(help="Root of the store.")]


@app.command()
def explain(
    sample_id: Annotated[str, typer.Argument(help="Id of the sample, or the beginning of it.")],
    campaign: CampaignOption = None,
    root: RootOption = "lake",
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Show where a sample came from, what changed it, and what became of it.

    Source, family, probes over the rounds, verdicts with every vote, label changes, datasets, fates.

    Example: looptool explain s-3f9a --campaign demo
    """
    try:
        found = lineage.explain(lineage.open_campaign(Store(root), campaign), sample_id)
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json(found.model_dump(mode="json")))
    else:
        out.print(show_explanation(found))


@app.command()
def retract(
    sample_ids: Annotated[
        list[str] | None,
        typer.Argument(help="Ids, or their beginnings; without any, the record is shown."),
    ] = None,
    campaign: CampaignOption = None,
    root: RootOption = "lake",
    with_descendants: Annotated[
        bool,
        typer.Option("--with-descendants", help="Also what was grown from them or corrects them."),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take them back in.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Take samples out: the next merge decides as if they had never been.

    A sample that corrects another one's label takes its correction back with it: the old label
    returns. Nothing is deleted, and --undo takes the samples back in.

    Example: looptool retract s-3f9a --with-descendants --reason 'wrong unit in the label'
    """
    try:
        state = lineage.open_campaign(Store(root), campaign)
        if not sample_ids:
            _show_retractions(state, json_output)
            return
        timeline = lineage.read_timeline(state)
        wanted = lineage.request_retraction(
            state,
            [lineage.identify(timeline, text) for text in sample_ids],
            with_descendants=with_descendants,
            reason=reason,
            undo=undo,
        )
        effect = lineage.foresee(state, wanted)
        state.record_retraction(wanted)
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        rows = {"retraction": wanted, "consequences": effect}
        typer.echo(canonical_json({k: v.model_dump(mode="json") for k, v in rows.items()}))
    else:
        out.print(show_consequences(wanted, effect))


def _show_retractions(state: Campaign, json_output: bool) -> None:
    """The record of retractions, oldest first."""
    found = state.retractions()
    if json_output:
        typer.echo(canonical_json([row.model_dump(mode="json") for row in found]))
        return
    for row in found:
        out.print(show_retraction(row))
    if not found:
        out.print(f"campaign {escape(state.name)}: nothing was ever retracted")


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="The earlier dataset: D_2, or 2.")],
    after: Annotated[str, typer.Argument(help="The later dataset: D_3, or 3.")],
    campaign: CampaignOption = None,
    root: RootOption = "lake",
    show: Annotated[int, typer.Option(min=0, help="Examples of each group.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Show what entered, left and stayed between two datasets, and whose label changed.

    Example: looptool diff D_2 D_3 --campaign demo --show 3
    """
    try:
        state = lineage.open_campaign(Store(root), campaign)
        found = lineage.compare_datasets(state, before, after, show)
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json(found.model_dump(mode="json")))
    else:
        out.print(show_diff(found))


@app.command()
def report(
    campaign: Annotated[str, typer.Argument(help="Name of the campaign.")],
    root: Annotated[str, typer.Option(help="Root of the store.")] = "lake",
    output: Annotated[
        Path | None, typer.Option("-o", help="Write it here; CAMPAIGN-report.html by default.")
    ] = None,
    static: Annotated[
        str,
        typer.Option(help="Campaign on data that stood still, drawn as a dashed line of accuracy."),
    ] = "",
    rows: Annotated[int, typer.Option(min=0, help="Most samples in the page.")] = ROWS,
) -> None:
    """Write one HTML page about a campaign: accuracy, data, verdicts, costs, and its samples.

    The page needs no network. An unfinished iteration is shown as far as it has got.

    Example: looptool report demo -o report.html
    """
    target = output or Path(f"{campaign}-report.html")
    try:
        page = render_report(Store(root), campaign, static=static, rows=rows)
        target.write_text(page, "utf-8")
    except LoopToolError as exc:
        raise fail(exc) from exc
    except OSError as exc:
        raise fail(ConfigError(f"cannot write {target}: {exc.strerror}")) from exc
    out.print(f"{escape(str(target))}, {len(page.encode()) / 1e6:.1f} MB", soft_wrap=True)


@app.command()
def evaluate(
    policy: Annotated[
        str, typer.Argument(help="Name of a campaign, or the folder of a checkpoint.")
    ],
    benchmark: Annotated[
        Benchmark, typer.Option(help="Which benchmark; `make bfcl` makes the environments of BFCL.")
    ],
    categories: Annotated[
        str, typer.Option(help="Its categories, separated by commas; all by default.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many items of each category.")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(help="Profile whose sections policy, evaluate and benchmarks count."),
    ] = None,
    iteration: Annotated[
        int | None, typer.Option(min=1, help="Of a campaign: whose policy; the best by default.")
    ] = None,
    root: RootOption = "lake",
    output: Annotated[
        Path | None, typer.Option("-o", help="Write every item here, as JSON lines.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Score a policy on a published benchmark: the official verdict and ours, side by side.

    Nothing is stored in the campaign; for that run the deployment looptool-evaluate/evaluate.

    Examples: looptool evaluate models/nano-base --benchmark bfcl_v4 --categories simple_python --limit 50,
    looptool evaluate demo --benchmark bfcl_v3
    """
    asked = tuple(name.strip() for name in categories.split(",") if name.strip())
    scores: list[BenchmarkScore] = []
    try:
        config = load_profile(profile) if profile else LoopConfig()
        config = narrow(config, benchmark.value, asked, limit)
        folder = find_policy(policy, root, iteration)
        with output.open("w", encoding="utf-8") if output else contextlib.nullcontext() as file:
            for items, score in evaluate_policy(benchmark.value, folder, config):
                scores.append(score)
                if file:
                    file.writelines(item.model_dump_json() + "\n" for item in items)
                if not json_output:
                    err.print(f"{score.category}: {score.n} items, {score.errors} failed")
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json([score.model_dump(mode="json") for score in scores]))
        return
    table = Table(title=f"{benchmark.value}, {scores[0].version}", title_justify="left")
    for head in HEADS:
        table.add_column(head, no_wrap=True)
    for row in score_rows(scores):
        table.add_row(*map(escape, row))
    out.print(table)


decontaminate_app = typer.Typer(
    help="Keep benchmarks out of the training data.", no_args_is_help=True
)
app.add_typer(decontaminate_app, name="decontaminate")


@decontaminate_app.command("index")
def index_benchmark(
    source: Annotated[
        str, typer.Argument(help="'bfcl-eval' for the installed package, or a folder or file.")
    ],
    output: Annotated[Path, typer.Option("-o", help="Write the index here.")],
    name: Annotated[str, typer.Option(help="Name in reports; the source's by default.")] = "",
    python: Annotated[
        str, typer.Option(help="Interpreter that has bfcl-eval, if it is another one.")
    ] = "",
) -> None:
    """Hash a benchmark; the file holds hashes and the ids of the entries, no text.

    A folder holds JSON or JSON lines: prompts or messages, functions, expected calls.

    Examples: looptool decontaminate index bfcl-eval --python .venv-bfcl/bin/python -o bfcl.index,
    looptool decontaminate index data/acebench -o acebench.index
    """
    try:
        folder = find_bfcl(python) if source == BFCL else Path(source)
        hashes = build_index(read_entries(folder))
        index = save_index(hashes, name or (BFCL if source == BFCL else folder.stem), output)
    except LoopToolError as exc:
        raise fail(exc) from exc
    except OSError as exc:
        raise fail(ConfigError(f"cannot write {output}: {exc.strerror}")) from exc
    out.print(
        f"{escape(str(output))}: {index.entries} entries of {escape(index.name)}, "
        f"{index.hashes.height} hashes, sha256 {index.digest[:12]}",
        soft_wrap=True,
    )


@decontaminate_app.command("check")
def check_contamination(
    data: Annotated[str, typer.Argument(help="Name of a campaign, or a Parquet file of samples.")],
    index: Annotated[list[Path], typer.Option("--index", help="A benchmark index; repeatable.")],
    root: RootOption = "lake",
    json_output: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """List which samples overlap with which entries of a benchmark, and by what.

    Of a campaign the newest dataset is checked. The exit status is 1 if anything is to be dropped.

    Example: looptool decontaminate check demo --index bfcl.index
    """
    keeper = Gatekeeper([])
    rows = 0
    try:
        keeper = Gatekeeper([load_index(path) for path in index])
        for batch in _samples_of(data, root):
            rows += batch.num_rows
            keeper.check_rows(batch)
    except LoopToolError as exc:
        raise fail(exc) from exc
    if json_output:
        typer.echo(canonical_json([match.model_dump(mode="json") for match in keeper.matches]))
    else:
        out.print(show_contamination(keeper.matches))
        flagged = len({match.sample_id for match in keeper.matches} - keeper.dropped.keys())
        out.print(f"{rows} samples, {len(keeper.dropped)} to drop, {flagged} flagged")
    if keeper.dropped:
        raise typer.Exit(1)


def _samples_of(data: str, root: str) -> Iterator[pa.RecordBatch]:
    """The samples of a Parquet file, or of the newest dataset of a campaign."""
    if not data.endswith(".parquet"):
        store = Store(root)
        records = Campaign(store, data).complete()
        if not records:
            raise CampaignError(f"campaign {data} has no complete iteration below {root}")
        yield from store.scan(records[-1].next_dataset, "samples")
        return
    try:
        file = pq.ParquetFile(data)
        check_columns("samples", file.schema_arrow, data)
        yield from file.iter_batches()
    except (OSError, pa.ArrowException) as exc:
        raise DataError(f"{data} cannot be read: {shorten(exc)}") from exc


def show_contamination(matches: Sequence[Contamination]) -> Table:
    """One line an overlap."""
    table = Table("sample", "action", "rule", "score", "benchmark", "entry", "shared")
    for match in matches:
        cells = (match.sample_id, match.action, match.rule, f"{match.score:g}")
        more = (match.benchmark, match.entry, shorten(match.evidence, 80))
        table.add_row(*map(escape, (*cells, *more)))
    return table


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
