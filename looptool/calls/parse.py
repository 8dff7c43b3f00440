"""Model text -> reply -> model text: `parse_reply` and `render_calls` (method, section 3).

A reply is `<think>…</think>`, visible text and `<tool_call>{"name": …, "arguments": …}</tool_call>`
blocks. The released code finds blocks by a pattern that wants line breaks, and also inside the
reasoning; this is a scanner that knows where JSON ends, so a marker inside a string is text, and a
block in the reasoning is a thought. Left out on purpose: guessing. One malformed block and the
whole reply is an error, because an endpoint would run the other calls or none, and which one is not
ours to say.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from looptool.calls.json_text import (
    ArgumentsError,
    decode_json_at,
    describe_kind,
    parse_arguments,
)
from looptool.errors import DataError, shorten

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"

_MARKER = re.compile("|".join((THINK_OPEN, THINK_CLOSE, CALL_OPEN, CALL_CLOSE)))
_END_MARKERS = ("<|im_end|>", "<|endoftext|>")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered, taken apart."""

    reasoning: str | None
    """The trimmed reasoning; `""` for an empty `<think></think>`, None without any marker."""
    calls: tuple[dict[str, Any], ...]
    """`{"name": str, "arguments": object or JSON text}` as emitted; empty with an error."""
    text: str
    """The trimmed visible text around the calls."""
    error: str | None
    """Why the reply cannot be used as it stands, or None. Such a reply matches nothing."""

    @property
    def speaks(self) -> bool:
        """Whether it answers in words alone, which is how a model declines to call (R3)."""
        return self.error is None and not self.calls and bool(self.text)


def parse_reply(text: str) -> Reply:
    """Takes a reply apart. Never raises, whatever the string.

    Everything after an unclosed `<think>` is reasoning; so is everything before a `</think>` that
    nothing opened, since many chat templates put the opening marker into the prompt.
    """
    scan = _Scan(_strip_end_markers(text))
    scan.run()
    reasoning = None if scan.thoughts is None else "\n".join(_trimmed(scan.thoughts))
    calls = () if scan.error else tuple(scan.calls)
    return Reply(reasoning, calls, "\n".join(_trimmed(scan.visible)), scan.error)


class _Scan:
    """One pass over a reply, from marker to marker."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.thoughts: list[str] | None = None
        self.calls: list[dict[str, Any]] = []
        self.visible: list[str] = []
        self.error: str | None = None

    def run(self) -> None:
        position = 0
        while marker := _MARKER.search(self.text, position):
            self.visible.append(self.text[position : marker.start()])
            match marker.group():
                case "<think>":
                    position = self._read_thought(marker.end())
                case "</think>":
                    position = self._forget(marker.start(), marker.end())
                case "<tool_call>":
                    position = self._read_call(marker.end())
                case _:
                    self.error = self.error or f"{CALL_CLOSE} without {CALL_OPEN}"
                    position = marker.end()
        self.visible.append(self.text[position:])

    def _read_thought(self, start: int) -> int:
        end = self.text.find(THINK_CLOSE, start)
        stop = len(self.text) if end < 0 else end
        self.thoughts = [*(self.thoughts or ()), self.text[start:stop]]
        return stop if end < 0 else end + len(THINK_CLOSE)

    def _forget(self, stop: int, end: int) -> int:
        # The opening marker was in the prompt: calls and faults so far were only thoughts.
        self.thoughts = [self.text[:stop]]
        self.calls, self.visible, self.error = [], [], None
        return end

    def _read_call(self, start: int) -> int:
        if self.error:
            return self._skip_block(start)
        try:
            value, end = decode_json_at(self.text, start)
            if not self.text.startswith(CALL_CLOSE, end):
                raise ValueError(f"{CALL_CLOSE} expected at character {end}")
            self.calls.append(_check_call(value))
        except (ValueError, ArgumentsError) as error:
            self.error = f"tool call {len(self.calls) + 1}: {error}"
            return self._skip_block(start)
        return end + len(CALL_CLOSE)

    def _skip_block(self, start: int) -> int:
        marker = _MARKER.search(self.text, start)
        if marker is None:
            return len(self.text)
        return marker.end() if marker.group() == CALL_CLOSE else marker.start()


def _check_call(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError(f"{describe_kind(value)}, not an object")
    name, arguments = value.get("name"), value.get("arguments")
    if type(name) is not str or not name:
        raise ValueError('no "name", or not a string')
    # `{"name": …, "parameters": {…}}` would otherwise read as a call without arguments.
    if extra := value.keys() - {"name", "arguments"}:
        raise ValueError(f"unexpected key {shorten(min(extra))!r}")
    parse_arguments(arguments)
    return {"name": name, "arguments": {} if arguments is None else arguments}


def _strip_end_markers(text: str) -> str:
    stripped = text.rstrip()
    while stripped.endswith(_END_MARKERS):
        for marker in _END_MARKERS:
            stripped = stripped.removesuffix(marker)
        stripped = stripped.rstrip()
    return stripped


def _trimmed(pieces: Iterable[str]) -> list[str]:
    return [trimmed for piece in pieces if (trimmed := piece.strip())]


def render_calls(
    calls: Iterable[Mapping[str, Any]], text: str = "", reasoning: str | None = None
) -> str:
    """The reply that `parse_reply` reads back: reasoning, text, then one block a call.

    Raises DataError if text or reasoning hold a marker that would read back as something else.
    """
    _refuse_markers("text", text, (THINK_OPEN, THINK_CLOSE, CALL_OPEN, CALL_CLOSE, *_END_MARKERS))
    _refuse_markers("reasoning", reasoning or "", (THINK_CLOSE,))
    parts = [] if reasoning is None else [f"{THINK_OPEN}\n{reasoning}\n{THINK_CLOSE}\n"]
    parts += [text] if text else []
    return "\n".join([*parts, *map(_render_call, calls)])


def _render_call(call: Mapping[str, Any]) -> str:
    body = {"name": call["name"], "arguments": call.get("arguments", {})}
    block = json.dumps(body, ensure_ascii=False, allow_nan=False)
    if _MARKER.search(block):
        # Other parsers look for markers also inside strings; outside of them JSON has no `<`.
        block = block.replace("<", "\\u003c")
    return f"{CALL_OPEN}\n{block}\n{CALL_CLOSE}"


def _refuse_markers(what: str, text: str, markers: tuple[str, ...]) -> None:
    for marker in markers:
        if marker in text:
            raise DataError(f"{what} holds {marker}, which a reply cannot say: {shorten(text)}")
