"""A tool result of the same shape with other values, for conversations that are told anew."""

from collections.abc import Mapping
from random import Random
from typing import Any

from looptool.simulator.kinds import (
    DATE,
    DATETIME,
    TIME,
    draw_date,
    draw_datetime,
    draw_time,
    kind_of,
)
from looptool.simulator.lexicon import split_name


def reshape_result(
    value: Any, old: Mapping[str, Any], new: Mapping[str, Any], rng: Random, key: str = ""
) -> Any:
    """The result with new values; what echoed an argument of the old call echoes the new one."""
    if key in old and old[key] == value and not isinstance(value, bool):
        return new.get(key, value)
    if isinstance(value, Mapping):
        return {
            name: reshape_result(inner, old, new, rng, str(name)) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [reshape_result(inner, old, new, rng, key) for inner in value]
    return _reshape_scalar(value, key, rng)


def _reshape_scalar(value: Any, key: str, rng: Random) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return rng.randint(min(1, value), max(10, 2 * abs(value)))
    if isinstance(value, float):
        return round(abs(value) * rng.uniform(0.6, 1.7) + 0.1, 2)
    return _reshape_text(str(value), key, rng)


def _reshape_text(text: str, key: str, rng: Random) -> str:
    for pattern, draw in ((DATE, draw_date), (DATETIME, draw_datetime), (TIME, draw_time)):
        if pattern.fullmatch(text):
            return draw(rng)
    if any(map(str.isdigit, text)):
        return "".join(_other_character(c, rng) for c in text)
    kind = kind_of(" ".join(split_name(key))) if key else None
    if kind is not None and kind.bare and kind.recognises(text):
        return kind.draw(rng)
    return text


def _other_character(character: str, rng: Random) -> str:
    if character.isdigit() and character.isascii():
        return str(rng.randrange(1, 10))
    if character.isascii() and character.isupper():
        return rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ")
    return character
