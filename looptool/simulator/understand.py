"""The right next step of a conversation, from the tools and what was said: the core of all roles."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from looptool.records import JsonObject, as_mapping
from looptool.simulator.ask import Reference
from looptool.simulator.chinese import (
    fact_in_chinese,
    name_in_chinese,
    read_chinese,
    reply_in_chinese,
    speaks_chinese,
)
from looptool.simulator.lexicon import split_name
from looptool.simulator.plan import Step, make_plan, take_answer
from looptool.simulator.shapes import Leaf, same_json
from looptool.simulator.toolbox import Toolbox

Move = Literal["call", "ask", "refuse", "summary", "give_up"]
Messages = Sequence[Mapping[str, Any]]
_TRANSIENT = re.compile(
    r"time-?\s?d?-?out|timed out|\b429\b|\b5\d\d\b|unavailable|try again|temporar|overload|rate.?limit|"
    r"too many|busy|connection|transient|retry",
    re.IGNORECASE,
)
_PRICE = re.compile(r"price|cost|fare|rate|fee|amount|total", re.IGNORECASE)


@dataclass(slots=True)
class Done:
    """A call that was made in the current turn, with its result."""

    call: JsonObject
    result: Any = None
    answered: bool = False

    @property
    def error(self) -> str | None:
        """The error that the tool answered with."""
        if isinstance(self.result, Mapping) and self.result.get("error"):
            return str(self.result["error"])
        return None


@dataclass(slots=True)
class Turn:
    """The current turn: what the user wants and what was done about it."""

    text: str
    start: int
    """Index of the user message that states the request."""
    answers: list[tuple[str, str]] = field(default_factory=list)
    """Questions of the assistant with the user's answers."""
    done: list[Done] = field(default_factory=list)
    base: JsonObject | None = None
    """The last call before this turn."""
    chinese: bool = False
    """Whether the request was made in Chinese; its text here is in English all the same."""


@dataclass(slots=True)
class Decision:
    """What the assistant should do next."""

    move: Move
    calls: list[JsonObject] = field(default_factory=list)
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    """All steps of the turn, done ones included."""

    def as_answer(self) -> JsonObject:
        """The reply of the assistant role."""
        return {"content": self.text, "tool_calls": self.calls}


def calls_of(message: Mapping[str, Any]) -> list[JsonObject]:
    """The calls of an assistant message as {"name", "arguments"}, from either shape."""
    found: list[JsonObject] = []
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = as_mapping(as_mapping(call).get("function", call))
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except ValueError:
                arguments = {}
        name = str(function.get("name", ""))
        found.append({"name": name, "arguments": arguments if isinstance(arguments, dict) else {}})
    return found


def is_question(message: Mapping[str, Any]) -> bool:
    """Whether an assistant message asks the user something."""
    text = str(message.get("content") or "").strip()
    return (
        message.get("role") == "assistant" and not calls_of(message) and text.endswith(("?", "？"))
    )


def read_turn(messages: Messages) -> Turn:
    """The current turn of a conversation; raises ValueError when no user has spoken."""
    users = [i for i, m in enumerate(messages) if m.get("role") == "user"]
    if not users:
        raise ValueError("the conversation has no user message")
    start = users[-1]
    answers: list[tuple[str, str]] = []
    while start >= 2 and is_question(messages[start - 1]) and messages[start - 2]["role"] == "user":
        question = str(messages[start - 1].get("content") or "")
        answer = str(messages[start].get("content") or "")
        answers.insert(0, (read_chinese(question), read_chinese(answer)))
        start -= 2
    said = str(messages[start].get("content") or "")
    turn = Turn(read_chinese(said), start, answers, chinese=speaks_chinese(said))
    for message in messages[:start]:
        if message.get("role") == "assistant" and (calls := calls_of(message)):
            turn.base = calls[-1]
    turn.done = _pair_results(messages[start + 1 :])
    return turn


def _pair_results(messages: Messages) -> list[Done]:
    done: list[Done] = []
    for message in messages:
        if message.get("role") == "assistant":
            done.extend(Done(call) for call in calls_of(message))
        elif message.get("role") == "tool":
            waiting = [d for d in done if not d.answered]
            named = [d for d in waiting if d.call["name"] == message.get("name")]
            target = next(iter(named or waiting), None)
            if target is not None:
                target.result, target.answered = _load(message.get("content")), True
    return done


def _load(content: Any) -> Any:
    try:
        return json.loads(content)
    except (TypeError, ValueError):
        return content


def plan_turn(box: Toolbox, turn: Turn) -> list[Step]:
    """The steps that the turn asks for, answers to questions included."""
    steps = make_plan(box, turn.text, turn.base)
    for question, answer in turn.answers:
        open_step = next((step for step in steps if step.missing), None)
        if open_step is None or not take_answer(open_step, question, answer):
            steps = make_plan(box, answer, turn.base) or steps
    return steps


def decide(box: Toolbox, messages: Messages) -> Decision:
    """The right next step; raises ValueError when there is nothing to answer."""
    turn = read_turn(messages)
    steps = plan_turn(box, turn)
    if not steps:
        return _decide_without_tool(turn)
    pairs = _assign(steps, turn.done)
    ready: list[JsonObject] = []
    for number, step in enumerate(steps):
        tried = pairs[number]
        if tried and tried[-1].error is None:
            continue
        stop = _find_obstacle(step, number, pairs, turn)
        if stop is not None:
            stop.steps = steps
            return stop
        if tried:
            ready.append(tried[-1].call)
        elif not step.references():
            ready.append({"name": step.tool.name, "arguments": step.arguments()})
    if ready:
        return Decision("call", calls=ready, steps=steps)
    return Decision("summary", text=_summarise(turn), steps=steps)


def _decide_without_tool(turn: Turn) -> Decision:
    if any(d.answered and d.error is None for d in turn.done):
        return Decision("summary", text=_summarise(turn))
    return Decision("refuse", text=_refuse(turn))


def _find_obstacle(step: Step, number: int, pairs: list[list[Done]], turn: Turn) -> Decision | None:
    """Why the step cannot go on by a call, as the words that are due; None when it can, or waits."""
    tried = pairs[number]
    if tried:
        final = len(tried) > 1 or not _TRANSIENT.search(tried[-1].error or "")
        return Decision("give_up", text=_give_up(tried[-1], turn)) if final else None
    if step.missing:
        return Decision("ask", text=_ask_for(step.missing[0], turn))
    if _resolve(step, number, pairs) or _is_waiting(number, pairs):
        return None
    stuck = "The result does not hold what the next step needs."
    return Decision("give_up", text=reply_in_chinese("stuck", "") if turn.chinese else stuck)


def _assign(steps: Sequence[Step], done: Sequence[Done]) -> list[list[Done]]:
    """For each step the attempts already made at it: exact ones first, then any call of its tool."""
    left = [d for d in done if d.answered]
    pairs: list[list[Done]] = [[] for _ in steps]
    for number, step in enumerate(steps):
        if not step.references() and not step.missing:
            call = {"name": step.tool.name, "arguments": step.arguments()}
            pairs[number] = _take(left, lambda d, call=call: same_json(d.call, call))
    for number, step in enumerate(steps):
        if not pairs[number]:
            pairs[number] = _take(left, lambda d, step=step: d.call["name"] == step.tool.name)
    return pairs


def _take(left: list[Done], fits: Any) -> list[Done]:
    """Take a first fitting attempt out of the list, and its repetitions while they are errors."""
    taken: list[Done] = []
    for attempt in list(left):
        if fits(attempt) and (not taken or taken[-1].error is not None):
            taken.append(attempt)
            left.remove(attempt)
    return taken


def _is_waiting(number: int, pairs: list[list[Done]]) -> bool:
    """Whether an earlier step has not delivered yet."""
    return any(not tried or tried[-1].error is not None for tried in pairs[:number])


def _resolve(step: Step, number: int, pairs: list[list[Done]]) -> bool:
    """Fill the step's references from the results before it; False while one cannot be filled."""
    results = [tried[-1].result for tried in pairs[:number] if tried and tried[-1].error is None]
    if step.references() and (not results or _is_waiting(number, pairs)):
        return False
    for path, reference in step.references().items():
        leaf = step.tool.leaf_at(path)
        found = next(
            (v for r in reversed(results) if (v := find_field(leaf, reference, r)) is not None),
            None,
        )
        if found is None:
            return False
        step.values[path] = found
    return True


def find_field(leaf: Leaf, reference: Reference, result: Any) -> Any:
    """The value of a result that a parameter refers to; None if there is none."""
    rows = _rows(result)
    if reference.which == "cheapest" and rows:
        priced = [(v, row) for row in rows if (v := _price(row)) is not None]
        places: list[Any] = [min(priced, key=lambda pair: pair[0])[1] if priced else rows[0]]
    elif reference.which and rows:
        places = rows[:1]
    else:
        places = [result, *rows[:1]]
    inner = [v for v in as_mapping(result).values() if isinstance(v, Mapping)]
    found = (_field_of(leaf, place) for place in [*places, *inner] if isinstance(place, Mapping))
    return next((value for value in found if value is not None), None)


def _field_of(leaf: Leaf, row: Mapping[str, Any]) -> Any:
    """The scalar of an object whose key fits the leaf best."""
    scalars = {k: v for k, v in row.items() if v is not None and not isinstance(v, list | dict)}
    last = leaf.words.split()[-1]
    for fits in (
        lambda key: key == leaf.path[-1],
        lambda key: " ".join(split_name(key)) == leaf.words,
        lambda key: last == "id" and key.lower() == "id",
        lambda key: split_name(key)[-1] == last,
    ):
        for key, value in scalars.items():
            if fits(key):
                return value
    return None


def _rows(result: Any) -> list[Mapping[str, Any]]:
    """The list of objects that a result is, or holds."""
    if isinstance(result, Mapping):
        result = next((v for v in result.values() if isinstance(v, list) and v), [])
    return [row for row in result if isinstance(row, Mapping)] if isinstance(result, list) else []


def _price(row: Mapping[str, Any]) -> float | None:
    for key, value in row.items():
        if _PRICE.search(key) and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _pick(texts: Sequence[str], key: str) -> str:
    return texts[sum(key.encode("utf-8", "replace")) % len(texts)]


def _ask_for(leaf: Leaf, turn: Turn) -> str:
    """The question for a missing value."""
    key = turn.text
    if turn.chinese:
        return reply_in_chinese("ask", key, name_in_chinese(leaf.words))
    forms = ("Which {} should I use?", "What {} would you like?", "Could you tell me the {}?")
    return _pick(forms, key).format(leaf.words)


def _refuse(turn: Turn) -> str:
    key = turn.text
    if turn.chinese:
        return reply_in_chinese("refuse", key)
    return _pick(
        (
            "Sorry, none of my tools can help with that.",
            "I'm afraid I can't do that with the tools I have.",
            "That is outside what my tools can do.",
        ),
        key,
    )


def _give_up(attempt: Done, turn: Turn) -> str:
    error = " ".join(str(attempt.error).replace("?", "").split())[:120]
    if turn.chinese:
        return reply_in_chinese("give_up", "", error)
    return f"I'm sorry, that did not work: {error}."


def _summarise(turn: Turn) -> str:
    succeeded = [d for d in turn.done if d.answered and d.error is None]
    facts = [_fact(d.result, d.call, turn) for d in succeeded]
    told = ("；" if turn.chinese else "; ").join(fact for fact in facts if fact)
    if turn.chinese:
        return reply_in_chinese("found" if told else "done", "", told)
    return f"Here is what I found: {told}." if told else "All done."


def _fact(result: Any, call: JsonObject, turn: Turn) -> str:
    """One field of a result in words, rather one that the call did not hold already."""
    rows = _rows(result)
    row = rows[0] if rows else result
    if isinstance(row, Mapping):
        told = [(k, v) for k, v in row.items() if isinstance(v, str | int | float) and v != ""]
        news = [(k, v) for k, v in told if call["arguments"].get(k) != v]
        for key, value in (news or told)[:1]:
            words = " ".join(split_name(key))
            if turn.chinese:
                return fact_in_chinese(words, value).replace("？", "")
            text = "yes" if value is True else "no" if value is False else str(value)
            return f"the {words} is {text}".replace("?", "")
        return ""
    return str(row).replace("?", "")[:80] if isinstance(row, str | int | float) else ""
