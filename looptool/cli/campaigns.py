"""What a campaign has brought, and what leaves it: `status`, `report`, `publish`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from looptool.artifacts import Store
from looptool.campaign import Campaign, IterationRecord
from looptool.cli.terminal import (
    CampaignName,
    JsonOption,
    RootOption,
    examples,
    out,
    reply,
    say,
    unwritable,
)
from looptool.errors import CampaignError
from looptool.report import ROWS, draw_accuracy, render_report

app = typer.Typer(rich_markup_mode="rich")
PANEL = "Campaigns"


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


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool status demo",
        "looptool status demo --root s3://bucket/lake --json",
    ),
)
def status(
    campaign: CampaignName,
    root: RootOption = "lake",
    json_output: JsonOption = False,
) -> None:
    """Show the complete iterations of a campaign and what they brought."""
    records = Campaign(Store(root), campaign).complete()
    if not records and not json_output:
        raise CampaignError(f"campaign {campaign} has no complete iteration below {root}")
    reply(records, json_output, lambda: out.print(show_iterations(records)))


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool report demo",
        "looptool report demo --root s3://bucket/lake -o report.html --static frozen",
    ),
)
def report(
    campaign: CampaignName,
    root: RootOption = "lake",
    output: Annotated[
        Path | None, typer.Option("-o", help="Write it here; CAMPAIGN-report.html by default.")
    ] = None,
    static: Annotated[
        str,
        typer.Option(help="Campaign on data that stood still, drawn as a dashed line of accuracy."),
    ] = "",
    rows: Annotated[int, typer.Option(min=0, help="Most samples in the page.")] = ROWS,
    image: Annotated[
        Path | None, typer.Option(help="Write the curve of accuracy here as well, as PNG.")
    ] = None,
) -> None:
    """Write one HTML page: accuracy, data, verdicts, costs, and every sample.

    The page needs no network. An unfinished iteration is shown as far as it has got.
    """
    target = output or Path(f"{campaign}-report.html")
    page = render_report(Store(root), campaign, static=static, rows=rows)
    try:
        target.write_text(page, "utf-8")
        if image:
            image.write_bytes(draw_accuracy(Store(root), campaign))
    except OSError as exc:
        raise unwritable(target, exc) from exc
    say(f"{target}, {len(page.encode()) / 1e6:.1f} MB")


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool publish demo -o published",
        "looptool publish demo -o published --model-repo me/model --dataset-repo me/data",
    ),
)
def publish(
    campaign: CampaignName,
    output: Annotated[Path, typer.Option("-o", help="A new or empty folder.")],
    iteration: Annotated[
        int | None, typer.Option(min=1, help="Iteration; the best policy's by default.")
    ] = None,
    root: RootOption = "lake",
    model_repo: Annotated[
        str, typer.Option(help="Upload the model to this hub repository; token in HF_TOKEN.")
    ] = "",
    dataset_repo: Annotated[
        str, typer.Option(help="Upload the dataset to this hub repository; token in HF_TOKEN.")
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Write the best policy and its data as folders to share, with cards.

    Formats: Hugging Face for the model; Parquet, TRL, ms-swift and veRL for the data.
    """
    from looptool.publish import publish as publish_campaign
    from looptool.publish import upload

    addresses = {}
    found = publish_campaign(Campaign(Store(root), campaign), output, iteration)
    if model_repo:
        addresses["model"] = upload(found.model, model_repo, "model")
    if dataset_repo:
        addresses["dataset"] = upload(found.dataset, dataset_repo, "dataset")
    lines = [f"iteration {found.iteration}: {found.model} and {found.dataset}"]
    lines += [f"{kind}: {address}" for kind, address in addresses.items()]
    document = {name: str(value) for name, value in dataclasses.asdict(found).items()}
    reply(document | {"uploaded": addresses}, json_output, lambda: say("\n".join(lines)))
