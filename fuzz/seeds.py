"""Inputs to start from: what stands literally in the tests, the profiles, and artifacts of a small store.

Nothing of the tests is imported or run; their sources are read as data.
"""

import ast
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from looptool.artifacts import ArtifactRef, ArtifactWriter, CheckpointRef, Store
from looptool.campaign import IterationRecord, Standing
from looptool.records import Promotion, Rejection

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
METHODS = ("get", "put", "post", "delete", "patch")


def read_literals(*names: str) -> Iterator[Any]:
    """Every literal in test modules, by their paths below tests/; containers with all that they hold."""
    for name in names:
        for node in ast.walk(ast.parse((TESTS / name).read_text("utf-8"))):
            if isinstance(node, ast.Constant | ast.Dict | ast.List | ast.Tuple | ast.JoinedStr):
                try:
                    yield ast.literal_eval(node)
                except (ValueError, TypeError):
                    continue


def as_json(value: Any) -> bytes:
    """The value as JSON that libFuzzer can change; what UTF-8 cannot hold stays escaped."""
    return json.dumps(value, default=str).encode()


def replies() -> Iterator[bytes]:
    """Replies of the parser's tests, and texts around markers."""
    for value in read_literals("calls/test_parse.py", "calls/test_reward.py"):
        if isinstance(value, str) and len(value) < 2000:
            yield value.encode("utf-8", "surrogatepass")


def comparisons() -> Iterator[bytes]:
    """Pairs of calls with their tools, from the rule's tests."""
    literals = list(read_literals("calls/test_rules.py", "calls/test_schemas.py"))
    properties = next(v for v in literals if isinstance(v, dict) and "count" in v and "tags" in v)
    tools = [{"name": "f", "parameters": {"type": "object", "properties": properties}}]
    for value in literals:
        if isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], str):
            yield _compare(tools, value[1], value[2])
        elif isinstance(value, dict) and value.keys() & {"type", "anyOf", "oneOf", "enum", "$ref"}:
            own = [{"name": "f", "parameters": {"type": "object", "properties": {"v": value}}}]
            for one in ("a", 1, [1, "a"], {"a": 1}):
                yield _compare(own, {"v": one}, {"v": one})


def _compare(tools: Any, predicted: Any, label: Any) -> bytes:
    calls = [[{"name": "f", "arguments": side}, {"name": "f"}] for side in (predicted, label)]
    return as_json({"tools": tools, "predicted": calls[0], "label": calls[1]})


def openapi() -> Iterator[bytes]:
    """Documents of the importer's tests, put together from the operations in them."""
    names = ("seed/test_openapi.py", "seed/test_nasty_documents.py", "seed/test_sources.py")
    for value in read_literals(*names):
        if not isinstance(value, dict):
            if isinstance(value, str) and "openapi:" in value:
                yield value.encode("utf-8", "surrogatepass")
            continue
        if "openapi" in value:
            yield as_json(value)
        elif any(str(key).startswith("/") for key in value):
            yield as_json({"openapi": "3.1.0", "paths": value})
        elif value.keys() & {"parameters", "requestBody", "responses", "operationId"}:
            yield as_json({"openapi": "3.0.3", "paths": {"/x/{id}": {"post": value}}})
        elif value.keys() & {"type", "properties", "allOf", "oneOf", "$ref"}:
            media = {"application/json": {"schema": value}}
            document = {
                "openapi": "3.1.0",
                "paths": {"/x": {"post": {"requestBody": {"content": media}}}},
            }
            yield as_json(document | {"components": {"schemas": {"A": value}}})


def tool_lists() -> Iterator[bytes]:
    """Tools in every dialect: OpenAI, MCP, Anthropic, data sets."""
    names = (
        "seed/test_normalise.py",
        "seed/test_dialects.py",
        "seed/test_sources.py",
        "seed/test_mcp.py",
    )
    for value in read_literals(*names, "seed/mcp_test_server.py"):
        if isinstance(value, dict) and value.keys() & {"name", "function", "tools"}:
            yield as_json([value])
            yield as_json({"tools": [value]})
        elif isinstance(value, dict) and value:
            yield as_json([{"name": "a", "parameters": value}])
            yield as_json(
                {"result": {"tools": [{"name": "a", "inputSchema": {"properties": value}}]}}
            )
        elif isinstance(value, str) and 2 < len(value) < 60:
            yield as_json([{"name": "a", "parameters": {"x": {"type": value}}}])


def functions() -> Iterator[bytes]:
    """Signatures with docstrings, as `targets.python` reads them."""
    docs = [v for v in read_literals("seed/test_python_tools.py") if isinstance(v, str)]
    for number, text in enumerate(docs):
        kinds = ["positional", "keyword", "rest", "mapping"]
        parameters = [
            {
                "name": name,
                "kind": kinds[(number + n) % 4],
                "hint": number + n,
                "default": text[:20],
            }
            for n, name in enumerate(("x", "y", "_z")[: number % 4])
        ]
        yield as_json({"name": "f", "doc": text, "parameters": parameters})
        yield as_json(
            {"name": "f", "doc": f"Do.\n\nArgs:\n    x (int): {text}", "parameters": parameters}
        )


def profiles() -> Iterator[bytes]:
    """The profiles of the repository, whole and by section."""
    for file in [*sorted((ROOT / "deployments").glob("*.toml")), TESTS / "flows" / "tiny.toml"]:
        text = file.read_text("utf-8")
        yield text.encode()
        yield from (part.encode() for part in text.split("\n\n"))


def manifests() -> Iterator[bytes]:
    """What a store holds beside the parts: a manifest, a receipt, a record, a note of what went."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        writer = ArtifactWriter(store, "campaigns/c/iterations/0001", "judge", "k")
        row = Rejection(stage="seed", row_id="1", rule="r", detail="d", row={})
        writer.write("rejections", "rejections", [row])
        ref = writer.commit({"a": "b"}, {"x": 1}, {"n": [1, 2]}, ["b"])
        for file in sorted(Path(folder).rglob("*.json")):
            yield file.read_bytes()
    yield record_of(ref).model_dump_json().encode()
    yield as_json({"parts": ["a", "b"], "removed_at": "2031-01-01T00:00:00+00:00"})
    yield as_json({"name": "c", "settings": {"judge.votes": 3}})


def record_of(ref: ArtifactRef) -> IterationRecord:
    """The record of an iteration whose artifacts are all one."""
    policy = CheckpointRef(uri=ref.uri, digest=ref.digest)
    standing = Standing(iteration=1, checkpoint=policy, scores=ref)
    return IterationRecord(
        iteration=1,
        previous="",
        start=standing,
        dataset=ref,
        checkpoint=policy,
        next_dataset=ref,
        scores=ref,
        promotion=Promotion(promoted=True, against=0, changes=(), reason=""),
        best=standing,
        verdicts=ref,
        finished_at="2031-01-01T00:00:00+00:00",
        summary={},
    )
