"""Is every argument value found in the conversation? (method, section 2: values are never invented)

A value is grounded when a user, a tool, the system or an earlier call said it. Free of proof are
booleans, null, members of an enum, a const and the schema's default. Numbers may be words or a
percentage, times may be written on a twelve-hour clock, and dates may follow from the day of the
conversation; English and Chinese are read. What rules cannot see (synonyms, sums, translations)
fails here and is listed as rejected: the check prefers to lose a sample rather than to teach a model
to invent.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from decimal import Decimal, InvalidOperation
from typing import Any

from looptool.errors import shorten
from looptool.records import (
    AssistantMessage,
    JsonObject,
    Message,
    ToolCall,
    ToolMessage,
    ToolSpec,
    canonical_json,
)
from looptool.validate import chinese
from looptool.validate.calls import Violation
from looptool.validate.dates import DateReader, spoken_times
from looptool.validate.formats import is_date

_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:[,'’ ]\d{3})*(?:\.\d+)?|[-−]?\d+(?:\.\d+)?")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|percent)")
_ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
         "fifteen sixteen seventeen eighteen nineteen").split()  # fmt: skip
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBER_WORDS = (
    {word: value for value, word in enumerate(_ONES)}
    | {word: 10 * value for value, word in enumerate(_TENS, 2)}
    | {"once": 1, "twice": 2, "dozen": 12}
)
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_SPELLED = re.compile(rf"(?:\b(?:a|{'|'.join([*_NUMBER_WORDS, *_SCALES])})\b(?:[ -]and)?[ -]?)+")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?")
_WHOLE_WORDS = 4
"""Strings shorter than this must be words of their own: `or` is not grounded by `for`."""


class Evidence:
    """Everything that was said so far, in the forms that values are looked up in."""

    def __init__(self, date: str = "", language: str = "en") -> None:
        self._texts: list[str] = []
        self._joined: str | None = None
        self._folded = ""
        self._plain = ""
        self._numbers: set[Decimal] = set()
        self._dates: DateReader | None = None
        self._times: set[tuple[int, int]] = set()
        self._date, self._language = date, language

    @classmethod
    def of(cls, messages: Sequence[Message], date: str = "", language: str = "en") -> "Evidence":
        """The evidence of a whole context."""
        evidence = cls(date, language)
        for message in messages:
            evidence.add(message)
        return evidence

    def add(self, message: Message) -> None:
        """Takes in what a message says; of an assistant's only the values of its calls."""
        if isinstance(message, AssistantMessage):
            self._texts.extend(t for call in message.calls for t in _scalars(call.arguments))
        elif isinstance(message, ToolMessage):
            self._texts.extend(_result_texts(message.content))
        else:
            self._texts.append(message.content)
        self._joined = None

    def holds(self, value: str | int | float) -> bool:
        """Whether the value was said."""
        self._read()
        if isinstance(value, str):
            return self._holds_text(value)
        number = _decimal(value)
        return number is not None and (number in self._numbers or _close(number, self._numbers))

    def _read(self) -> None:
        if self._joined is not None:
            return
        # A line break between texts, so that nothing is found across two of them.
        self._joined = "\n".join(self._texts)
        self._folded = _fold(self._joined)
        self._plain = f" {_plain(self._joined)} "
        self._numbers = _numbers(self._folded)
        self._dates = DateReader(self._folded, self._date, self._language)
        self._times = set()
        if chinese.is_chinese(self._folded):
            digits = chinese.write_digits(self._folded)
            self._numbers |= _numbers(digits) | set(chinese.read_numbers(digits))
            self._times = set(chinese.read_times(digits))

    def _holds_text(self, value: str) -> bool:
        plain = _plain(value)
        if not plain:
            return bool(value.strip()) and _fold(value).strip() in self._folded
        if len(plain) < _WHOLE_WORDS and plain.isascii():
            found = f" {plain} " in self._plain
        else:
            found = plain in self._plain
        return found or self._holds_number(value) or self._holds_moment(value.strip())

    def _holds_number(self, value: str) -> bool:
        number = _decimal(value)
        return number is not None and number in self._numbers

    def _holds_moment(self, value: str) -> bool:
        day, separator, clock = value, "", ""
        if len(value) > 10 and is_date(value[:10]) and value[10] in "Tt ":
            day, separator, clock = value[:10], value[10], value[11:]
        if is_date(day) and self._dates is not None:
            return self._dates.implies(day) and (not separator or self._holds_clock(clock))
        return self._holds_clock(value)

    def _holds_clock(self, value: str) -> bool:
        found = _CLOCK.fullmatch(value)
        if not found:
            return False
        hour, minute = int(found[1]), int(found[2])
        return (hour, minute) in self._times or any(
            re.search(rf"(?<![\d:]){re.escape(form)}(?![\d:])", self._folded)
            for form in spoken_times(hour, minute)
        )


def check_grounding(
    calls: Sequence[ToolCall],
    tools: Sequence[ToolSpec],
    evidence: Evidence,
    path: str,
    skip: Set[int] = frozenset(),
) -> list[Violation]:
    """One violation for each argument value that nobody said.

    Calls of unknown tools, and those whose number is in `skip`, are passed over.
    """
    schemas = {tool.name: tool.parameters for tool in tools}
    return [
        Violation(
            "ungrounded_value", f"{path}[{number}].{where}", f"nobody said {shorten(value)!r}"
        )
        for number, call in enumerate(calls)
        if call.name in schemas and number not in skip
        for where, value in _claims(call.arguments, schemas[call.name], schemas[call.name], "")
        if not evidence.holds(value)
    ]


def _claims(
    value: Any, schema: Any, root: JsonObject, path: str
) -> Iterator[tuple[str, str | int | float]]:
    """The strings and numbers inside a value that need evidence, each with its path."""
    branches = list(_branches(schema, root, 0))
    if value is None or isinstance(value, bool) or _is_given(value, branches):
        return
    if isinstance(value, dict):
        for key, child in value.items():
            inner = f"{path}.{key}" if path else key
            yield from _claims(child, _child_schema(branches, key), root, inner)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            schemas = [s for b in branches for s in _item_schemas(b, number)]
            yield from _claims(child, {"anyOf": schemas}, root, f"{path}[{number}]")
    else:
        yield path, value


def _is_given(value: Any, branches: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the schema itself names the value."""
    offered = [option for branch in branches for option in _offered(branch)]
    if not offered:
        return False
    text = canonical_json(value)
    return any(canonical_json(option) == text for option in offered)


def _offered(schema: Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(schema.get("enum"), list):
        yield from schema["enum"]
    yield from (schema[key] for key in ("const", "default") if key in schema)


def _branches(schema: Any, root: JsonObject, depth: int) -> Iterator[Mapping[str, Any]]:
    """The schema and all that it refers to or combines, a few levels deep."""
    if not isinstance(schema, dict) or depth > 8:
        return
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: Any = root
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, dict) else None
        yield from _branches(target, root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list):
            for child in schema[key]:
                yield from _branches(child, root, depth + 1)


def _child_schema(branches: Sequence[Mapping[str, Any]], key: str) -> JsonObject:
    found = [
        branch["properties"][key]
        if isinstance(branch.get("properties"), dict) and key in branch["properties"]
        else branch.get("additionalProperties")
        for branch in branches
    ]
    return {"anyOf": [schema for schema in found if isinstance(schema, dict)]}


def _item_schemas(schema: Mapping[str, Any], number: int) -> Iterator[Any]:
    prefix = schema.get("prefixItems")
    if isinstance(prefix, list) and number < len(prefix):
        yield prefix[number]
    elif "items" in schema:
        yield schema["items"]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _plain(text: str) -> str:
    """Words alone: no case, no punctuation, one blank between them, line breaks kept."""
    lines = chinese.split_scripts(_fold(text)).split("\n")
    return " \n ".join(" ".join(re.sub(r"[\W_]+", " ", line).split()) for line in lines).strip()


def _numbers(text: str) -> set[Decimal]:
    found = {n for m in _NUMBER.finditer(text) if (n := _decimal(re.sub(r"[,'’ ]", "", m[0])))
             is not None}  # fmt: skip
    # Lists such as `1,200,300` or `12 345` are read both ways.
    found |= {n for part in re.findall(r"\d+(?:\.\d+)?", text) if (n := _decimal(part)) is not None}
    found |= {Decimal(m[0].replace(",", ".")) for m in re.finditer(r"\b\d+,\d{1,2}\b", text)}
    found |= {Decimal(m[1]) / 100 for m in _PERCENT.finditer(text)}
    found |= {Decimal(n) for m in _SPELLED.finditer(text) for n in _spelled_numbers(m[0])}
    found |= {-Decimal(m[1]) for m in re.finditer(r"\bminus (\d+(?:\.\d+)?)", text)}
    return found


def _spelled_numbers(words: str) -> Iterator[int]:
    """The number that the words say together, and each one of them: `two hundred and fifty`."""
    total = section = 0
    for word in re.findall(r"[a-z]+", words):
        if word in _NUMBER_WORDS:
            yield _NUMBER_WORDS[word]
            section += _NUMBER_WORDS[word]
        elif word in _SCALES:
            section = max(1, section) * _SCALES[word]
            if word != "hundred":
                total, section = total + section, 0
    yield total + section


def _close(number: Decimal, numbers: set[Decimal]) -> bool:
    # 0.1 + 0.2 in a tool's result and 0.3 in a call are one number, as in matching (R5).
    return any(abs(number - n) <= abs(number) * Decimal("1e-9") for n in numbers)


def _decimal(value: str | int | float) -> Decimal | None:
    try:
        number = Decimal(str(value).strip().replace("−", "-"))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield str(key)
            yield from _scalars(child)
    elif isinstance(value, list):
        for child in value:
            yield from _scalars(child)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _result_texts(content: str) -> Iterator[str]:
    """A result's own values: JSON text may spell characters as escapes."""
    try:
        yield from _scalars(json.loads(content))
    except (ValueError, RecursionError):
        yield content
