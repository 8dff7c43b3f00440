"""`looptool import-tools`, as people and programs use it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from looptool.cli import app
from looptool.seed import load_parquet_tools

GOOD = {
    "name": "get_time",
    "description": "Tell the time. " * 20,
    "parameters": {"city": {"type": "str"}},
}
BAD = {"name": "broken", "parameters": {"type": "array"}}
OLD = {"get": {"operationId": "old", "deprecated": True, "tags": ["time"]}}
NOW = {
    "get": {"operationId": "now", "tags": ["time"]},
    "put": {"operationId": "set", "tags": ["clock"]},
}


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["import-tools", *map(str, words)])


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([GOOD, GOOD, BAD]))
    return file


@pytest.fixture
def api(tmp_path: Path) -> Path:
    file = tmp_path / "api.json"
    file.write_text(json.dumps({"openapi": "3.1.0", "paths": {"/old": OLD, "/now": NOW}}))
    return file


def test_the_table_fits_eighty_columns_and_losses_go_to_stderr(tools: Path) -> None:
    result = run(tools)
    assert result.exit_code == 0
    assert "1 tools" in result.stdout
    assert "get_time" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "rejected broken:" in result.stderr
    assert "duplicate get_time_2" in result.stderr


def test_json_is_for_programs(tools: Path) -> None:
    found = json.loads(run(tools, "--json").stdout)
    assert [tool["name"] for tool in found["tools"]] == ["get_time"]
    assert found["rejected"][0]["place"] == "broken"
    assert found["duplicates"][0]["why"] == "content"


def test_the_ending_of_the_output_decides_its_format(tools: Path, tmp_path: Path) -> None:
    assert run(tools, "-o", tmp_path / "out.parquet").exit_code == 0
    assert [tool.name for tool in load_parquet_tools(str(tmp_path / "out.parquet"))[0]] == [
        "get_time"
    ]
    assert run(tmp_path / "out.parquet", "-o", tmp_path / "out.json").exit_code == 0
    (entry,) = json.loads((tmp_path / "out.json").read_text())
    assert entry["function"]["parameters"]["required"] == ["city"]
    refused = run(tools, "-o", tmp_path / "out.csv")
    assert refused.exit_code == 1
    assert ".parquet or .json" in refused.stderr


def test_operations_are_chosen_by_tag_path_and_deprecation(api: Path) -> None:
    def names(*options: str) -> list[str]:
        return [tool["name"] for tool in json.loads(run(api, "--json", *options).stdout)["tools"]]

    assert names() == ["now", "set"]
    assert names("--include-deprecated") == ["old", "now", "set"]
    assert names("--tag", "clock") == ["set"]
    assert names("--path", "/now", "--tag", "time") == ["now"]
    assert "1 deprecated; --include-deprecated" in run(api).stderr


@pytest.mark.parametrize("source", ["nowhere.json", "mcp:no-such-program", "http://127.0.0.1:9/x"])
def test_a_bad_source_is_one_line_on_stderr_and_status_one(source: str) -> None:
    result = run(source)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_help_says_that_modules_are_run() -> None:
    assert "which runs its code" in " ".join(run("--help").stdout.split())
