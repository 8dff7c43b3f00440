"""How a right answer goes wrong: the corruptions that labels and predictions suffer.

Each function yields candidates in a seeded order; which of them can stand is for the rules to say.
Values come from the context, from enums and from the schema, so that a wrong answer is as plausible
as a wrong label that has passed validation.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from random import Random
from typing import Any

from looptool.calls import calls_match
from looptool.records import (
    AssistantMessage,
    JsonObject,
    Label,
    Sample,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    canonical_json,
)

Path = tuple[str, ...]
Corruption = Callable[[Sample, Random], Iterator[Label]]

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_][\w'’-]+")
VAGUE = {
    "en": (
        "Could you tell me a bit more about what you need?",
        "I am sorry, I cannot help with that.",
        "Which of these do you mean?",
    ),
    "zh": ("请再说明一下您的需要。", "抱歉，我无法帮您完成这件事。"),
}
LEAD_INS = {"en": ("Sure. ", "Thank you for asking. ", "Of course. "), "zh": ("好的。", "没问题。")}


def drop_argument(sample: Sample, rng: Random) -> Iterator[Label]:
    """Leaves an argument out."""
    places = [
        (number, path)
        for number, call in enumerate(sample.label.calls)
        for path in _paths(call.arguments)
    ]
    for number, path in rng.sample(places, len(places)):
        call = sample.label.calls[number]
        yield _with_call(sample, number, call.name, _without(call.arguments, path))


def change_value(sample: Sample, rng: Random) -> Iterator[Label]:
    """Puts another value of the enum or of the conversation in the place of one."""
    around = collect_values(sample)
    places = [
        (number, path)
        for number, call in enumerate(sample.label.calls)
        for path in _paths(call.arguments)
    ]
    for number, path in rng.sample(places, len(places)):
        call = sample.label.calls[number]
        old = _at(call.arguments, path)
        schema = _schema_at(_tool(sample, call.name), path)
        for value in _others(old, schema, around, rng)[:6]:
            yield _with_call(sample, number, call.name, _set(call.arguments, path, value))


def change_tool(sample: Sample, rng: Random) -> Iterator[Label]:
    """Calls another tool, with what it can take of the same arguments."""
    for number, call in enumerate(sample.label.calls):
        for tool in rng.sample(sample.tools, len(sample.tools)):
            if tool.name != call.name:
                arguments = fill(tool, call.arguments, collect_values(sample), rng)
                yield _with_call(sample, number, tool.name, arguments)


def add_call(sample: Sample, rng: Random) -> Iterator[Label]:
    """Makes one call more, which nobody asked for."""
    calls = sample.label.calls
    known = {key: value for call in calls for key, value in call.arguments.items()}
    for tool in rng.sample(sample.tools, len(sample.tools)):
        if calls and tool.name not in {call.name for call in calls}:
            arguments = fill(tool, known, collect_values(sample), rng)
            yield Label(calls=(*calls, ToolCall(name=tool.name, arguments=arguments)))


def miss_call(sample: Sample, rng: Random) -> Iterator[Label]:
    """Leaves one of several calls out."""
    calls = sample.label.calls
    for number in rng.sample(range(len(calls)), len(calls)) if len(calls) > 1 else ():
        yield Label(calls=calls[:number] + calls[number + 1 :])


def call_anyway(sample: Sample, rng: Random) -> Iterator[Label]:
    """Calls where words were due: a call that was made already, or one with values at hand."""
    if sample.label.calls:
        return
    made = [c for m in sample.messages if isinstance(m, AssistantMessage) for c in m.calls]
    for call in reversed(made):
        yield Label(calls=(call,))
    for tool in rng.sample(sample.tools, len(sample.tools)):
        for _ in range(2):
            arguments = fill(tool, {}, collect_values(sample), rng)
            yield Label(calls=(ToolCall(name=tool.name, arguments=arguments),))


def say_instead(sample: Sample, rng: Random) -> Iterator[Label]:
    """Asks or refuses where a call was due."""
    words = VAGUE.get(sample.language, VAGUE["en"])
    for text in rng.sample(words, len(words)) if sample.label.calls else ():
        yield Label(text=text)


CORRUPTIONS: dict[str, Corruption] = {
    "dropped_argument": drop_argument,
    "wrong_value": change_value,
    "wrong_tool": change_tool,
    "extra_call": add_call,
    "missed_call": miss_call,
    "call_not_due": call_anyway,
    "no_call": say_instead,
}


def reword(sample: Sample, rng: Random) -> Iterator[Label]:
    """The same answer, written differently: order, defaults, `5.0`, other words around a text."""
    if not sample.label.calls:
        leads = LEAD_INS.get(sample.language, ())
        for lead in rng.sample(leads, len(leads)):
            yield Label(text=lead + sample.label.text)
        return
    calls = sample.label.calls
    if not sample.ordered and len(calls) > 1:
        yield Label(calls=calls[::-1])
    for number, call in enumerate(calls):
        tool = _tool(sample, call.name)
        for arguments in _rewrite(call.arguments, tool.parameters if tool else {}):
            yield _with_call(sample, number, call.name, arguments)


def same_answer(sample: Sample, one: Label, other: Label) -> bool:
    """Whether two answers to the sample's context are the same by the matching rule."""
    if not one.calls or not other.calls:
        return not one.calls and not other.calls
    return calls_match(
        one.as_calls(), other.as_calls(), sample.tool_specs(), ordered=sample.ordered
    )


def _rewrite(arguments: JsonObject, schema: Mapping[str, Any]) -> Iterator[JsonObject]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    for name, one in properties.items():
        if not isinstance(one, Mapping):
            continue
        if "default" in one and name not in required:
            default = one["default"]
            if name not in arguments:
                yield {**arguments, name: default}
            elif canonical_json(arguments[name]) == canonical_json(default):
                yield _without(arguments, (name,))
        value = arguments.get(name)
        if type(value) is int and one.get("type") == "number":
            yield {**arguments, name: float(value)}
        if isinstance(value, list) and len(value) > 1 and one.get("uniqueItems"):
            yield {**arguments, name: value[::-1]}


def collect_values(sample: Sample) -> list[Any]:
    """The scalars that the conversation holds: of calls and results, numbers and words of the user."""
    found: list[Any] = []
    for message in sample.messages:
        if isinstance(message, UserMessage):
            for text in _NUMBER.findall(message.content):
                found.append(float(text) if "." in text else int(text))
            found += _WORD.findall(message.content)
        elif isinstance(message, AssistantMessage):
            found += [v for call in message.calls for v in _scalars(call.arguments)]
        elif isinstance(message, ToolMessage):
            try:
                found += _scalars(json.loads(message.content))
            except ValueError:
                continue
    said = [v for call in sample.label.calls for v in _scalars(call.arguments)]
    return list({canonical_json(value): value for value in (*said, *found)}.values())


def fill(
    tool: ToolSpec, known: Mapping[str, Any], around: Sequence[Any], rng: Random
) -> JsonObject:
    """Arguments for a tool: what is known by name, and a value at hand for what else is required."""
    properties = tool.parameters.get("properties") or {}
    filled = {name: known[name] for name in properties if name in known}
    for name in tool.parameters.get("required") or ():
        schema = properties.get(name)
        if name not in filled and isinstance(schema, Mapping):
            options = _options(schema, around)
            if options:
                filled[name] = rng.choice(options)
    return filled


def _options(schema: Mapping[str, Any], around: Sequence[Any]) -> list[Any]:
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    }  # fmt: skip
    kind = str(schema.get("type"))
    if kind == "boolean":
        return [True, False]
    return [v for v in around if type(v) in kinds.get(kind, ())]


def _others(old: Any, schema: Mapping[str, Any], around: Sequence[Any], rng: Random) -> list[Any]:
    if isinstance(schema.get("enum"), list):
        found = [value for value in schema["enum"] if value != old]
    elif isinstance(old, bool):
        found = [not old]
    elif isinstance(old, list):
        found = [old[:n] + old[n + 1 :] for n in range(len(old))] if len(old) > 1 else []
    else:
        wide = (int, float) if schema.get("type") == "number" else (type(old),)
        found = [value for value in around if type(value) in wide and value != old]
    return rng.sample(found, len(found))


def _paths(value: Mapping[str, Any], head: Path = ()) -> Iterator[Path]:
    """The paths of all leaves; lists are leaves."""
    for key, child in value.items():
        if isinstance(child, Mapping) and child:
            yield from _paths(child, (*head, key))
        else:
            yield (*head, key)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _set(arguments: JsonObject, path: Path, value: Any) -> JsonObject:
    changed = deepcopy(arguments)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


def _without(arguments: JsonObject, path: Path) -> JsonObject:
    changed = deepcopy(arguments)
    del _at(changed, path[:-1])[path[-1]]
    return changed


def _with_call(sample: Sample, number: int, name: str, arguments: JsonObject) -> Label:
    calls = list(sample.label.calls)
    calls[number] = ToolCall(name=name, arguments=arguments)
    return Label(calls=tuple(calls))


def _tool(sample: Sample, name: str) -> ToolSpec | None:
    return next((tool for tool in sample.tools if tool.name == name), None)


def _schema_at(tool: ToolSpec | None, path: Path) -> Mapping[str, Any]:
    schema: Any = tool.parameters if tool else {}
    for key in path:
        inner = schema.get("properties") if isinstance(schema, Mapping) else None
        schema = inner.get(key, {}) if isinstance(inner, Mapping) else {}
    return schema if isinstance(schema, Mapping) else {}


def _scalars(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for child in value.values() for leaf in _scalars(child)]
    if isinstance(value, list):
        return [leaf for child in value for leaf in _scalars(child)]
    return [value] if isinstance(value, str | int | float) else []
