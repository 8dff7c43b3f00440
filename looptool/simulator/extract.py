"""Finds the values that a text states for one tool: by name, by preposition, by form.

Reads from left to right, so that what stands inside a value is never taken for a parameter; a parameter
mentioned twice keeps its last value, and "no wait, …" after a value replaces it.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from looptool.simulator.ask import Reference
from looptool.simulator.kinds import find_bare
from looptool.simulator.lexicon import (
    CONNECTOR,
    CORRECTION,
    NUMBER,
    NUMBER_WORDS,
    QUOTED,
    REFERENCE,
    STOP_WORDS,
    TOKEN,
)
from looptool.simulator.shapes import Leaf, Path
from looptool.simulator.toolbox import Tool

_DECODER = json.JSONDecoder()
_BOOLEAN = re.compile(r"(yes|true|on|no|false|off)(?![\w-])", re.IGNORECASE)
_NEXT_ITEM = re.compile(r"\s*(?:,\s*and\s+|,\s*|\s+and\s+)", re.IGNORECASE)
_WORD_NUMBER = re.compile(r"(" + "|".join(NUMBER_WORDS) + r")(?![\w-])", re.IGNORECASE)
_SKIPPED = re.compile(r"\s*(?:the\s+)?(?:next\s+|following\s+)?", re.IGNORECASE)
Parsed = tuple[Any, int] | None


@dataclass(slots=True)
class Found:
    """What a text states for a tool."""

    values: dict[Path, Any] = field(default_factory=dict)
    """Values, or a Reference to an earlier result, by path."""
    rest: str = ""
    """The text with everything that was read blanked out."""


def extract(tool: Tool, text: str) -> Found:
    """All values that the text states for the tool's parameters."""
    found = Found(rest=text)
    _read_named(tool, text, found)
    open_leaves = [leaf for leaf in tool.leaves if leaf.path not in found.values]
    open_leaves.sort(
        key=lambda leaf: (leaf.kind is None or not leaf.kind.pattern, not leaf.required)
    )
    for leaf in open_leaves:
        _read_prepositional(leaf, found)
    for leaf in open_leaves:
        if leaf.path not in found.values:
            _read_bare(leaf, found)
    return found


def _claim(found: Found, leaf: Leaf, value: Any, start: int, end: int) -> None:
    found.values[leaf.path] = value
    found.rest = found.rest[:start] + "\x00" * (end - start) + found.rest[end:]


def _read_named(tool: Tool, text: str, found: Found) -> None:
    """ "city Paris", "the city would be Paris", "3 days"."""
    position = 0
    while (match := tool.scanner.search(text, position)) is not None:
        position = match.end()
        if match["number"] is not None:
            position = _read_counted(tool, text, match, found)
        elif match["quoted"] is None:
            read = _read_anchored(tool, text, match, found)
            position = read if read is not None else position


def _read_anchored(tool: Tool, text: str, match: re.Match[str], found: Found) -> int | None:
    leaves = tool.anchors.get(match[0].lower(), ())
    leaf = next((x for x in leaves if x.path not in found.values), leaves[0] if leaves else None)
    if leaf is None:
        return None
    start = CONNECTOR.match(text, match.end())
    begin = start.end() if start else match.end()
    reference = REFERENCE.match(text, match.end())
    if reference is not None:
        _claim(
            found,
            leaf,
            Reference((reference["which"] or "").lower()),
            match.start(),
            reference.end(),
        )
        return reference.end()
    parsed = parse_value(leaf, text, begin) or _skip_wrong(leaf, text, begin)
    if parsed is None:
        return None
    value, end = _read_correction(leaf, text, *parsed)
    _claim(found, leaf, value, match.start(), end)
    return end


def _skip_wrong(leaf: Leaf, text: str, begin: int) -> Parsed:
    """A value outside the enumeration that is corrected at once."""
    wrong = (
        (_parse_number("number", text, begin) or _parse_string(text, begin))
        if leaf.choices
        else None
    )
    return wrong if wrong and CORRECTION.match(text, wrong[1]) else None


def _read_counted(tool: Tool, text: str, match: re.Match[str], found: Found) -> int:
    """A number before a parameter's name: "3 days"."""
    after = re.compile(r"\s+(?:more\s+)?").match(text, match.end())
    name = tool.scanner.match(text, after.end()) if after else None
    if name is None or not name.groupdict().get("anchor"):
        return match.end()
    leaf = next(
        (x for x in tool.anchors.get(name[0].lower(), ()) if x.type in ("integer", "number")), None
    )
    if leaf is None or (leaf.path in found.values and not _follows_correction(text, match.start())):
        return match.end()
    if NUMBER.match(text, CONNECTOR.match(text, name.end()).end()):  # type: ignore[union-attr]
        return match.end()
    parsed = parse_value(leaf, text, match.start())
    if parsed is None:
        return match.end()
    value, end = _read_correction(leaf, text, parsed[0], name.end())
    _claim(found, leaf, value, match.start(), end)
    return end


def _follows_correction(text: str, position: int) -> bool:
    return bool(re.search(r"(?:wait|sorry|mean|actually|make it|make that),?\s*$", text[:position]))


def _read_correction(leaf: Leaf, text: str, value: Any, end: int) -> tuple[Any, int]:
    """The value after "no wait", if one follows; else the value as it was."""
    match = CORRECTION.match(text, end)
    if match is None:
        return value, end
    again = re.compile(r"(?:the\s+)?" + re.escape(leaf.words) + r"\s+", re.I).match(
        text, match.end()
    )
    parsed = parse_value(leaf, text, again.end() if again else match.end())
    if parsed is None:
        return value, end
    tail = re.compile(r"\s+" + re.escape(leaf.words) + r"(?![\w-])", re.I).match(text, parsed[1])
    return parsed[0], tail.end() if tail and leaf.type != "string" else parsed[1]


def _read_prepositional(leaf: Leaf, found: Found) -> None:
    """ "in Paris", "on 2031-04-02"."""
    if leaf.kind is None or not leaf.kind.preposition or leaf.path in found.values:
        return
    pattern = re.compile(rf"(?<![\w-]){leaf.kind.preposition}\s+", re.IGNORECASE)
    for match in pattern.finditer(found.rest):
        parsed = parse_value(leaf, found.rest, match.end())
        if parsed is None or not _plausible(leaf, parsed[0]):
            continue
        value, end = _read_correction(leaf, found.rest, *parsed)
        _claim(found, leaf, value, match.start(), end)


def _plausible(leaf: Leaf, value: Any) -> bool:
    """Whether a value found by its preposition alone is of the leaf's kind."""
    if leaf.choices or not isinstance(value, str) or leaf.kind is None:
        return True
    if leaf.kind.pattern is not None:
        return leaf.kind.recognises(value)
    if leaf.kind.name == "address":
        return re.match(r"\d+ \w", value) is not None
    return not value[:1].isdigit() and value[:1] != "+"


def _read_bare(leaf: Leaf, found: Found) -> None:
    """A value that shows its kind by itself: a date, an e-mail address, a known city, an enum member."""
    if leaf.choices and leaf.type == "string":
        for choice in sorted(leaf.choices, key=lambda c: -len(str(c))):
            match = _find_choice(str(choice), found.rest)
            if match is not None:
                _claim(found, leaf, choice, match.start(), match.end())
                return
    if leaf.kind is None or leaf.choices or leaf.type != "string" or not leaf.kind.bare:
        return
    bare = find_bare(leaf.kind, found.rest)
    if bare is not None:
        value, end = _read_correction(leaf, found.rest, bare[0], bare[2])
        _claim(found, leaf, value, bare[1], end)


def _find_choice(choice: str, text: str) -> re.Match[str] | None:
    plain = choice.replace("_", " ").strip()
    if len(plain) < 3 or plain.lower() in STOP_WORDS:
        return None
    spoken = re.escape(plain) + "|" + re.escape(choice)
    return re.search(rf"(?<![\w-])(?:{spoken})(?![\w-])", text, re.IGNORECASE)


def parse_value(leaf: Leaf, text: str, position: int) -> Parsed:
    """The value that stands at a position, by the leaf's type: (value, end), or None."""
    if leaf.type == "array":
        return _parse_list(leaf, text, position)
    if leaf.choices:
        return _parse_choice(leaf.choices, text, position)
    if leaf.type == "any":
        return _parse_json(text, position)
    return _parse_scalar(leaf.type, text, position)


def _parse_scalar(kind: str, text: str, position: int) -> Parsed:
    if kind in ("integer", "number"):
        return _parse_number(kind, text, position)
    if kind == "boolean":
        match = _BOOLEAN.match(text, position)
        return (match[1].lower() in ("yes", "true", "on"), match.end()) if match else None
    return _parse_string(text, position)


def _parse_number(kind: str, text: str, position: int) -> Parsed:
    skipped = _SKIPPED.match(text, position)
    begin = skipped.end() if skipped else position
    match = NUMBER.match(text, begin)
    if match is None:
        word = _WORD_NUMBER.match(text, begin)
        return (NUMBER_WORDS[word[1].lower()], word.end()) if word else None
    value = json.loads(match[0])
    if kind == "integer" and isinstance(value, float):
        return None
    return value, match.end()


def _parse_string(text: str, position: int) -> Parsed:
    """Quoted text, or the run of words up to punctuation or a word that no plain value holds."""
    quoted = QUOTED.match(text, position)
    if quoted is not None:
        try:
            return str(json.loads(quoted[0])), quoted.end()
        except ValueError:
            return quoted[0][1:-1], quoted.end()
    words: list[str] = []
    end = position
    while (match := TOKEN.match(text, end if not words else end + 1)) is not None:
        token = match[0]
        bare = token.rstrip(".:'…。、-)")
        if not bare or bare.lower() in STOP_WORDS:
            break
        words.append(bare)
        end = match.start() + len(bare)
        if bare != token or text[end : end + 1] != " ":
            break
    return (" ".join(words), end) if words else None


def _parse_choice(choices: tuple[Any, ...], text: str, position: int) -> Parsed:
    quoted = QUOTED.match(text, position)
    begin = position + 1 if quoted else position
    for choice in sorted(choices, key=lambda c: -len(str(c))):
        for form in _choice_forms(choice):
            stop = begin + len(form)
            if text[begin:stop].lower() != form.lower() or (not quoted and _goes_on(text, stop)):
                continue
            if quoted and stop != quoted.end() - 1:
                continue
            return choice, quoted.end() if quoted else stop
    return None


def _choice_forms(choice: Any) -> list[str]:
    if isinstance(choice, bool):
        return ["true", "yes", "on"] if choice else ["false", "no", "off"]
    if not isinstance(choice, str):
        return [json.dumps(choice)]
    return list(
        dict.fromkeys(
            (choice, json.dumps(choice, ensure_ascii=False)[1:-1], choice.replace("_", " "))
        )
    )


def _goes_on(text: str, position: int) -> bool:
    return bool(re.match(r"[\w-]|\.\d", text[position : position + 2]))


def _parse_json(text: str, position: int) -> Parsed:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except ValueError:
        return _parse_string(text, position)
    return value, end


def _parse_list(leaf: Leaf, text: str, position: int) -> Parsed:
    if text.startswith("[", position) or not leaf.item_type:
        parsed = _parse_json(text, position)
        return parsed if parsed and isinstance(parsed[0], list) else None
    items: list[Any] = []
    end = begin = position
    while True:
        parsed = _parse_item(leaf, text, begin, first=not items)
        if parsed is None:
            return (items, end) if items else None
        items.append(parsed[0])
        end = parsed[1]
        joint = _NEXT_ITEM.match(text, end)
        if joint is None:
            return items, end
        begin = joint.end()


def _parse_item(leaf: Leaf, text: str, position: int, *, first: bool) -> Parsed:
    if leaf.choices:
        return _parse_choice(leaf.choices, text, position)
    if leaf.item_type == "string" and not first and not text.startswith('"', position):
        return None
    if leaf.item_type != "string" and not first and _followed_by_name(text, position):
        return None
    return _parse_scalar(leaf.item_type, text, position)


def _followed_by_name(text: str, position: int) -> bool:
    """Whether the number here counts something ("3 days") instead of going on a list."""
    match = NUMBER.match(text, position)
    return bool(
        match
        and re.match(r"\s+[a-z]+", text[match.end() :])
        and not re.match(r"\s+and\b", text[match.end() :])
    )
