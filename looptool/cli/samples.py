"""A sample's life, and taking it out: `explain`, `retract`, `diff`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from looptool import lineage
from looptool.artifacts import Store
from looptool.campaign import Campaign, Retraction
from looptool.cli.terminal import (
    CampaignOption,
    JsonOption,
    RootOption,
    examples,
    out,
    reply,
    say,
)
from looptool.lineage.show import show_consequences, show_diff, show_explanation, show_retraction

app = typer.Typer(rich_markup_mode="rich")
PANEL = "Samples"


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool explain s-3f9a --campaign demo",
    ),
)
def explain(
    sample_id: Annotated[str, typer.Argument(help="Id of the sample, or the beginning of it.")],
    campaign: CampaignOption = None,
    root: RootOption = "lake",
    json_output: JsonOption = False,
) -> None:
    """Show where a sample came from, what changed it, and what became of it.

    Source, family, probes over the rounds, verdicts with every vote, label changes, datasets, fates.
    """
    found = lineage.explain(lineage.open_campaign(Store(root), campaign), sample_id)
    reply(found, json_output, lambda: out.print(show_explanation(found)))


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool retract s-3f9a --with-descendants --reason 'wrong unit in the label'",
        "looptool retract s-3f9a --undo",
        "looptool retract --json",
    ),
)
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
    json_output: JsonOption = False,
) -> None:
    """Take samples out: the next merge decides as if they had never been.

    A sample that corrects another one's label takes its correction back with it: the old label
    returns. Nothing is deleted, and --undo takes the samples back in.
    """
    state = lineage.open_campaign(Store(root), campaign)
    if not sample_ids:
        record = state.retractions()
        reply(record, json_output, lambda: _show_record(state, record))
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
    both = {"retraction": wanted, "consequences": effect}
    reply(both, json_output, lambda: out.print(show_consequences(wanted, effect)))


def _show_record(state: Campaign, record: Sequence[Retraction]) -> None:
    """The record of retractions, oldest first."""
    for row in record:
        out.print(show_retraction(row))
    if not record:
        say(f"campaign {state.name}: nothing was ever retracted")


@app.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "looptool diff D_2 D_3 --campaign demo --show 3",
    ),
)
def diff(
    before: Annotated[str, typer.Argument(help="The earlier dataset: D_2, or 2.")],
    after: Annotated[str, typer.Argument(help="The later dataset: D_3, or 3.")],
    campaign: CampaignOption = None,
    root: RootOption = "lake",
    show: Annotated[int, typer.Option(min=0, help="Examples of each group.")] = 0,
    json_output: JsonOption = False,
) -> None:
    """Show what entered, left and stayed between two datasets, and whose label changed."""
    state = lineage.open_campaign(Store(root), campaign)
    found = lineage.compare_datasets(state, before, after, show)
    reply(found, json_output, lambda: out.print(show_diff(found)))
