"""The command and the task that write the page."""

import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from looptool.cli import app
from looptool.config import load_profile
from tasks.report import publish_report
from tasks.scope import Scope
from tests.report.conftest import Lake

PROFILE = Path(__file__).parents[2] / "deployments" / "laptop.toml"


def test_the_command_writes_the_page_where_it_is_told(lake: Lake, tmp_path: Path) -> None:
    lake.finished(rounds=1)
    target = tmp_path / "page.html"
    done = CliRunner().invoke(
        app, ["report", "demo", "--root", str(lake.root), "-o", str(target), "--rows", "3"]
    )
    assert done.exit_code == 0, done.output
    assert "3 of 20 samples" in target.read_text("utf-8")
    assert str(target) in done.output.replace("\n", "")


def test_the_command_says_in_one_line_what_is_wrong(lake: Lake, tmp_path: Path) -> None:
    unknown = CliRunner().invoke(app, ["report", "other", "--root", str(lake.root)])
    assert (unknown.exit_code, unknown.output.count("error:")) == (1, 1)
    assert "no campaign other" in unknown.output
    target = str(tmp_path / "no" / "such" / "folder.html")
    closed = CliRunner().invoke(app, ["report", "demo", "--root", str(lake.root), "-o", target])
    assert closed.exit_code == 1
    assert "cannot write" in closed.output


def _scope(lake: Lake, campaign: str) -> Scope:
    config = load_profile(PROFILE, {"store.root": str(lake.root)})
    return Scope(campaign=campaign, iteration=1, config=config)


def test_the_page_stands_beside_the_record_of_its_iteration(lake: Lake) -> None:
    lake.finished(rounds=1)
    uri = publish_report(_scope(lake, "demo"))
    page = lake.root / "campaigns" / "demo" / "iterations" / "0001" / "report.html"
    assert uri == page.as_uri()
    assert page.with_name("iteration.json").is_file()
    assert "rounds complete" in page.read_text("utf-8")


def test_a_report_that_fails_is_logged_and_ends_nothing(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "looptool"):
        assert publish_report(_scope(lake, "other")) == ""
    assert "no campaign other" in caplog.text
