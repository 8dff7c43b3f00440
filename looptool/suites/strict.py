"""Our rule on a benchmark's answers: the same `calls_match` as label checks, reward and probe.

A benchmark's label is often a choice of values for each argument. An answer is right if it equals one of the
choices, each a whole call. Equality is decided key by key (R4), so no choices have to be multiplied out:
for every argument the value is sought that equals the answer's, and the call made of them is then
compared as a whole, its schema included (R9).

None stands for "cannot be said": a tool document that is no schema, or a label of which no choice satisfies
its own tool. It is counted apart, as a defect of the benchmark and not of the policy.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from looptool.calls import ToolIndex, calls_match, check_label
from looptool.calls.json_text import ArgumentsError, parse_arguments
from looptool.calls.values import pair_up
from looptool.errors import DataError, shorten
from looptool.records import JsonObject
from looptool.seed import normalise_tool

ABSENT = object()
"""Among the choices of an argument: it may be left out."""
CHOICES_MAX = 256
"""Choices of one value that is an object, at most; further ones are not looked at."""


@dataclass(frozen=True, slots=True)
class Options:
    """One expected call: a name, and for each argument the values that are right."""

    name: str
    arguments: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What our rule says of an answer."""

    matched: bool | None
    """None: the item cannot be decided on."""
    note: str = ""
    """Why not, or why it cannot be decided."""


class Toolbox:
    """The functions of one item as valid tools, found by any of their names."""

    def __init__(self, documents: Sequence[Mapping[str, Any]], *, dots: str = "_") -> None:
        """Raises DataError for a document that cannot be made a tool.

        Documents that occur twice count once; `dots` is what the harness makes of a dot in a name.
        """
        tools: dict[str, JsonObject] = {}
        self.names: dict[str, str] = {}
        for document in documents:
            tool = normalise_tool(document)
            known = self.names.get(str(document["name"]))
            if known is not None and tools[known] != tool.as_openai():
                raise DataError(f"two functions are called {shorten(tool.name)}")
            if known is None and tool.name in tools:
                raise DataError(f"two functions become {shorten(tool.name)}")
            tools[tool.name] = tool.as_openai()
            for name in (document["name"], str(document["name"]).replace(".", dots), tool.name):
                self.names[str(name)] = tool.name
        self.index = ToolIndex(list(tools.values()))
        schemas = {name: tool["function"]["parameters"] for name, tool in tools.items()}
        self.properties = {name: list(schema["properties"]) for name, schema in schemas.items()}
        self._required = {name: schema.get("required", []) for name, schema in schemas.items()}

    def requires(self, name: str, key: str) -> bool:
        """Whether a function, by any of its names, must be given this argument."""
        return key in self._required.get(self.names.get(name, name), [])

    def read(self, name: str, arguments: Any) -> JsonObject:
        """A call under the tool's own name."""
        return {"name": self.names.get(name, name), "arguments": arguments}

    def is_sound(self, call: JsonObject) -> bool:
        """Whether the call names a tool and satisfies its schema."""
        return not check_label([call], self.index)


def judge_calls(
    predicted: Sequence[JsonObject], expected: Sequence[Options], tools: Toolbox
) -> Verdict:
    """Whether the calls are the expected ones, in any order (R3)."""
    for options in expected:
        if (fault := find_defect(options, tools)) is not None:
            return Verdict(None, f"the label breaks its own schema: {fault}")
    if len(predicted) != len(expected):
        return Verdict(False, f"{len(predicted)} calls, {len(expected)} expected")
    pairs = pair_up(len(predicted), lambda i, j: match_options(predicted[i], expected[j], tools))
    if -1 not in pairs:
        return Verdict(True)
    call = predicted[pairs.index(-1)]
    return Verdict(False, f"no expected call equals {shorten(call, 200)}")


def match_options(call: JsonObject, options: Options, tools: Toolbox) -> bool:
    """Whether the call equals one of the choices."""
    label = choose_like(call, options, tools)
    return label is not None and calls_match([call], [label], tools.index)


def choose_like(call: JsonObject, options: Options, tools: Toolbox) -> JsonObject | None:
    """The choice that equals the call, if any does."""
    name = tools.names.get(options.name, options.name)
    try:
        arguments = parse_arguments(call["arguments"])
    except ArgumentsError:
        return None
    if call["name"] != name or not tools.is_sound({"name": name, "arguments": arguments}):
        return None
    chosen: JsonObject = {}
    for key, values in options.arguments.items():
        for value in values:
            rest = {k: v for k, v in arguments.items() if k != key}
            tried = rest if value is ABSENT else rest | {key: value}
            if calls_match(
                [{"name": name, "arguments": arguments}],
                [{"name": name, "arguments": tried}],
                tools.index,
            ):
                chosen |= {} if value is ABSENT else {key: value}
                break
        else:
            return None
    return {"name": name, "arguments": chosen}


def find_defect(options: Options, tools: Toolbox) -> str | None:
    """Why no choice of an expected call satisfies the tool, or None if one does.

    Argument by argument the choice with the fewest faults is taken: schemas that tie arguments to one
    another in another way than `required` are not understood here.
    """
    name = tools.names.get(options.name)
    if name is None:
        return f"no function is called {shorten(options.name)}"
    empty = next((key for key, values in options.arguments.items() if not values), None)
    if empty is not None:
        return f"{shorten(empty)} has no right value"
    picked = {key: values[0] for key, values in options.arguments.items()}
    for key, values in options.arguments.items():
        picked[key] = min(
            values, key=lambda value: len(_faults(name, {**picked, key: value}, tools))
        )
    faults = _faults(name, picked, tools)
    return shorten(faults[0], 160) if faults else None


def _faults(name: str, arguments: Mapping[str, Any], tools: Toolbox) -> list[str]:
    given = {key: value for key, value in arguments.items() if value is not ABSENT}
    return check_label([{"name": name, "arguments": given}], tools.index)


def expand_values(value: Any) -> list[Any]:
    """The values that an object of choices stands for: `{"a": [1, 2]}` is `{"a": 1}` or `{"a": 2}`."""
    if not isinstance(value, dict):
        return [value]
    names = list(value)
    choices = [_choices(value[name]) for name in names]
    return [
        {n: v for n, v in zip(names, combination, strict=True) if v is not ABSENT}
        for combination in itertools.islice(itertools.product(*choices), CHOICES_MAX)
    ]


def _choices(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return expand_values(value)
    return [ABSENT if v == "" and len(value) > 1 else v for v in value]
