"""What all commands share: the consoles, options, how a result is printed, and how an error is."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from looptool.errors import ConfigError, LoopToolError
from looptool.records import canonical_json

out = Console()
err = Console(stderr=True)

CampaignName = Annotated[str, typer.Argument(help="Name of the campaign.")]
CampaignOption = Annotated[
    str | None, typer.Option(help="Name of the campaign; not needed where there is only one.")
]
RootOption = Annotated[str, typer.Option(help="Root of the store: a folder or a URL.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For a program.")]


class Commands(TyperGroup):
    """A group in which an error raised on purpose is one line on stderr and the exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except LoopToolError as exc:
            err.print(f"[red]error:[/red] {escape(str(exc))}", soft_wrap=True)
            raise typer.Exit(1) from exc


def examples(*lines: str) -> str:
    """The end of a command's help, one example a line."""
    return "\n\n".join(["Examples:", *(f"  $ {escape(line)}" for line in lines)])


def reply(found: object, as_json: bool, show: Callable[[], None]) -> None:
    """Print a result: as JSON for a program, or by `show` for people."""
    if as_json:
        typer.echo(canonical_json(to_jsonable_python(found)))
    else:
        show()


def say(line: str) -> None:
    """Print one line of plain text, however long."""
    out.print(escape(line), soft_wrap=True)


def unwritable(path: Path, error: OSError) -> ConfigError:
    """The error for a file that cannot be written."""
    return ConfigError(f"cannot write {path}: {error.strerror}")
