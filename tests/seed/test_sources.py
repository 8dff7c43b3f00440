"""Tool sources: what is taken, what is recorded as rejected, and what stops everything at once."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from looptool.config import ToolSource
from looptool.errors import ConfigError, DataError
from looptool.seed import collect_tools, load_json_tools, save_tools

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
    other = {**GOOD, "parameters": {"properties": {"zone": {"type": "string"}}}}
    first = write(tmp_path, [GOOD], "a.json")
    second = write(tmp_path, [GOOD, other], "b.json")
    sources = [ToolSource(format="json", location=place) for place in (first, second)]
    found = collect_tools([*sources, ToolSource()])
    assert [tool.name for tool in found.tools][:2] == ["get_time", "get_time_2"]
    assert len(found.tools) == 62


def test_duplicates_by_content_and_by_name_with_properties_are_dropped_and_reported(
    tmp_path: Path,
) -> None:
    reworded = {**GOOD, "description": "Another one."}
    wider = {"name": "get_time", "parameters": {"properties": {"city": {}, "zone": {}}}}
    place = write(tmp_path, [GOOD, GOOD, reworded, wider])
    found = collect_tools([ToolSource(location=place)])
    assert [sorted(tool.parameters["properties"]) for tool in found.tools] == [
        ["city"],
        ["city", "zone"],
    ]
    assert [
        (twin.kept.source[-2:], twin.dropped.source[-2:], twin.why) for twin in found.duplicates
    ] == [
        ("#0", "#1", "content"),
        ("#0", "#2", "name_and_properties"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", json.dumps([GOOD])),
        ("b.yaml", "openapi: 3.0.1\npaths: {/time: {get: {operationId: get_time}}}\n"),
        ("c", "tools:\n- name: get_time\n"),
        ("d.json", json.dumps(GOOD)),
        ("e.json", json.dumps([{"functionDeclarations": [{"name": "get_time"}]}])),
    ],
)
def test_the_format_is_found_by_what_the_document_holds(
    tmp_path: Path, name: str, text: str
) -> None:
    found = collect_tools([ToolSource(location=write(tmp_path, text, name))])
    assert [tool.name for tool in found.tools] == ["get_time"]


def test_no_location_is_the_catalogue_and_a_module_is_python() -> None:
    assert len(collect_tools([ToolSource()]).tools) == 60
    assert "dedent" in {
        tool.name for tool in collect_tools([ToolSource(location="textwrap")]).tools
    }


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("no/such/file.json", "no file, no http"),
        ("no_such_module", "no importable Python module"),
        ("x" * 5000, "no file"),
        ("a\0b", "no file"),
    ],
    ids=["file", "module", "long", "null"],
)
def test_a_location_that_leads_nowhere_lists_what_was_tried(location: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        collect_tools([ToolSource(location=location)])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"swagger": "2.0"}', "3.0 and 3.1 are read.*swagger 2.0; convert"),
        ("b.json", '{"foo": 1, "bar": 2}', "no OpenAPI document .* holds foo, bar"),
        ("c.txt", "just words", "holds 'just words'"),
        ("d.py", "def f(): ...", "give its module"),
        ("e.txt", "{", "neither JSON nor YAML"),
    ],
)
def test_a_document_that_is_no_source_says_what_it_is(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        collect_tools([ToolSource(location=write(tmp_path, text, name))])


def test_saved_tools_are_a_source_again(tmp_path: Path) -> None:
    tools = collect_tools([ToolSource(), ToolSource(location="textwrap")]).tools
    for name in ("tools.parquet", "tools.json"):
        file = tmp_path / name
        save_tools(tools, file)
        again = collect_tools([ToolSource(location=str(file))]).tools
        assert [tool.as_openai() for tool in again] == [tool.as_openai() for tool in tools]
    assert collect_tools([ToolSource(location=str(tmp_path / "tools.parquet"))]).tools == tools
    with pytest.raises(ConfigError, match=r"\.csv"):
        save_tools(tools, tmp_path / "tools.csv")
    with pytest.raises(ConfigError, match="cannot be written"):
        save_tools(tools, tmp_path / "nowhere" / "tools.json")


def test_parquet_of_another_kind_or_cut_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(DataError, match="columns"):
        collect_tools([ToolSource(location=str(file))])
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigError, match="Parquet"):
        collect_tools([ToolSource(location=str(file))])


def test_include_and_limit_choose_among_the_tools() -> None:
    found = collect_tools([ToolSource(include=("flight", "hotel"), limit=3)])
    assert [t.name for t in found.tools] == ["search_flights", "book_flight", "search_hotels"]
    with pytest.raises(ConfigError, match="submarine"):
        collect_tools([ToolSource(include=("submarine",))])
