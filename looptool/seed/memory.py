"""What the results of one dialogue have said, and whether a new one fits it.

The paper's tool agent is told to be consistent and not checked. Here rules that can be stated in a
line are: the result fits the tool's output schema; the same reading call has the same result until
a changing call comes between; an id that was asked for comes back as it was; what was told about an
id is not told otherwise; and an id that a result gave is not unknown later. A tool changes something
when the verb that its description begins with, or else the first one in its name, is of changing
things.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from looptool.decisions import is_failure
from looptool.errors import shorten
from looptool.patterns import bounded_validator
from looptool.records import JsonObject, ToolCall, ToolSpec, canonical_json
from looptool.seed.agents import ToolReply

READING = frozenset(
    """get list search find show read fetch retrieve check look lookup count query describe view see
    browse filter calculate compute convert estimate compare translate summarize summarise analyze
    analyse measure track preview validate verify return display suggest recommend predict forecast
    explain tell detect identify inspect evaluate is has""".split()
)
CHANGING = frozenset(
    """create add make new open start register schedule plan set insert compose write draft book
    reserve order buy purchase rent delete remove drop clear erase stop end close cancel update
    change edit modify rename move reschedule adjust replace patch put post send email message share
    deliver forward notify submit publish play turn switch lock unlock pause resume run trigger
    enable disable log record pay transfer upload restart reset complete mark approve reject accept
    invite join leave subscribe unsubscribe assign archive restore refund withdraw renew confirm
    apply install increment decrement sign place""".split()
)
_FORGOTTEN = re.compile(r"not.found|no such|does not exist|unknown|\b404\b", re.IGNORECASE)


def changes_something(tool: ToolSpec) -> bool:
    """Whether a call of the tool may change what later calls find."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", tool.original_name or tool.name)
    named = re.findall(r"[a-z]+", spaced.lower())
    for word in [*_first_word(tool.description), *named]:
        if word in READING or word in CHANGING:
            return word in CHANGING
    return False


def _first_word(description: str) -> tuple[str, ...]:
    """The first word, and the forms that it may be the third person of."""
    match = re.match(r"\W*([a-z]+)", description.lower())
    word = match[1] if match else ""
    return word, word.removesuffix("s"), word.removesuffix("es")


def find_problem(reply: ToolReply, tool: ToolSpec) -> str:
    """What is wrong with a result by the tool's output schema; empty when nothing is."""
    if reply.error or not tool.output:
        return ""
    try:
        error = next(iter(_validator(canonical_json(tool.output)).iter_errors(reply.result)), None)
    except (SchemaError, Unresolvable, re.error, RecursionError):
        return ""  # a schema that cannot be applied forbids nothing
    if error is None:
        return ""
    place = "/".join(map(str, error.absolute_path)) or "the result"
    return f"{place} does not fit the output schema: {shorten(error.message)}"


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Draft202012Validator:
    """The validator of a schema's JSON text; remote references are never fetched."""
    document = json.loads(schema)
    Draft202012Validator.check_schema(document)
    validator: Draft202012Validator = bounded_validator()(document, registry=Registry())
    return validator


class Memory:
    """What the results of one dialogue have said so far."""

    def __init__(self) -> None:
        self._results: dict[str, str] = {}
        self._facts: dict[str, JsonObject] = {}
        self._ids: set[str] = set()

    def recall(self, tool: ToolSpec, call: ToolCall) -> str | None:
        """The result of the same reading call, if nothing has changed since."""
        return self._results.get(canonical_json([tool.name, call.arguments]))

    def keep(self, tool: ToolSpec, call: ToolCall, content: str) -> None:
        """Takes in a result; one of a changing call makes the earlier ones old. Errors say
        nothing about the world."""
        if changes_something(tool):
            self._results.clear()
            self._facts.clear()
        elif not is_failure(content):
            self._results[canonical_json([tool.name, call.arguments])] = content
        for name, value, row in _identified(json.loads(content)):
            self._ids.add(value)
            self._facts.setdefault(_key(name, value), {}).update(_scalars(row))

    def find_problem(self, reply: ToolReply, tool: ToolSpec, call: ToolCall) -> str:
        """What the reply says against the call or against earlier results; empty if nothing."""
        if reply.error:
            return self._find_forgotten(reply.error, call)
        if isinstance(reply.result, dict):
            for name, value in call.arguments.items():
                said = reply.result.get(name, value)
                if _is_id(name) and _is_scalar(said) and str(said) != str(value):
                    return f"{name} is {shorten(said)}, but {shorten(value)} was asked for"
        if changes_something(tool):
            return ""
        for name, value, row in _identified(reply.result):
            told = self._facts.get(_key(name, value), {})
            for field, now in _scalars(row).items():
                if field in told and canonical_json(told[field]) != canonical_json(now):
                    return (
                        f"{field} of {shorten(value)} is {shorten(now)}, but an earlier result "
                        f"said {shorten(told[field])}"
                    )
        return ""

    def _find_forgotten(self, error: str, call: ToolCall) -> str:
        named = [str(v) for n, v in call.arguments.items() if _is_id(n) and str(v) in self._ids]
        if named and _FORGOTTEN.search(error):
            return f"{shorten(named[0])} is said not to exist, but an earlier result gave it"
        return ""


def _identified(value: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(name of the id, id, object) for every object that carries an id of its own.

    Its own is `id`, or the first field whose name ends in it.
    """
    if isinstance(value, list):
        for inner in value:
            yield from _identified(inner)
    if not isinstance(value, dict):
        return
    name = next((n for n in value if _is_id(n) and _is_scalar(value[n])), None)
    if name is not None:
        yield name, str(value[name]), value
    for inner in value.values():
        yield from _identified(inner)


def _is_id(name: str) -> bool:
    return name == "id" or re.search(r"(_id|Id|-id|_ID)$", name) is not None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _scalars(row: Mapping[str, Any]) -> JsonObject:
    return {key: value for key, value in row.items() if _is_scalar(value)}


def _key(name: str, value: str) -> str:
    """An order and a flight may have the same number: the id counts with its name."""
    return f"{name}={value}"
