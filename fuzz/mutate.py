"""Seeded mutations of text and of JSON: what models, servers and people get wrong, and more."""

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

TOKENS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>", "<|endoftext|>", "\n", "\r\n",
    "{", "}", "[", "]", '"', "'", ":", ",", "\\", "\\u0000", "\\ud800", "\\udc00\\ud83d", "\\n", "null",
    "NaN", "-Infinity", "1e999", "-0.0", "1E400", "True", "9" * 20, '"name"', '"arguments"', "{}", "[[",
    '{"name": "f", "arguments": {}}', "```json\n", "<!--", "{{ 7*7 }}", "$(id)", "../..", "\x00",
    "\u202e", "\u2028", "\ufeff", "e\u0301", "ß", "İ", "\ud800", "😀", "\u200b", " ", "\t", "\x85",
)  # fmt: skip
"""Inserted whole: markers, halves of JSON, and characters that libraries disagree about."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.0, -0.0, 1e308, 5e-324, 2**63, 10**400, "", " ", "0", "true", "null",
    "é", "e\u0301", "\ud800", "\x00", "a" * 300, "#/a", "#", "#/properties/0", "../../etc/passwd", "s3://b/k",
    [], {}, [[]], [None], {"": None}, {"$ref": "#"}, {"type": "object"}, {"anyOf": []}, "string", "List[int]",
    "integer", "dict, optional", {"pattern": "("}, {"enum": []}, {"default": None}, ["string", "null"],
)  # fmt: skip
"""Put in the place of any value."""
WORDS = (
    "type", "properties", "required", "items", "enum", "const", "default", "anyOf", "oneOf", "allOf",
    "$ref", "$defs", "definitions", "additionalProperties", "uniqueItems", "prefixItems", "pattern",
    "format", "minimum", "maxLength", "not", "if", "then", "nullable", "title", "description", "name",
    "arguments", "function", "parameters", "inputSchema", "tools", "result", "paths", "components",
    "requestBody", "content", "schema", "responses", "operationId", "in", "example", "examples", "",
    "sha256", "bytes", "rows", "stored_as", "uri", "digest", "__class__", "$schema", "id", "patternProperties",
)  # fmt: skip
"""Put in the place of any key."""


def mutate_text(rng: Random, text: str, others: Sequence[str] = ()) -> str:
    """The text with one to four small changes; `others` are texts that a piece may come from."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = _change(rng, text, others)
    return text


def _change(rng: Random, text: str, others: Sequence[str]) -> str:
    start = rng.randint(0, len(text))
    stop = min(len(text), start + rng.choice((1, 1, 2, 5, 20)))
    head, piece, tail = text[:start], text[start:stop], text[stop:]
    other = rng.choice(others) if others else ""
    letter = chr(rng.choice((rng.randrange(128), rng.randrange(0x3000))))
    return rng.choice(
        (
            head + tail,
            head + piece + piece + tail,
            head,
            head + other[rng.randint(0, len(other)) :] if other else head + letter + piece + tail,
            head + piece.swapcase() + tail,
            head + letter + tail,
            head + rng.choice(TOKENS) + piece + tail,
        )
    )


def mutate_json(rng: Random, value: Any) -> Any:
    """A copy with one to three changed places."""
    changed = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        holder = [changed]
        _change_place(rng, holder)
        changed = holder[0]
    return changed


def _change_place(rng: Random, root: list[Any]) -> None:
    """Walk to a random place below the list and change what is there."""
    holder: Any = root
    key: Any = 0
    while (inner := holder[key]) and isinstance(inner, dict | list) and rng.random() < 0.85:
        holder = inner
        key = rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
    match rng.randrange(8) if holder is not root else 7:
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(WORDS)] = holder.pop(key)
        case 2 if isinstance(holder, dict):
            holder[rng.choice(WORDS)] = rng.choice((holder[key], copy.deepcopy(rng.choice(VALUES))))
        case 3 if isinstance(holder, list):
            holder.insert(rng.randint(0, len(holder)), copy.deepcopy(rng.choice(holder)))
        case 4:
            holder[key] = rng.choice(([holder[key]], {rng.choice(WORDS): holder[key]}))
        case 5:
            holder[key] = _as_another_type(holder[key])
        case 6 if isinstance(holder[key], str):
            holder[key] = mutate_text(rng, holder[key])
        case _:
            holder[key] = copy.deepcopy(rng.choice(VALUES))


def _as_another_type(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and abs(value) < 2**53:
        return float(value)
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, int) else str(value)
