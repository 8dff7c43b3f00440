"""Strict JSON for what a model emits (rule R1), and the one canonical form that we write.

Left out on purpose: every repair. Python literals, single quotes, trailing commas, comments, NaN,
Infinity, numbers beyond a double, duplicate keys and half surrogate pairs are errors; a repaired
answer would be rewarded for a form that no endpoint accepts.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from looptool.errors import LoopToolError

MAX_DEPTH = 64
"""Containers within containers. Deeper JSON is an error everywhere, so that no verdict depends on
how much of Python's stack the caller has used up."""

_BLANKS = frozenset(" \t\n\r")
_BLANK_RUN = re.compile(r"[ \t\n\r]*")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class ArgumentsError(LoopToolError):
    """A model's arguments are not an object, or not strict JSON text of one."""


def canonical_json(value: object) -> str:
    """Compact JSON with sorted keys, characters as they are; raises ValueError on NaN."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )


def parse_arguments(value: object) -> dict[str, Any]:
    """The arguments of a call (R1), be they an object, JSON text of one, or nothing.

    A dict is returned as it is, not copied. Raises ArgumentsError for everything else.
    """
    if type(value) is dict:
        return value
    if value is None or value == "":
        return {}
    if not isinstance(value, str):
        raise ArgumentsError(f"arguments are {describe_kind(value)}, not an object")
    try:
        decoded = decode_json(value)
    except ValueError as error:
        raise ArgumentsError(f"arguments are not strict JSON: {error}") from error
    if type(decoded) is not dict:
        raise ArgumentsError(f"arguments are JSON text of {describe_kind(decoded)}, not an object")
    return decoded


def decode_json(text: str) -> Any:
    """One JSON value and nothing after it; raises ValueError."""
    value, end = decode_json_at(text, 0)
    if end != len(text):
        raise ValueError(f"something follows the JSON at character {end}")
    return value


def decode_json_at(text: str, start: int) -> tuple[Any, int]:
    """The JSON value at `start`, and where the blanks behind it end; raises ValueError."""
    start = _skip_blanks(text, start)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    _check_depth(value, text, start, end)
    _check_surrogates(value, text, start, end)
    return value, _skip_blanks(text, end)


def _skip_blanks(text: str, start: int) -> int:
    # A slice, as it may be empty; most often there is nothing to skip.
    if text[start : start + 1] not in _BLANKS:
        return start
    found = _BLANK_RUN.match(text, start)
    return found.end() if found else start


def describe_kind(value: object) -> str:
    """What JSON calls the value's type, with an article, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    for kind, name in ((str, "a string"), (list, "an array"), (dict, "an object")):
        if type(value) is kind:
            return name
    return f"a Python {type(value).__name__}"


def _check_depth(value: Any, text: str, start: int, end: int) -> None:
    # Counting brackets is far cheaper than walking, and nearly every reply passes by it alone.
    if text.count("{", start, end) + text.count("[", start, end) <= MAX_DEPTH:
        return
    if is_deeper(value, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def is_deeper(value: Any, levels: int) -> bool:
    """Whether the value has more than so many containers within one another."""
    containers = [value]
    for _ in range(levels):
        children = [child for parent in containers for child in _children(parent)]
        containers = [child for child in children if type(child) is dict or type(child) is list]
        if not containers:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def _check_surrogates(value: Any, text: str, start: int, end: int) -> None:
    # Half a pair cannot be encoded as UTF-8: it would break the first Parquet file that it reaches.
    escaped = text.find("\\ud", start, end) >= 0 or text.find("\\uD", start, end) >= 0
    if text.isascii() and not escaped:
        return
    seen = json.dumps(value, ensure_ascii=False) if escaped else text[start:end]
    if _HALF_PAIR.search(seen):
        raise ValueError("half of a surrogate pair")


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"duplicate key {twice[:80]!r}")
    return result


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number out of range: {text[:40]}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_object, parse_float=_finite_float, parse_constant=_refuse_constant
)
