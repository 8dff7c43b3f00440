"""The entries of a benchmark, read from its data files: prompt, tools and expected calls.

Files may hold a JSON array or one JSON object a line. Understood are the shapes of BFCL and ACEBench,
OpenAI messages, and rows with a plain `prompt`, `query`, `instruction` or `text`. Files of answers are
joined to their questions by `id`. Whatever else a row holds is ignored; a file that is no JSON is an
error. Nothing is imported from the benchmark and nothing in it is run.
"""

import ast
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from looptool.errors import ConfigError, DataError, shorten
from looptool.records import JsonObject, as_mapping

BFCL = "bfcl-eval"
"""The source that stands for the installed package."""

PROMPTS = ("question", "messages", "prompt", "query", "instruction", "text")
TOOLS = ("function", "functions", "tools")
ANSWERS = ("ground_truth", "expected", "calls", "answers")
COMBINATIONS_MAX = 64
"""Accepted value combinations of one expected answer that are indexed, at most."""

Call = tuple[str, JsonObject]


@dataclass(frozen=True, slots=True)
class Entry:
    """One task of a benchmark."""

    entry_id: str
    prompt: str = ""
    """The user's turns, joined."""
    tools: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Name and property names of every function."""
    answers: tuple[tuple[Call, ...], ...] = ()
    """The accepted answers to each turn: sets of calls."""


def find_bfcl(python: str = "") -> Path:
    """The data folder of an installed bfcl-eval, in this environment or in that of `python`."""
    code = "from importlib import metadata as m; print(m.distribution('bfcl-eval').locate_file('bfcl_eval'))"
    if not python:
        try:
            folder = Path(str(metadata.distribution(BFCL).locate_file("bfcl_eval")))
        except metadata.PackageNotFoundError as exc:
            raise ConfigError(
                f"{BFCL} is not installed beside {sys.executable}; name the interpreter that has it "
                "with --python, or give the folder of its data files"
            ) from exc
    else:
        try:
            done = subprocess.run(  # noqa: S603 - an interpreter that the user names
                [python, "-c", code], capture_output=True, text=True, timeout=60, check=True
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise ConfigError(f"{python} does not find {BFCL} ({shorten(exc)})") from exc
        folder = Path(done.stdout.strip())
    return folder / "data"


def read_entries(folder: Path) -> list[Entry]:
    """All entries below a folder (or of one file), ordered by id; DataError without any."""
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json*"))
    found: dict[str, Entry] = {}
    answers: dict[str, tuple[tuple[Call, ...], ...]] = {}
    for file in files:
        if file.suffix not in (".json", ".jsonl"):
            continue
        for number, row in enumerate(_read_rows(file)):
            key = str(row.get("id") or f"{file.stem}:{number}")
            expected = tuple(_read_answers(row))
            if expected:
                answers[key] = answers.get(key, ()) + expected
            entry = Entry(key, _read_prompt(row), tuple(_read_tools(row)))
            if entry.prompt or entry.tools:
                while key in found and found[key] != entry:
                    key = f"{key}@{file.stem}"
                found[key] = replace(entry, entry_id=key)
    if not found:
        raise DataError(f"{folder} holds no benchmark entries: no .json or .jsonl with a prompt")
    return [replace(found[k], answers=answers.get(k.partition("@")[0], ())) for k in sorted(found)]


def _read_rows(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
        try:
            value = json.loads(text)
            rows = value if isinstance(value, list) else [value]
        except ValueError:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as exc:
        raise DataError(f"{file} cannot be read as JSON or JSON lines: {shorten(exc)}") from exc
    return (row for row in rows if isinstance(row, Mapping))


def _read_prompt(row: Mapping[str, Any]) -> str:
    for name in PROMPTS:
        if name in row:
            return " ".join(_user_texts(row[name]))
    return ""


def _user_texts(value: Any) -> Iterator[str]:
    """User turns of a text, of messages, or of messages in turns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if value.get("role", "user") == "user" and isinstance(value.get("content"), str):
            yield value["content"]
    elif isinstance(value, Sequence):
        for item in value:
            yield from _user_texts(item)


def _read_tools(row: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    docs: list[Any] = [row] if "name" in row and "parameters" in row else []
    for name in TOOLS:
        value = row.get(name)
        docs += value if isinstance(value, list) else [value]
    for doc in docs:
        spec = as_mapping(as_mapping(doc).get("function") or doc)
        if isinstance(spec.get("name"), str):
            properties = as_mapping(as_mapping(spec.get("parameters")).get("properties"))
            yield spec["name"], tuple(sorted(map(str, properties)))


def _read_answers(row: Mapping[str, Any]) -> Iterator[tuple[Call, ...]]:
    for name in ANSWERS:
        value = row.get(name)
        if isinstance(value, list) and value:
            turns = value if all(isinstance(turn, list) for turn in value) else [value]
            for turn in turns:
                yield from _combine(turn)


def _combine(turn: Sequence[Any]) -> Iterator[tuple[Call, ...]]:
    """The answers that one turn accepts; none if a part of it cannot be read."""
    options = [list(_read_call(call)) for call in turn]
    if options and all(options):
        yield from itertools.islice(itertools.product(*options), COMBINATIONS_MAX)


def _read_call(call: Any) -> Iterator[Call]:
    if isinstance(call, str):
        yield from _read_python_call(call)
    elif isinstance(call, Mapping) and isinstance(call.get("name"), str):
        yield call["name"], dict(as_mapping(call.get("arguments")))
    elif isinstance(call, Mapping) and len(call) == 1:
        ((name, arguments),) = call.items()
        yield from ((str(name), chosen) for chosen in _choose_values(as_mapping(arguments)))


def _choose_values(arguments: Mapping[str, Any]) -> Iterator[JsonObject]:
    """Every choice among the accepted values; `""` among them means that the key may be absent."""
    names = list(arguments)
    accepted = [value if isinstance(value, list) else [value] for value in arguments.values()]
    for values in itertools.islice(itertools.product(*accepted), COMBINATIONS_MAX):
        yield {
            name: value
            for name, value, all_ in zip(names, values, accepted, strict=True)
            if not (value == "" and len(all_) > 1)
        }


def _read_python_call(text: str) -> Iterator[Call]:
    """`f(a=1)`, read and never run; calls with positional or computed values are passed over."""
    try:
        node = ast.parse(text, mode="eval").body
        if isinstance(node, ast.Call) and not node.args:
            values = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
            yield ast.unparse(node.func), values
    except (SyntaxError, ValueError, RecursionError):
        return
