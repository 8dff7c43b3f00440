"""The command line: thin, everything it does is in the library. One module a group of commands."""

import typer

from looptool.cli import benchmarks, campaigns, evaluation, machine, samples, sources, stores
from looptool.cli.terminal import Commands

app = typer.Typer(
    name="looptool",
    cls=Commands,
    help="Train small models to call tools, by letting the data and the model improve each other.",
    epilog="Every command has examples: looptool COMMAND --help",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for group in (machine, sources, campaigns, evaluation, samples, stores):
    app.add_typer(group.app)
app.add_typer(benchmarks.app, name="decontaminate", rich_help_panel="Store and benchmarks")
