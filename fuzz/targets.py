"""What must hold for every input: no exception but the documented ones, and the laws of each reader.

A target takes bytes and returns nothing; whatever it raises is a finding. Bytes that are not of its form
at all (no JSON where JSON is read) are passed over.
"""

import atexit
import contextlib
import inspect
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

from jsonschema import Draft202012Validator

from fuzz import seeds
from looptool.artifacts import MANIFEST, Manifest, Store
from looptool.calls import (
    ToolIndex,
    answers_match,
    calls_match,
    check_label,
    compute_score,
    explain_mismatch,
    parse_arguments,
    parse_reply,
    relaxed_match,
    render_calls,
)
from looptool.campaign import Campaign, computed_settings
from looptool.config import load_profile, parse_config
from looptool.errors import ArtifactCorrupt, ArtifactMissing, ConfigError, DataError, StoreError
from looptool.fsck import repair, survey
from looptool.records import Rejection, ToolSpec, canonical_json
from looptool.retention import plan_removals, remove
from looptool.seed import load_openapi_tools, read_function
from looptool.seed.json_file import read_entries, read_json_tools
from looptool.seed.normalise import NAME
from looptool.seed.read import parse_document

TOOLS = [
    {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "default": 1},
                "s": {"type": "string"},
                "u": {"type": "array", "uniqueItems": True},
                "o": {"type": "object", "properties": {"n": {"type": ["number", "null"]}}},
            },
        },
    }
]
LABELS: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"name": "f", "arguments": {"a": 1}}],
    [{"name": "f"}] * 2,
)
MAX_CALLS = 12
"""Calls and tools of one input: more only cost time."""


def parser(data: bytes) -> None:
    """A reply is taken apart without an exception, and what was read reads back the same."""
    text = data.decode("utf-8", "surrogateescape")
    reply = parse_reply(text)
    assert reply.error is None or reply.calls == ()
    for call in reply.calls:
        assert call.keys() == {"name", "arguments"}
        assert call["name"]
        canonical_json(parse_arguments(call["arguments"])).encode()
    try:
        again = parse_reply(render_calls(reply.calls, reply.text, reply.reasoning))
    except DataError:
        pass  # a marker in the text, which a reply cannot say
    else:
        assert (again.reasoning, again.calls, again.text) == (
            reply.reasoning,
            reply.calls,
            reply.text,
        )
        assert again.error is None
    for label in LABELS:
        matched = answers_match(reply, label, TOOLS)
        assert compute_score("", text, {"calls": label, "tools": TOOLS})["score"] == float(matched)
        if label:
            assert matched == (reply.error is None and calls_match(label, reply.calls, TOOLS))


def matcher(data: bytes) -> None:
    """The laws of the rule: symmetric, explained, blind to order, and within the relaxed rule."""
    document = _parse_object(data)
    tools, left, right = (document.get(key) for key in ("tools", "predicted", "label"))
    if not all(
        isinstance(value, list) and len(value) <= MAX_CALLS for value in (tools, left, right)
    ):
        return
    assert tools is not None
    assert left is not None
    assert right is not None
    try:
        index = ToolIndex(tools)
        matched = calls_match(left, right, index)
    except DataError:
        return  # tools without a name, or that nest too deep
    assert calls_match(right, left, index) is matched
    assert calls_match(left[::-1], right, index) is matched
    assert (explain_mismatch(left, right, index) is None) is matched
    assert (explain_mismatch(right, left, index) is None) is matched
    ordered = calls_match(left, right, index, ordered=True)
    assert calls_match(right, left, index, ordered=True) is ordered
    assert matched or not ordered
    assert (explain_mismatch(left, right, index, ordered=True) is None) is ordered
    assert relaxed_match(left, right, index) or not matched
    for label in (left, right):
        assert calls_match(label, label, index) is (check_label(label, index) == [])


def openapi(data: bytes) -> None:
    """An OpenAPI document gives tools that can be used, and a reason for everything else."""
    document = _parse_any(data)
    if isinstance(document, dict):
        with contextlib.suppress(ConfigError):
            _check_tools(*load_openapi_tools(document))


def tool_lists(data: bytes) -> None:
    """So do lists of tools in any dialect, and what an MCP server lists: nothing is lost on the way."""
    document = _parse_any(data)
    with contextlib.suppress(ConfigError, DataError):
        _check_tools(*read_json_tools(document, "f"))
    for entries in _lists_in(document):
        tools, rejections = read_entries(entries, "f")
        assert len(tools) + len(rejections) == len(entries)
        _check_tools(tools, rejections)


def _lists_in(document: Any) -> Iterator[list[Any]]:
    if isinstance(document, list):
        yield document
    elif isinstance(document, dict):
        yield from (value for value in document.values() if isinstance(value, list))


def _check_tools(tools: Iterable[ToolSpec], rejections: Iterable[Rejection]) -> None:
    """Fit for endpoints, for Parquet, for every validator, and named apart."""
    found = list(tools)
    assert len({tool.name for tool in found}) == len(found)
    for tool in found:
        assert NAME.fullmatch(tool.name)
        tool.model_dump_json().encode()
        assert ToolSpec.model_validate_json(tool.model_dump_json()) == tool
        Draft202012Validator.check_schema(tool.parameters)
        assert tool.parameters["type"] == "object"
        calls_match([{"name": tool.name}], [{"name": tool.name}], [tool.as_openai()])
    for row in rejections:
        assert row.detail
        row.model_dump_json().encode()


class _Place(TypedDict, total=False):
    city: str
    zone: int


@dataclass
class _Point:
    x: float
    tags: list[str]


_HINTS: tuple[Any, ...] = (
    int, str, bool, float, None, bytes, dict, list, tuple, set, object, Any, int | None, list[int],
    dict[str, int], tuple[int, str], tuple[int, ...], Literal["a", 1], _Place, _Point, Callable[[int], str],
    Path, "int", "List[str]", "Nowhere", "int | None", inspect.Parameter.empty, type, Iterator[int], ...,
)  # fmt: skip
_KINDS = {
    "positional": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "only": inspect.Parameter.POSITIONAL_ONLY,
    "keyword": inspect.Parameter.KEYWORD_ONLY,
    "rest": inspect.Parameter.VAR_POSITIONAL,
    "mapping": inspect.Parameter.VAR_KEYWORD,
}


def python(data: bytes) -> None:
    """A function with any signature and docstring is a tool, or a DataError says why not.

    The function is put together here, its hints come from a list: no text of the input is ever run.
    """
    document = _parse_object(data)
    given = document.get("parameters")

    def function() -> None: ...

    parameters: list[inspect.Parameter] = []
    for one in given if isinstance(given, list) else []:
        if isinstance(one, dict):
            kind = _KINDS.get(str(one.get("kind")), inspect.Parameter.POSITIONAL_OR_KEYWORD)
            hint = one.get("hint")
            known = _HINTS[hint % len(_HINTS)] if type(hint) is int else str(hint)
            many = kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            default = one["default"] if "default" in one and not many else inspect.Parameter.empty
            name = str(one.get("name"))
            if name.isidentifier():
                try:
                    parameters.append(
                        inspect.Parameter(name, kind, default=default, annotation=known)
                    )
                except ValueError:
                    return
    doc = document.get("doc")
    function.__doc__ = doc if isinstance(doc, str) else None
    function.__name__ = str(document.get("name") or "f")
    try:
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    except ValueError:
        return
    with contextlib.suppress(DataError):
        _check_tools([read_function(function)], [])


def profile(data: bytes) -> None:
    """A profile is a configuration, which reads back the same, or a ConfigError."""
    file = _scratch() / "profile.toml"
    file.write_bytes(data)
    try:
        config = load_profile(file)
    except ConfigError as exc:
        str(exc).encode("utf-8", "surrogatepass")
        return
    assert parse_config(config.model_dump(mode="json", by_alias=True)) == config
    canonical_json(computed_settings(config))
    for key, value in tomllib.loads(file.read_text("utf-8")).items():
        with contextlib.suppress(ConfigError):
            load_profile(file, {f"{key}.x": value})


FOLDER = "campaigns/c/iterations/0001/judge/k"
NAMES = (
    f"{FOLDER}/{MANIFEST}",
    f"{FOLDER}/receipts/rejections-00000.json",
    "campaigns/c/iterations/0001/iteration.json",
    f"{FOLDER}/expired.json",
    "campaigns/c/campaign.json",
    "campaigns/c/spending/s.json",
    "campaigns/c/retractions/r.json",
)
"""Where a document of a store may lie."""


def manifests(data: bytes) -> None:
    """Whatever stands in a store's documents: readers say that it is corrupt, and touch nothing else."""
    base = _scratch()
    root = base / "lake"
    shutil.rmtree(root, ignore_errors=True)
    kept = base / "outside.json"
    kept.write_text("{}")
    for name in NAMES:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    store = Store(str(root))
    _read_artifact(store, base)
    campaign = Campaign(store, "c")
    for read in (campaign.complete, campaign.settings, campaign.spent_usd, campaign.retractions):
        with contextlib.suppress(ArtifactCorrupt):
            read()
    survey(store)
    with contextlib.suppress(ArtifactCorrupt):
        remove(store, plan_removals(store, keep_checkpoints=1, age_s=0.0))
    repair(store, survey(store), "quarantine")
    assert kept.read_text() == "{}"
    assert sorted(path.name for path in base.iterdir()) == ["lake", "outside.json", "profile.toml"]


def _read_artifact(store: Store, base: Path) -> None:
    uri = store.uri(FOLDER)
    try:
        manifest = store.read_manifest(uri)
    except ArtifactCorrupt:
        return
    assert manifest is not None
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    ref = store.ref(uri)
    assert ref is not None
    assert ref.digest == manifest.digest()
    for part in manifest.parts:
        inside = os.path.normpath(base / "lake" / FOLDER / part.path)
        assert inside.startswith(str(base / "lake" / FOLDER) + os.sep), part.path
        with contextlib.suppress(ArtifactCorrupt, ArtifactMissing, StoreError):
            store.read_part(uri, part)
    for table in {part.table for part in manifest.parts}:
        with contextlib.suppress(ArtifactCorrupt, ArtifactMissing, StoreError, DataError):
            store.read(ref, table, Rejection)
        with contextlib.suppress(ArtifactCorrupt, ArtifactMissing, StoreError):
            store.fetch_files(ref, table, base / "lake" / "cache")


@cache
def _scratch() -> Path:
    """A folder for files of one process, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="looptool-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "profile.toml").touch()
    return folder


def _parse_object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _parse_any(data: bytes) -> Any:
    try:
        return parse_document(data.decode("utf-8", "replace"), "f")
    except ConfigError:
        return None


@dataclass(frozen=True)
class Target:
    """One reader under test."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    is_json: bool = True
    """Whether half of the mutations change JSON by its structure."""


TARGETS = {
    "parser": Target(parser, seeds.replies, is_json=False),
    "matcher": Target(matcher, seeds.comparisons),
    "openapi": Target(openapi, seeds.openapi),
    "tool_lists": Target(tool_lists, seeds.tool_lists),
    "python": Target(python, seeds.functions),
    "profile": Target(profile, seeds.profiles, is_json=False),
    "manifests": Target(manifests, seeds.manifests),
}
