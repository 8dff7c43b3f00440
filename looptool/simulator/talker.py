"""The user: says the current need in a style, or answers what the assistant has just asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from looptool.records import as_mapping
from looptool.simulator.ask import parse_asks, parse_slots
from looptool.simulator.speak import make_rng, speak, speak_answer
from looptool.simulator.understand import is_question

_OPENINGS = ("", "Hello, ", "So, ", "One more thing: ")


def say_next(
    need: Any, conversation: Sequence[Mapping[str, Any]], style: str, language: str
) -> str:
    """The user's next message. The same need is always said in the same words."""
    fields = as_mapping(need)
    request = str(fields.get("request") or (need if isinstance(need, str) else ""))
    withheld = str(fields.get("withheld") or "")
    asked = bool(conversation) and is_question(conversation[-1])
    if asked and withheld:
        slots = parse_slots(withheld)
        return speak_answer(slots, style, language) if slots else withheld
    asks = parse_asks(request)
    if asks is None:
        return _say_freely(request or withheld or "Hello!", style)
    return speak(asks, "plain" if asked else style, language)


def _say_freely(request: str, style: str) -> str:
    """A need in words that are not ours: said as it is."""
    opening = make_rng("free", request, style).choice(_OPENINGS)
    return opening + request if style == "chatty" else request
