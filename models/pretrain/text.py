"""Dialogues for pre-training: every kind of decision, in a deliberately narrow range of phrasings.

A dialogue is one to three user needs over one set of random tools. Requests mostly name each
parameter next to its value; chatty, elliptical or corrected requests are left out on purpose, so
that a later training by reinforcement has something to teach. Calls list their arguments in the
order in which the user names them, not in the schema's (the match is free of order): copying from
left to right is what a model of this size learns fast.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from models.pretrain.tools import (
    Parameter,
    Tool,
    Value,
    draw_parameter,
    draw_tool,
    draw_tools,
    draw_value,
)

KINDS = (
    "single",
    "multi_turn",
    "parallel",
    "dependent",
    "retry",
    "supplied",
    "clarify",
    "no_tool",
    "summary",
)
"""What an assistant turn can be; the last three are answers in text."""

Message = dict[str, Any]
Call = dict[str, Any]
Filled = list[tuple[Parameter, Value]]

IMPLICIT = {
    "city": ("in {v}", "in {v}", "to {v}"),
    "date": ("on {v}",),
    "time": ("at {v}",),
    "name": ("for {v}", "with {v}", "to {v}"),
    "email": ("to {v}",),
    "integer": ("{v} {n}",),
    "number": ("of {v}", "{v}"),
}


@dataclass(slots=True)
class Dialogue:
    """A finished conversation; `kinds` names the decision of each assistant turn, in order."""

    tools: list[Tool]
    messages: list[Message] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def say(self, role: str, content: str) -> None:
        """Adds a turn in plain text."""
        self.messages.append({"role": role, "content": content})

    def answer(self, kind: str, content: str) -> None:
        """Adds an assistant's turn in text."""
        self.kinds.append(kind)
        self.say("assistant", content)

    def call(self, kind: str, calls: list[Call]) -> None:
        """Adds an assistant's turn of one or more calls."""
        self.kinds.append(kind)
        functions = [{"type": "function", "function": call} for call in calls]
        self.messages.append({"role": "assistant", "content": "", "tool_calls": functions})


@dataclass(frozen=True, slots=True)
class Need:
    """What a user wants of one tool, with the values that they give."""

    tool: Tool
    filled: Filled

    def build_call(self) -> Call:
        """The call that fulfils the need."""
        return {
            "name": self.tool.name,
            "arguments": {parameter.name: value.json for parameter, value in self.filled},
        }


def draw_need(rng: random.Random, tool: Tool, optional_rate: float = 0.4) -> Need:
    """Values for all required and some optional parameters, half the time shuffled."""
    filled = [
        (parameter, draw_value(rng, parameter))
        for parameter in tool.parameters
        if parameter.required or rng.random() < optional_rate
    ]
    if rng.random() < 0.5:
        rng.shuffle(filled)
    return Need(tool, filled)


def _join(rng: random.Random, parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    middle = rng.choice((", ", ", ", " and "))
    return middle.join(parts[:-1]) + rng.choice((" and ", ", ", " and ")) + parts[-1]


def say_values(rng: random.Random, filled: Filled, intent: str = "") -> str:
    """The intent followed by all values, parameters named in one of a few explicit styles."""
    names = [p.name if rng.random() < 0.3 else p.spoken for p, _ in filled]
    values = [value.spoken for _, value in filled]
    pairs = list(zip(names, values, strict=True))
    style = rng.randrange(7)
    if not filled:
        return intent
    if style == 0:
        start = f"{intent}{rng.choice((': ', '. ', ', '))}" if intent else ""
        return start + ", ".join(f"{name}: {value}" for name, value in pairs)
    if style == 1:
        start = f"{intent}{rng.choice((', ', '. ', ': '))}" if intent else ""
        joint = rng.choice(("; ", ", "))
        return start + joint.join(f"{name} is {value}" for name, value in pairs)
    if style == 2:
        start = f"{intent}{rng.choice((' and set ', ', set '))}" if intent else "set "
        return start + _join(rng, [f"{name} to {value}" for name, value in pairs])
    if style == 3:
        start = f"{intent} with " if intent else ""
        return start + ", ".join(f"{name} = {value}" for name, value in pairs)
    if style == 4:
        start = f"{intent} {rng.choice(('for', 'using'))} " if intent else "for "
    else:
        start = f"{intent} with " if intent else rng.choice(("", "with "))
    return start + _join(rng, [f"{name} {value}" for name, value in pairs])


def say_implicitly(rng: random.Random, filled: Filled, intent: str) -> str:
    """The values without the parameters' names, or with the name after the value."""
    parts = []
    for parameter, value in filled:
        if parameter.kind == "boolean":
            parts.append(f"{parameter.spoken} {value.spoken}")
            continue
        form = rng.choice(IMPLICIT.get(parameter.kind, ("{v}", "for {v}", "{n} {v}")))
        parts.append(form.format(v=value.spoken, n=parameter.spoken))
    return intent + (", " if rng.random() < 0.4 else " ") + rng.choice((", ", " ")).join(parts)


def say_need(rng: random.Random, need: Need, implicit_rate: float = 0.2) -> str:
    """A request: an intent of the tool, then the values, mostly with their names."""
    intent = rng.choice(need.tool.intents)
    if need.filled and rng.random() < implicit_rate:
        return say_implicitly(rng, need.filled, intent)
    return say_values(rng, need.filled, intent)


def finish(rng: random.Random, request: str) -> str:
    """A polite wrapper, a capital and a full stop, or none of them."""
    roll = rng.random()
    if roll < 0.15:
        request = f"please {request}"
    elif roll < 0.25:
        request = f"can you {request}?"
    elif roll < 0.35:
        request = f"I want to {request}"
    elif roll < 0.42:
        request = f"I need to {request}"
    if rng.random() < 0.75:
        request = request[0].upper() + request[1:]
    return request + ("." if rng.random() < 0.4 and not request.endswith("?") else "")


def _draw_result(rng: random.Random, known: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A tool's answer that holds `known`: (the key worth telling, the whole object)."""
    taken: set[str] = set(known)
    result = dict(known)
    for _ in range(rng.choice((1, 1, 2) if not known else (0, 1, 1))):
        kind = rng.choice(("id", "number", "integer", "word", "enum", "name", "date"))
        parameter = draw_parameter(rng, "snake", taken, True, kind)
        result[parameter.name] = draw_value(rng, parameter).json
    keys = list(result)
    rng.shuffle(keys)
    if rng.random() < 0.35:
        keys.insert(rng.choice((0, len(keys))), "status")
        result["status"] = rng.choice(("ok", "done", "success"))
    ordered = {key: result[key] for key in keys}
    return keys[0], ordered


def _to_json(value: Any) -> str:

    return json.dumps(value, ensure_ascii=False)


def add_result(
    rng: random.Random, dialogue: Dialogue, known: dict[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Adds a tool's answer that holds `known`; returns (a key of it, the answer)."""
    key, result = _draw_result(rng, known or {})
    dialogue.say("tool", _to_json(result))
    return key, result


def add_summary(rng: random.Random, dialogue: Dialogue, key: str, result: dict[str, Any]) -> None:
    """Adds the closing answer: one value of the result."""
    value = result[key] if isinstance(result[key], str) else _to_json(result[key])
    text = rng.choice(("Done. The {k} is {v}.", "The {k} is {v}.", "Done: {k} {v}."))
    dialogue.answer("summary", text.format(k=key.replace("_", " "), v=value))


def _call_kind(dialogue: Dialogue, kind: str) -> str:
    return "multi_turn" if kind == "single" and dialogue.kinds else kind


def add_single(rng: random.Random, dialogue: Dialogue, tool: Tool) -> None:
    """A request, its call, the result, the closing answer."""
    need = draw_need(rng, tool)
    dialogue.say("user", finish(rng, say_need(rng, need)))
    dialogue.call(_call_kind(dialogue, "single"), [need.build_call()])
    add_summary(rng, dialogue, *add_result(rng, dialogue))


def add_parallel(rng: random.Random, dialogue: Dialogue, tools: list[Tool]) -> None:
    """One request for several calls in one answer."""
    needs = [draw_need(rng, tool, optional_rate=0.25) for tool in tools]
    joiner = rng.choice((" and ", " and also ", ", then ", "; ", ". Also "))
    if len({tool.name for tool in tools}) == 1 and needs[0].filled and rng.random() < 0.3:
        intent = rng.choice(tools[0].intents)
        parts = [f"{intent} for {_say_short(rng, needs[0])}"]
        parts += [f"for {_say_short(rng, need)}" for need in needs[1:]]
    else:
        parts = [say_need(rng, need, implicit_rate=0.1) for need in needs]
    dialogue.say("user", finish(rng, joiner.join(parts)))
    dialogue.call("parallel", [need.build_call() for need in needs])
    results = [add_result(rng, dialogue) for _ in needs]
    add_summary(rng, dialogue, *results[0])


def _say_short(rng: random.Random, need: Need) -> str:
    return _join(rng, [f"{parameter.spoken} {value.spoken}" for parameter, value in need.filled])


def add_dependent(rng: random.Random, dialogue: Dialogue, first: Tool, second: Tool) -> None:
    """Two calls, the second with a value out of the first one's result."""
    shared = next(parameter for parameter in second.parameters if parameter.kind == "shared")
    kind = rng.choice(("id", "id", "name", "city", "email", "date"))
    found = draw_value(rng, Parameter("", "", kind, {"type": "string"}, True))
    need = draw_need(rng, first)
    phrase = rng.choice(("from the result", "from the result", "it returns", "you get", "found"))
    filled = [
        (p, Value(found.json, phrase) if p is shared else draw_value(rng, p))
        for p in second.parameters
        if p.required or rng.random() < 0.3
    ]
    later = Need(second, filled)
    joiner = rng.choice((", then ", " and then ", ". Then ", ". After that "))
    request = say_need(rng, need, 0.1) + joiner
    dialogue.say("user", finish(rng, request + say_values(rng, filled, rng.choice(second.intents))))
    dialogue.call(_call_kind(dialogue, "single"), [need.build_call()])
    add_result(rng, dialogue, {shared.name: found.json})
    dialogue.call("dependent", [later.build_call()])
    add_summary(rng, dialogue, *add_result(rng, dialogue))


def add_clarify(rng: random.Random, dialogue: Dialogue, tool: Tool) -> None:
    """A request without a required value, the question, the value, the call."""
    need = draw_need(rng, tool, optional_rate=0.25)
    required = [pair for pair in need.filled if pair[0].required]
    count = min(len(required), rng.choice((1, 1, 1, 2)))
    missing = rng.sample(required, count)
    given = [pair for pair in need.filled if pair not in missing]
    dialogue.say("user", finish(rng, say_need(rng, Need(tool, given))))
    missing.sort(key=lambda pair: tool.parameters.index(pair[0]))
    names = " and ".join(parameter.spoken for parameter, _ in missing)
    forms = (
        ("What is the {n}?", "Which {n} should I use?", "Please give me the {n}.")
        if count == 1
        else ("What are the {n}?", "Please give me the {n}.")
    )
    dialogue.answer("clarify", rng.choice(forms).format(n=names))
    bare = ", ".join(value.spoken for _, value in missing)
    said = " and ".join(f"{p.spoken} {value.spoken}" for p, value in missing)
    reply = rng.choice((bare, say_values(rng, missing), say_values(rng, missing), f"use {said}"))
    dialogue.say("user", finish(random.Random(0), reply) if rng.random() < 0.5 else reply)
    dialogue.call("supplied", [Need(tool, given + missing).build_call()])
    add_summary(rng, dialogue, *add_result(rng, dialogue))


def add_no_tool(rng: random.Random, dialogue: Dialogue, absent: Tool) -> None:
    """A request that no tool of the dialogue serves, or small talk; an answer in text."""
    if rng.random() < 0.08:
        dialogue.say("user", rng.choice(("Hello!", "Hi, how are you?", "Thanks!", "Thank you.")))
        dialogue.answer("no_tool", "Hello. What can I do for you?")
        return
    dialogue.say("user", finish(rng, say_need(rng, draw_need(rng, absent))))
    forms = (
        "Sorry, I have no tool for that.",
        "None of the tools can do that.",
        "Sorry, I cannot do that with these tools.",
    )
    dialogue.answer("no_tool", rng.choice(forms))


def add_retry(rng: random.Random, dialogue: Dialogue, tool: Tool) -> None:
    """A call, an error, the same or a corrected call."""
    need = draw_need(rng, tool)
    dialogue.say("user", finish(rng, say_need(rng, need)))
    dialogue.call(_call_kind(dialogue, "single"), [need.build_call()])
    texts = [i for i, (p, _) in enumerate(need.filled) if p.schema["type"] == "string"]
    if texts and rng.random() < 0.5:
        index = rng.choice(texts)
        parameter, old = need.filled[index]
        new = draw_value(rng, parameter)
        need.filled[index] = (parameter, new)
        forms: tuple[dict[str, Any], ...] = (
            {"error": f"unknown {parameter.name} {old.json}, did you mean {new.json}?"},
            {"error": f"{parameter.name} not found, use {new.json}"},
            {"error": f"invalid {parameter.name}", "expected": new.json},
        )
        dialogue.say("tool", _to_json(rng.choice(forms)))
    else:
        reasons = ("timeout", "service busy", "temporarily unavailable", "rate limit")
        again = rng.choice((", try again", ", please retry", ""))
        dialogue.say("tool", _to_json({"error": rng.choice(reasons) + again}))
    dialogue.call("retry", [need.build_call()])
    add_summary(rng, dialogue, *add_result(rng, dialogue))


SYSTEMS = (
    "You are a helpful assistant.",
    "You can call tools.",
    "Today is 2026-03-{day:02d}.",
    "The date is 2026-{day:02d}-11.",
)

NEEDS = ("single", "parallel", "dependent", "clarify", "no_tool", "retry")
NEED_WEIGHTS = (30, 14, 13, 18, 17, 8)


def _add_need(rng: random.Random, dialogue: Dialogue, kind: str, pool: list[Tool]) -> None:
    tool = rng.choice(pool)
    if kind == "parallel":
        count = rng.choice((2, 2, 2, 3))
        same = rng.random() < 0.45
        tools = [tool] * count if same else [rng.choice(pool) for _ in range(count)]
        add_parallel(rng, dialogue, tools)
    elif kind == "clarify" and any(p.required for p in tool.parameters):
        add_clarify(rng, dialogue, tool)
    elif kind == "retry":
        add_retry(rng, dialogue, tool)
    else:
        add_single(rng, dialogue, tool)


def _draw_pair(rng: random.Random) -> tuple[Tool, Tool]:
    """Two tools where the second needs a text parameter that the first one's result holds."""
    spelled = draw_parameter(rng, "snake", set(), True, rng.choice(("id", "id", "name", "email")))
    shared = Parameter(spelled.name, spelled.spoken, "shared", {"type": "string"}, True)
    return draw_tool(rng, max_parameters=2), draw_tool(rng, max_parameters=2, with_parameter=shared)


def draw_dialogue(rng: random.Random, first: str | None = None) -> Dialogue:
    """A dialogue of the full mix; `first` fixes the first need's kind."""
    kinds = rng.choices(NEEDS, NEED_WEIGHTS, k=rng.choices((1, 2, 3), (55, 30, 15))[0])
    if first:
        kinds[0] = first
    own = [draw_tool(rng) for _ in range(rng.choice((1, 1, 2)))]
    while len({tool.meaning for tool in own}) < len(own):
        own = own[:-1]
    pair = _draw_pair(rng) if "dependent" in kinds else None
    targets = own + (list(pair) if pair else [])
    count = max(len(targets), rng.choices((2, 3, 4, 5, 6, 8), (18, 26, 26, 15, 10, 5))[0])
    tools = draw_tools(rng, targets, count + kinds.count("no_tool"))
    absent = [tool for tool in tools if tool not in targets][: kinds.count("no_tool")]
    dialogue = Dialogue([tool for tool in tools if tool not in absent])
    if rng.random() < 0.25:
        dialogue.say("system", rng.choice(SYSTEMS).format(day=rng.randint(1, 12)))
    for kind in kinds:
        if kind == "no_tool":
            add_no_tool(rng, dialogue, absent.pop())
        elif kind == "dependent" and pair:
            add_dependent(rng, dialogue, *pair)
        else:
            _add_need(rng, dialogue, kind, own)
    return dialogue
