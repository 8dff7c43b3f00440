"""Samples as the Parquet rows that veRL's `RLHFDataset` reads.

Columns are veRL's: data_source, prompt, ability, reward_model, extra_info. Whatever has no fixed
shape (tools, calls, the label) is JSON text, because Parquet would merge the keys of different
argument objects; key order is kept, as the chat template shows it. The files are written row by row
in the order of training, so that veRL neither shuffles nor drops.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from looptool.errors import DataError, shorten

JsonObject = dict[str, Any]

DATA_SOURCE = "looptool"
MESSAGE_TEXTS = ("role", "content", "name", "tool_call_id")
"""What a message holds as plain text; `tool_calls` is JSON."""

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        (
            "prompt",
            pa.list_(
                pa.struct([(name, pa.string()) for name in (*MESSAGE_TEXTS, "tool_calls")]),
            ),
        ),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct([("index", pa.int64()), ("sample_id", pa.string()), ("tools", pa.string())]),
        ),
    ]
)


def pack_row(row: Mapping[str, Any], index: int) -> JsonObject:
    """A training row (`looptool.train.rows.build_row`) as a veRL row; `index` is its visit."""
    truth = {"sample_id": row["sample_id"], **json.loads(row["ground_truth"])}
    return {
        "data_source": DATA_SOURCE,
        "prompt": [pack_message(message) for message in row["messages"]],
        "ability": "tool_calling",
        "reward_model": {"style": "rule", "ground_truth": _dump(truth)},
        "extra_info": {
            "index": index,
            "sample_id": row["sample_id"],
            "tools": _dump(list(row["tools"])),
        },
    }


def pack_message(message: Mapping[str, Any]) -> JsonObject:
    """A chat message with its calls as JSON text; raises DataError for what would be lost."""
    unknown = set(message) - {*MESSAGE_TEXTS, "tool_calls"}
    if unknown:
        raise DataError(f"chat message with keys that veRL rows do not hold: {sorted(unknown)}")
    packed: JsonObject = {name: message.get(name) for name in MESSAGE_TEXTS}
    calls = message.get("tool_calls")
    packed["tool_calls"] = None if calls is None else _dump(calls)
    for name in MESSAGE_TEXTS:
        if packed[name] is not None and not isinstance(packed[name], str):
            raise DataError(f"chat message: {name} is text, got {shorten(packed[name])}")
    return packed


def unpack_message(packed: Mapping[str, Any]) -> JsonObject:
    """The chat message as it was packed."""
    message: JsonObject = {
        name: packed[name] for name in MESSAGE_TEXTS if packed.get(name) is not None
    }
    if packed.get("tool_calls") is not None:
        message["tool_calls"] = json.loads(packed["tool_calls"])
    return message


def unpack_prompt(prompt: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """The messages of a row."""
    return [unpack_message(message) for message in prompt]


def unpack_tools(extra_info: Mapping[str, Any]) -> list[JsonObject]:
    """The tools of a row."""
    tools: list[JsonObject] = json.loads(extra_info["tools"])
    return tools


def write_rows(rows: Sequence[JsonObject], path: Path) -> None:
    """All rows in one file, in order."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), path)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
