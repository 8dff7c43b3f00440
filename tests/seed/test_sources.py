"""Tool sources: what is taken, what is recorded as rejected, and what stops everything at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from looptool.config import ToolSource
from looptool.errors import ConfigError, DataError
from looptool.seed import collect_tools, load_json_tools

GOOD = {"name": "get_time", "parameters": {"properties": {"city": {"type": "string"}}}}
BAD = {"name": "broken", "parameters": {"type": "array"}}


def write(folder: Path, document: Any, name: str = "tools.json") -> str:
    file = folder / name
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(file)


@pytest.mark.parametrize(
    "wrap", [lambda t: t, lambda t: {"tools": t}, lambda t: {"result": {"tools": t}}]
)
def test_lists_objects_and_answers_of_mcp_servers_are_read(tmp_path: Path, wrap: Any) -> None:
    tools, rejections = load_json_tools(write(tmp_path, wrap([GOOD])))
    assert [tool.name for tool in tools] == ["get_time"]
    assert tools[0].source.endswith("tools.json#0")
    assert rejections == []


def test_a_bad_tool_is_recorded_and_the_rest_go_on(tmp_path: Path) -> None:
    tools, rejections = load_json_tools(write(tmp_path, [BAD, GOOD]))
    assert [tool.name for tool in tools] == ["get_time"]
    assert [(r.stage, r.row_id, r.rule) for r in rejections] == [("seed", "broken", "bad_tool")]
    assert rejections[0].row == BAD
    assert "type object" in rejections[0].detail


@pytest.mark.parametrize(
    ("document", "error", "words"),
    [
        ("{not json", ConfigError, "not JSON"),
        ("", ConfigError, "not JSON"),
        ("[" * 100_000, ConfigError, "not JSON"),
        ([], ConfigError, "no tools"),
        ({"tools": []}, ConfigError, "no tools"),
        ({"tools": "all"}, ConfigError, "must be a list"),
        ("5", ConfigError, "must be a list"),
        ([GOOD, {"description": "?"}], DataError, "number 2 has no name"),
        ([GOOD, 5], DataError, "number 2 has no name"),
    ],
)
def test_a_file_that_is_no_tool_file_stops_everything(
    tmp_path: Path, document: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        load_json_tools(write(tmp_path, document))
    assert "tools.json" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        load_json_tools(tmp_path / "nowhere.json")


def test_a_source_without_a_usable_tool_says_why(tmp_path: Path) -> None:
    source = ToolSource(format="json", location=write(tmp_path, [BAD]))
    with pytest.raises(ConfigError, match=r"broken: .*type object"):
        collect_tools([source])


def test_no_sources_and_no_location_are_errors() -> None:
    with pytest.raises(ConfigError, match="sources"):
        collect_tools([])
    with pytest.raises(ConfigError, match="location"):
        collect_tools([ToolSource(format="json")])


def test_sources_are_joined_with_unique_names_and_without_repetition(tmp_path: Path) -> None:
    other = {**GOOD, "description": "Another one."}
    first = write(tmp_path, [GOOD], "a.json")
    second = write(tmp_path, [GOOD, other], "b.json")
    sources = [ToolSource(format="json", location=place) for place in (first, second)]
    found = collect_tools([*sources, ToolSource()])
    assert [tool.name for tool in found.tools][:2] == ["get_time", "get_time_2"]
    assert len(found.tools) == 62


def test_include_and_limit_choose_among_the_tools() -> None:
    found = collect_tools([ToolSource(include=("flight", "hotel"), limit=3)])
    assert [t.name for t in found.tools] == ["search_flights", "book_flight", "search_hotels"]
    with pytest.raises(ConfigError, match="submarine"):
        collect_tools([ToolSource(include=("submarine",))])
