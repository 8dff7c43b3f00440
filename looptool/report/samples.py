"""The rows of the sample browser: a bounded number, those with something to see first."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from looptool.artifacts import sha256_of
from looptool.records import JsonObject
from looptool.report.lake import Lake
from looptool.report.text import clean_json, clean_text, script_json
from looptool.report.verdicts import MATCHED, read_outcomes

ROWS = 1_500
"""Most rows in the page."""
BYTES = 2_500_000
"""Most bytes of their JSON, tools included."""
LABEL_LIMIT = 1_200
"""Characters of one text of a label, prediction or vote."""
MESSAGE_LIMIT = 800
VOTES = 6
MESSAGES = 24
TOOLS = 24

_TEXT = pl.String
_SAMPLE = dict.fromkeys(("sample_id", "kind", "tools", "messages", "label", "parent_id"), _TEXT)
_PROBE = {
    "sample_id": _TEXT,
    "output": _TEXT,
    "mismatch": _TEXT,
    "ppl_output": pl.Float64,
    "pass_rate": pl.Float64,
}
_JUDGED = dict.fromkeys(
    ("sample_id", "votes", "predicted", "new_label", "proposed_label", "error_type", "note"), _TEXT
)


@dataclass(frozen=True, slots=True)
class Browser:
    """What the page embeds for its sample list."""

    rows: Sequence[JsonObject]
    tools: Sequence[JsonObject]
    """Every tool once; rows refer to them by place."""
    total: int
    """Samples of all rounds."""
    mismatches: int
    """Of these, those whose answer did not match."""
    shown_mismatches: int

    def payload(self) -> JsonObject:
        """As the page's script reads it."""
        return {"rows": list(self.rows), "tools": list(self.tools)}


def read_browser(lake: Lake, rows: int = ROWS, most_bytes: int = BYTES) -> Browser:
    """Mismatches of the newest round, then of older ones, then matched samples in the same order."""
    outcomes = {number: read_outcomes(lake, number) for number in lake.rounds}
    order = [
        (number, row)
        for matched in (False, True)
        for number in reversed(lake.rounds)
        for row in _drawn(outcomes[number], matched)
    ]
    chosen, tools, size = [], _Tools(), 0
    cache: dict[int, Mapping[str, JsonObject]] = {}
    for place, (number, row) in enumerate(order[:rows]):
        if number not in cache:
            cache[number] = _details(
                lake, number, [r["sample_id"] for n, r in order[place:rows] if n == number]
            )
        before = tools.size
        shown = _row(number, row, cache[number].get(row["sample_id"], {}), tools)
        size += len(script_json(shown).encode()) + 1 + tools.size - before
        if size > most_bytes:
            break
        chosen.append(shown)
    return Browser(
        rows=chosen,
        tools=tools.rows,
        total=len(order),
        mismatches=sum(row["outcome"] != MATCHED for _, row in order),
        shown_mismatches=sum(row["outcome"] != MATCHED for row in chosen),
    )


def _drawn(frame: pl.DataFrame, matched: bool) -> list[JsonObject]:
    """Rows in an order that looks like chance and is always the same."""
    rows = frame.filter((pl.col("outcome") == MATCHED) == matched)
    picked = rows.select("sample_id", "origin", "outcome", "fate").to_dicts()
    return sorted(picked, key=lambda row: sha256_of(row["sample_id"].encode()))


def _details(lake: Lake, number: int, ids: Sequence[str]) -> Mapping[str, JsonObject]:
    """The texts of the samples that are shown, by sample."""
    wanted = pl.col("sample_id").is_in(list(ids))
    found: dict[str, JsonObject] = {}
    for ref, table, columns in (
        (lake.dataset(number), "samples", _SAMPLE),
        (lake.stage(number, "probe"), "probes", _PROBE),
        (lake.stage(number, "judge"), "judgements", _JUDGED),
    ):
        for row in lake.read(ref, table, columns).filter(wanted).iter_rows(named=True):
            found.setdefault(row["sample_id"], {}).update(row)
    return found


class _Tools:
    """Tools by content, each once."""

    def __init__(self) -> None:
        self.rows: list[JsonObject] = []
        self.size = 0
        self._places: dict[str, int] = {}

    def place(self, tool: Mapping[str, Any]) -> int:
        shown: JsonObject = {
            "name": clean_text(tool.get("name", ""), 80),
            "about": clean_text(tool.get("description", ""), 300),
            "parameters": _parameters(tool.get("parameters")),
        }
        text = json.dumps(shown, ensure_ascii=False, sort_keys=True)
        if text not in self._places:
            self._places[text] = len(self.rows)
            self.rows.append(shown)
            self.size += len(script_json(shown).encode()) + 1
        return self._places[text]


def _parameters(schema: object) -> str:
    """Names of the parameters, required ones with a star."""
    inside = schema if isinstance(schema, dict) else {}
    properties, required = inside.get("properties"), inside.get("required")
    names = list(properties) if isinstance(properties, dict) else []
    needed = required if isinstance(required, list) else []
    return clean_text(", ".join(f"{name}{'*' * (name in needed)}" for name in names), 300)


def _row(
    number: int, outcome: Mapping[str, Any], found: Mapping[str, Any], tools: _Tools
) -> JsonObject:
    """One sample as the browser shows it; short keys, unknown values left out."""
    predicted = _json(found.get("predicted")) or clean_text(found.get("output") or "", LABEL_LIMIT)
    new = _answer(_json(found.get("new_label")))
    row: JsonObject = {
        "id": clean_text(outcome["sample_id"], 80),
        "round": number,
        "kind": clean_text(found.get("kind") or "", 40),
        "origin": clean_text(outcome["origin"] or "", 40),
        "outcome": clean_text(outcome["outcome"], 40),
        "fate": clean_text(outcome["fate"], 80),
        "parent": clean_text(found.get("parent_id") or "", 80),
        "tools": [tools.place(t) for t in _list(found.get("tools"))[:TOOLS]],
        "messages": [_message(m) for m in _list(found.get("messages"))[-MESSAGES:]],
        "label": _answer(_json(found.get("label"))),
        "predicted": _answer(predicted),
        "new": new,
        "proposed": _answer(_json(found.get("proposed_label"))) if new is None else None,
        "difference": clean_text(found.get("mismatch") or "", 300),
        "error": clean_text(found.get("error_type") or "", 40),
        "note": clean_text(found.get("note") or "", 300),
        "votes": [_vote(v) for v in _list(found.get("votes"))[:VOTES]],
        "ppl": _round(found.get("ppl_output")),
        "passed": _round(found.get("pass_rate")),
    }
    return {name: value for name, value in row.items() if value not in ("", None, [])}


def _json(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) and text else None
    except (ValueError, RecursionError):
        return clean_text(text, LABEL_LIMIT)


def _list(text: object) -> list[JsonObject]:
    value = _json(text)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _answer(value: object) -> object:
    """Calls and text of an answer, of bounded size; None if there is none."""
    if value is None or isinstance(value, str):
        return value
    shown = clean_json(value, LABEL_LIMIT)
    text = json.dumps(shown, ensure_ascii=False)
    return shown if len(text) <= 4 * LABEL_LIMIT else clean_text(text, 4 * LABEL_LIMIT)


def _message(message: Mapping[str, Any]) -> JsonObject:
    calls = message.get("calls")
    shown: JsonObject = {
        "role": clean_text(message.get("role", ""), 20),
        "text": clean_text(message.get("content") or "", MESSAGE_LIMIT),
    }
    if calls:
        shown["calls"] = clean_text(json.dumps(calls, ensure_ascii=False), MESSAGE_LIMIT)
    return shown


def _vote(vote: Mapping[str, Any]) -> JsonObject:
    return {
        "by": clean_text(vote.get("model", ""), 80),
        "first": "label" if vote.get("label_first") else "prediction",
        "verdict": clean_text(vote.get("verdict", ""), 40),
        "error": clean_text(vote.get("error_type", ""), 40),
        "why": clean_text(vote.get("error_analysis", ""), 500),
        "right": clean_text(vote.get("right_approach", ""), 500),
    }


def _round(value: object) -> float | None:
    """Five digits; None for what JSON cannot say."""
    if not isinstance(value, float) or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


def outcomes_in(rows: Sequence[JsonObject], name: str) -> Iterator[str]:
    """The values of one field, for its filter, in the order of the alphabet."""
    yield from sorted({str(row[name]) for row in rows if name in row}, key=lambda v: (len(v), v))
