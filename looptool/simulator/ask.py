"""What a user wants, between the words and the calls: an action and the values that were stated.

The planner writes a need as the canonical text of one or more asks; the user role reads that text and
says the same in a style; the reader of the assistant turns what was said into calls.

    Get the weather forecast: city is "Paris", days is 3; then Book a hotel: city is the one from the result.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from looptool.records import canonical_json

FULL, SAME, CHANGE = "full", "same", "change"
_MODE_ACTIONS = {SAME: "The same again", CHANGE: "Change it"}
_REFERENCES = {
    "": "the one from the result",
    "first": "the one from the first result",
    "cheapest": "the one from the cheapest result",
}
_DECODER = json.JSONDecoder()
_SLOT = re.compile(r"([^\"{}\[\];:]+?) is (?=[\"\[{\-\d]|true\b|false\b|null\b|the one from the )")


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that an earlier result will supply; `which` picks from a list: "", first, cheapest."""

    which: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter in words, with its value or a Reference."""

    words: str
    value: Any


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing wanted: `full` with an action, or `same` / `change` against what was done before."""

    action: str
    slots: tuple[Slot, ...] = ()
    mode: str = FULL
    dependent: bool = False
    """It comes after the ask before it and needs its result."""


def render_asks(asks: Sequence[Ask]) -> str:
    """The canonical text of one or more asks."""
    text = ""
    for number, ask in enumerate(asks):
        if number:
            text += "; then " if ask.dependent else "; also "
        action = _MODE_ACTIONS.get(ask.mode, ask.action)
        text += action[:1].upper() + action[1:]
        if ask.slots:
            text += ": " + ", ".join(render_slot(slot) for slot in ask.slots)
    return text + "."


def render_slot(slot: Slot) -> str:
    """`city is "Paris"`."""
    if isinstance(slot.value, Reference):
        return f"{slot.words} is {_REFERENCES[slot.value.which]}"
    return f"{slot.words} is {canonical_json(slot.value)}"


def parse_asks(text: str) -> list[Ask] | None:
    """The asks of a canonical text; None when it is not one."""
    asks: list[Ask] = []
    position, dependent = 0, False
    text = text.strip()
    while position < len(text):
        head = re.compile(r"[^\":;]+?(?=: |; also |; then |\.?$)").match(text, position)
        if head is None:
            return None
        position = head.end()
        slots: list[Slot] = []
        if text.startswith(": ", position):
            read = _read_slots(text, position + 2)
            if read is None:
                return None
            slots, position = read
        asks.append(_make_ask(head[0].strip(), tuple(slots), dependent))
        joint = re.compile(r"; (also|then) |\.?$").match(text, position)
        if joint is None:
            return None
        dependent = joint[1] == "then"
        position = joint.end() if joint[1] else len(text)
    return asks or None


def parse_slots(text: str) -> list[Slot]:
    """The slots of a sentence like `The city is "Paris".`; empty when it is not one."""
    body = re.sub(r"^\s*the\s+", "", text.strip(), flags=re.IGNORECASE)
    read = _read_slots(body, 0)
    return read[0] if read and read[1] >= len(body.rstrip(".")) else []


def _make_ask(action: str, slots: tuple[Slot, ...], dependent: bool) -> Ask:
    for mode, words in _MODE_ACTIONS.items():
        if action == words:
            return Ask("", slots, mode, dependent)
    return Ask(action[:1].lower() + action[1:], slots, FULL, dependent)


def _read_slots(text: str, position: int) -> tuple[list[Slot], int] | None:
    slots: list[Slot] = []
    while True:
        match = _SLOT.match(text, position)
        if match is None:
            return None
        words, start = match[1].strip(), match.end()
        reference = next(
            (w for w in ("first", "cheapest", "") if text.startswith(_REFERENCES[w], start)), None
        )
        if reference is not None:
            slots.append(Slot(words, Reference(reference)))
            position = start + len(_REFERENCES[reference])
        else:
            try:
                value, position = _DECODER.raw_decode(text, start)
            except ValueError:
                return None
            slots.append(Slot(words, value))
        if not text.startswith(", ", position):
            return slots, position
        position += 2
