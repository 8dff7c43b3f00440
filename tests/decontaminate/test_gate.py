"""An index holds hashes alone, and each rule of the gate catches what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from looptool.decontaminate import (
    BenchmarkIndex,
    Gatekeeper,
    build_index,
    load_index,
    make_query,
    read_entries,
    save_index,
)
from looptool.errors import ConfigError, DataError
from looptool.records import canonical_json
from looptool.schema import Contamination

PROMPT = "Find the area of a triangle with a base of 10 units and height of 5 units."
BFCL = {
    "id": "simple_0",
    "question": [[{"role": "user", "content": PROMPT}]],
    "function": [
        {
            "name": "geometry.triangle_area",
            "parameters": {"type": "dict", "properties": {"base": {}, "height": {}}},
        }
    ],
}
ANSWER = {
    "id": "simple_0",
    "ground_truth": [{"geometry.triangle_area": {"base": [10], "height": [5], "unit": ["cm", ""]}}],
}


def build(folder: Path, *rows: dict[str, Any]) -> BenchmarkIndex:
    lines = "\n".join(json.dumps(row) for row in rows)
    folder.mkdir(exist_ok=True)
    (folder / "rows.json").write_text(lines, "utf-8")
    return save_index(build_index(read_entries(folder)), "bench", folder.parent / "b.index")


def tool(name: str, *properties: str) -> dict[str, Any]:
    return {"name": name, "parameters": {"properties": {key: {} for key in properties}}}


def check(
    index: BenchmarkIndex, said: str, *tools: dict[str, Any], calls: tuple[Any, ...] = ()
) -> list[Contamination]:
    messages = [{"role": "user", "content": said}]
    query = make_query("s-1", canonical_json(list(tools)), messages, {"calls": list(calls)})
    return Gatekeeper([index]).check([query])


def rules(matches: list[Contamination]) -> dict[str, str]:
    return {match.rule: match.action for match in matches}


def test_an_index_holds_no_text(tmp_path: Path) -> None:
    index = build(tmp_path / "bench", BFCL, ANSWER)
    assert index.hashes.columns == ["rule", "entry", "hash", "size"]
    assert index.hashes["entry"].unique().to_list() == ["simple_0"]
    data = (tmp_path / "b.index").read_bytes().lower()
    for text in (b"triangle", b"geometry", b"height"):
        assert text not in data


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    first = build(tmp_path / "one", BFCL, ANSWER)
    again = build(tmp_path / "two", ANSWER, BFCL)
    assert first.digest == again.digest
    assert build(tmp_path / "three", BFCL).digest != first.digest


def test_the_prompt_in_other_writing_is_the_prompt(tmp_path: Path) -> None:
    index = build(tmp_path / "bench", BFCL)
    matches = check(index, PROMPT.upper().replace(" ", "  ") + "!!")
    assert rules(matches) == {"prompt": "drop", "gram8": "drop", "gram3": "drop"}
    assert {(m.benchmark, m.entry, m.sample_id) for m in matches} == {("bench", "simple_0", "s-1")}


def test_eight_words_in_a_row_are_found_and_quoted(tmp_path: Path) -> None:
    index = build(tmp_path / "bench", BFCL)
    own = "my neighbour drew something on the wall of the shed and now wants to know for his garden"
    (match,) = check(index, f"{own} {own[::-1]} a triangle with a base of 10 units {own}")
    assert (match.rule, match.action, match.score) == ("gram8", "drop", 1.0)
    assert match.evidence == "a triangle with a base of 10 units"
    assert check(index, f"{own} {own[::-1]} triangle with a base of 10 units {own}") == []


def test_a_short_prompt_is_found_inside_a_longer_one(tmp_path: Path) -> None:
    index = build(tmp_path / "bench", {"id": "s", "prompt": "Who won the last cup?"})
    around = "since nobody here follows sports i have to ask you"
    found = check(index, f"{around} who won the last cup {around}")
    assert rules(found)["short"] == "drop"
    assert found[0].evidence == "who won the last cup"
    tiny = build(tmp_path / "tiny", {"id": "t", "prompt": "hi there"})
    assert check(tiny, "hi there my friend what is new") == []
    assert rules(check(tiny, "Hi there!")) == {"prompt": "drop"}


@pytest.mark.parametrize(("words", "action"), [(9, "drop"), (7, "flag"), (4, None)])
def test_similar_prompts_are_dropped_or_flagged_by_degree(
    words: int, action: str | None, tmp_path: Path
) -> None:
    entry = "one two three four five six seven eight nine ten eleven twelve"
    index = build(tmp_path / "bench", {"id": "e", "prompt": entry})
    parts = entry.split()
    mixed = [*parts[:words], *(f"other{n}" for n in range(12 - words))]
    if words == 9:  # no run of eight: one word in the middle is another
        mixed = [*parts[:6], "zero", *parts[6:]]
    if words == 7:
        mixed = [*parts[:7], "a", "b", "c", "d"]
    found = {m.rule: m.action for m in check(index, " ".join(mixed))}
    assert found.get("gram3") == action
    assert "gram8" not in found


def test_a_function_is_known_by_its_name_and_properties(tmp_path: Path) -> None:
    index = build(tmp_path / "bench", BFCL)
    assert rules(check(index, "x", tool("Geometry_TriangleArea", "height", "base"))) == {
        "tool": "drop"
    }
    (match,) = check(index, "x", tool("geometry_triangle_area", "a", "b"))
    assert (match.rule, match.action) == ("name", "flag")
    assert match.evidence == "geometry_triangle_area(a, b)"


def test_a_generic_name_alone_says_nothing(tmp_path: Path) -> None:
    index = build(
        tmp_path / "bench", {"id": "g", "prompt": "x", "function": tool("send_message", "to")}
    )
    assert check(index, "y", tool("sendMessage", "text")) == []
    assert rules(check(index, "y", tool("sendMessage", "to"))) == {"tool": "drop"}


@pytest.mark.parametrize(
    "arguments", [{"base": 10, "height": 5.0}, {"base": 10, "height": 5, "unit": "CM"}]
)
def test_the_expected_answer_is_known_by_its_values(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    index = build(tmp_path / "bench", BFCL, ANSWER)
    call = {"name": "geometry_triangle_area", "arguments": arguments}
    assert rules(check(index, "x", calls=(call,))) == {"call": "drop"}
    other = call | {"arguments": arguments | {"base": 11}}
    assert check(index, "x", calls=(other,)) == []


def test_answers_written_as_python_are_read_and_never_run(tmp_path: Path) -> None:
    turns = [["cd(folder='docs')"], ["__import__('os').system('touch ran')", "ls(a=True)"]]
    index = build(tmp_path / "bench", BFCL | {"id": "m"}, {"id": "m", "ground_truth": turns})
    call = {"name": "cd", "arguments": {"folder": "docs"}}
    assert rules(check(index, "x", calls=(call,))) == {"call": "drop"}
    assert not Path("ran").exists()


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="looptool decontaminate index"):
        load_index(tmp_path / "none")
    (tmp_path / "text").write_text("hello", "utf-8")
    with pytest.raises(DataError, match="no benchmark index"):
        load_index(tmp_path / "text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no benchmark entries"):
        read_entries(tmp_path / "empty")
