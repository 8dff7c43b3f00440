"""Benchmarks stay out of the training data: `decontaminate index`, `decontaminate check`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.markup import escape
from rich.table import Table

from looptool.artifacts import Store
from looptool.campaign import Campaign
from looptool.cli.terminal import (
    JsonOption,
    RootOption,
    examples,
    out,
    reply,
    say,
    unwritable,
)
from looptool.decontaminate import (
    BFCL,
    Gatekeeper,
    build_index,
    find_bfcl,
    load_index,
    read_entries,
    save_index,
)
from looptool.errors import CampaignError, DataError, shorten
from looptool.schema import check_columns

app = typer.Typer(
    help="Keep benchmarks out of the training data.", rich_markup_mode="rich", no_args_is_help=True
)


@app.command(
    "index",
    epilog=examples(
        "looptool decontaminate index bfcl-eval --python .venv-bfcl/bin/python -o bfcl.index",
        "looptool decontaminate index data/acebench -o acebench.index",
    ),
)
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
    """
    folder = find_bfcl(python) if source == BFCL else Path(source)
    hashes = build_index(read_entries(folder))
    try:
        index = save_index(hashes, name or (BFCL if source == BFCL else folder.stem), output)
    except OSError as exc:
        raise unwritable(output, exc) from exc
    say(
        f"{output}: {index.entries} entries of {index.name}, {index.hashes.height} hashes, "
        f"sha256 {index.digest[:12]}"
    )


@app.command(
    "check",
    epilog=examples(
        "looptool decontaminate check demo --index bfcl.index",
        "looptool decontaminate check samples.parquet --index bfcl.index --json",
    ),
)
def check_contamination(
    data: Annotated[str, typer.Argument(help="Name of a campaign, or a Parquet file of samples.")],
    index: Annotated[list[Path], typer.Option("--index", help="A benchmark index; repeatable.")],
    root: RootOption = "lake",
    json_output: JsonOption = False,
) -> None:
    """List which samples overlap with which entries of a benchmark, and by what.

    Of a campaign the newest dataset is checked. The exit status is 1 if anything is to be dropped.
    """
    keeper = Gatekeeper([load_index(path) for path in index])
    rows = 0
    for batch in _samples_of(data, root):
        rows += batch.num_rows
        keeper.check_rows(batch)
    reply(keeper.matches, json_output, lambda: _show_overlaps(keeper, rows))
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


def _show_overlaps(keeper: Gatekeeper, rows: int) -> None:
    """One line an overlap, and the counts."""
    table = Table("sample", "action", "rule", "score", "benchmark", "entry", "shared")
    for match in keeper.matches:
        cells = (match.sample_id, match.action, match.rule, f"{match.score:g}")
        more = (match.benchmark, match.entry, shorten(match.evidence, 80))
        table.add_row(*map(escape, (*cells, *more)))
    out.print(table)
    flagged = len({match.sample_id for match in keeper.matches} - keeper.dropped.keys())
    out.print(f"{rows} samples, {len(keeper.dropped)} to drop, {flagged} flagged")
