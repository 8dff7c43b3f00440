"""The command line: one page of help, examples that are commands, errors of one line."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from looptool.cli import app, machine


def commands(group: Any = None, path: str = "looptool") -> Iterator[tuple[str, Any]]:
    """Every command with its whole name."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def examples_of(command: Any) -> list[str]:
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_the_help_fits_on_one_page() -> None:
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERM": "dumb"})
    assert done.exit_code == 0
    assert done.output.count("\n") <= 40
    for name, _ in commands():
        assert name.split()[1] in done.output


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_has_examples_that_can_be_typed(name: str, command: Any) -> None:
    lines = examples_of(command)
    assert lines, f"{name} --help has no example"
    for line in lines:
        words = [word for word in shlex.split(line) if "=" not in word or word.startswith("-")]
        assert " ".join(words).startswith(name)
        arguments = words[len(name.split()) :]
        command.make_context(name, arguments)  # raises UsageError for what cannot be parsed


def test_an_example_with_an_unknown_option_would_be_found() -> None:
    command = dict(commands())["looptool status"]
    with pytest.raises(Exception, match="No such option"):
        command.make_context("status", ["demo", "--nosuch"])


def test_an_error_is_one_line_and_the_status_is_1(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["status", "demo", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "campaign demo has no complete iteration below" in done.output
    assert done.output.count("\n") == 1


def test_setting_up_outside_of_a_checkout_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine.looptool, "__file__", str(tmp_path / "site" / "looptool" / "x.py"))
    done = CliRunner().invoke(app, ["setup"])
    assert done.exit_code == 1
    assert "clone the repository and run looptool setup in its folder" in done.output


def test_the_checkout_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (machine.find_checkout() / "prefect.yaml").is_file()
