"""Published benchmarks: `evaluate`."""

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from looptool.cli.terminal import JsonOption, RootOption, err, examples, out, reply, unwritable
from looptool.config import LoopConfig, load_profile
from looptool.records import BenchmarkScore
from looptool.suites import HEADS, evaluate_policy, find_policy, narrow, score_rows

app = typer.Typer(rich_markup_mode="rich")


class Benchmark(StrEnum):
    """Published benchmarks."""

    bfcl_v3 = "bfcl_v3"
    bfcl_v4 = "bfcl_v4"
    acebench = "acebench"


@app.command(
    rich_help_panel="Campaigns",
    epilog=examples(
        "looptool evaluate models/nano-base --benchmark bfcl_v4 --categories simple_python --limit 50",
        "looptool evaluate demo --benchmark bfcl_v3 --json",
    ),
)
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
    json_output: JsonOption = False,
) -> None:
    """Score a policy on a published benchmark: the official verdict and ours, side by side.

    Nothing is stored in the campaign; for that run the deployment looptool-evaluate/evaluate.
    """
    asked = tuple(name.strip() for name in categories.split(",") if name.strip())
    config = load_profile(profile) if profile else LoopConfig()
    config = narrow(config, benchmark.value, asked, limit)
    folder = find_policy(policy, root, iteration)
    scores: list[BenchmarkScore] = []
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(output.open("w", encoding="utf-8")) if output else None
        except OSError as exc:
            raise unwritable(output or Path(), exc) from exc
        for items, score in evaluate_policy(benchmark.value, folder, config):
            scores.append(score)
            if file:
                file.writelines(item.model_dump_json() + "\n" for item in items)
            if not json_output:
                err.print(f"{score.category}: {score.n} items, {score.errors} failed")
    reply(scores, json_output, lambda: _show(benchmark, scores))


def _show(benchmark: Benchmark, scores: list[BenchmarkScore]) -> None:
    """The categories, one a line."""
    title = f"{benchmark.value}, {scores[0].version}"
    # Without lines between the columns: whole categories and figures fit into 80 of them.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in HEADS:
        table.add_column(head, no_wrap=head != "category", overflow="fold")
    for row in score_rows(scores):
        table.add_row(*map(escape, row))
    out.print(table)
