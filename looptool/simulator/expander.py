"""The expander: the same structure and the same trap, everything else new (EDDE; method, section 6).

The conversation is taken apart into what was asked in each turn, every value is drawn again, the user says
it anew, and the turns are replayed: same kinds of steps, tool results of the same shape, faults where faults
were. The label is what the language core decides at the end of the new conversation.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from looptool.records import JsonObject, canonical_json
from looptool.simulator.ask import FULL, Ask, Reference, Slot
from looptool.simulator.fillers import detect_style
from looptool.simulator.foreign import draw_foreign
from looptool.simulator.plan import Step, make_plan
from looptool.simulator.reshape import reshape_result
from looptool.simulator.shapes import Leaf, Path, same_json, stated_values
from looptool.simulator.speak import make_ask, speak, speak_answer
from looptool.simulator.toolbox import Toolbox
from looptool.simulator.understand import Decision, Turn, calls_of, decide, is_question, read_turn
from looptool.simulator.values import draw_leaf, redraw_leaf

ATTEMPTS = 6
KEEP_STYLE_RATE = 0.6
Messages = Sequence[Mapping[str, Any]]


class _Diverged(Exception):
    """The new conversation took another course than the old one."""


@dataclass(slots=True)
class _NewTurn:
    """What the user of the new conversation wants in one turn."""

    asks: list[Ask]
    withheld: list[Slot] = field(default_factory=list)


@dataclass(slots=True)
class Expander:
    """One expansion."""

    box: Toolbox
    old: Messages
    right: Mapping[str, Any]
    style: str
    language: str
    rng: Random

    def expand(self) -> JsonObject:
        """The expander's reply; the closest attempt when none keeps the structure entirely."""
        fallback: JsonObject | None = None
        style = self._choose_style()
        for attempt in range(ATTEMPTS):
            if attempt == ATTEMPTS // 2:
                style = self.style
            try:
                messages = self._replay(style)
                decision = decide(self.box, messages)
            except _Diverged:
                continue
            reply = _as_reply(messages, decision)
            if self._keeps_decision(decision) and _differs(messages, self.old):
                return reply
            fallback = fallback or reply
        return fallback or self._start_over()

    def _choose_style(self) -> str:
        """The old manner of speaking when it may have been the trap, else the new one."""
        said = [str(m.get("content")) for m in self.old if m.get("role") == "user"]
        old = detect_style(said[-1]) if said else ""
        return old if old and self.rng.random() < KEEP_STYLE_RATE else self.style

    def _keeps_decision(self, decision: Decision) -> bool:
        wanted = sorted(call["name"] for call in calls_of(self.right))
        if wanted != sorted(call["name"] for call in decision.calls):
            return False
        if len({canonical_json(call) for call in decision.calls}) < len(wanted):
            return False
        return bool(wanted) or (decision.move == "ask") == str(
            self.right.get("content") or ""
        ).strip().endswith(("?", "？"))

    def _replay(self, style: str) -> list[JsonObject]:
        new: list[JsonObject] = []
        starts = _turn_starts(self.old)
        for number, start in enumerate(starts):
            end = starts[number + 1] if number + 1 < len(starts) else len(self.old)
            last = end == len(self.old)
            turn = read_turn(self.old[:end])
            fresh = self._new_turn(turn, last)
            text = speak(fresh.asks, style, self.language, self.rng.random())
            new.append({"role": "user", "content": text})
            self._replay_rest(self.old[start + 1 : end], fresh, style, new)
        return new

    def _replay_rest(
        self, rest: Messages, fresh: _NewTurn, style: str, new: list[JsonObject]
    ) -> None:
        """The messages after the request: decisions made anew, results reshaped, questions answered."""
        old_calls: list[JsonObject] = []
        new_calls: list[JsonObject] = []
        for message in rest:
            if message.get("role") == "assistant":
                decision = decide(self.box, new)
                old_calls, new_calls = calls_of(message), list(decision.calls)
                if len(old_calls) != len(new_calls):
                    raise _Diverged
                new.append(_assistant(decision))
            elif message.get("role") == "tool":
                if not old_calls:
                    raise _Diverged
                old_call, new_call = old_calls.pop(0), new_calls.pop(0)
                new.append(self._result(message, old_call, new_call))
            elif message.get("role") == "user":
                if not fresh.withheld:
                    raise _Diverged
                slot = fresh.withheld.pop(0)
                answer = speak_answer([slot], style, self.language, self.rng.random())
                new.append({"role": "user", "content": answer})

    def _result(self, message: Mapping[str, Any], old: JsonObject, new: JsonObject) -> JsonObject:
        content = str(message.get("content") or "")
        try:
            value = json.loads(content)
        except ValueError:
            return {"role": "tool", "name": new["name"], "content": content}
        if isinstance(value, Mapping) and "error" in value:
            return {"role": "tool", "name": new["name"], "content": content}
        fresh = reshape_result(value, old["arguments"], new["arguments"], self.rng)
        text = json.dumps(fresh, ensure_ascii=False)
        return {"role": "tool", "name": new["name"], "content": text}

    def _new_turn(self, turn: Turn, last: bool) -> _NewTurn:
        steps = make_plan(self.box, turn.text, turn.base)
        made = [d.call for d in turn.done] + (calls_of(self.right) if last else [])
        if {call["name"] for call in made} - {step.tool.name for step in steps}:
            steps = self._steps_of_calls(made, turn)
        if not steps:
            return _NewTurn([self._foreign()])
        fresh = _NewTurn([])
        for step in steps:
            self._renew(step, fresh)
        return fresh

    def _steps_of_calls(self, calls: Sequence[JsonObject], turn: Turn) -> list[Step]:
        """Steps from the calls that were made, where the words could not be understood."""
        steps: list[Step] = []
        results = [json.dumps(d.result) for d in turn.done if d.answered]
        for call in calls:
            tool = self.box.by_name(call["name"])
            if tool is None:
                continue
            values: dict[Path, Any] = dict(stated_values(tool.leaves, call["arguments"]))
            copied = [
                p for p, v in values.items() if steps and any(json.dumps(v) in r for r in results)
            ]
            for path in copied:
                if json.dumps(values[path]) not in json.dumps(turn.text):
                    values[path] = Reference()
            dependent = any(isinstance(v, Reference) for v in values.values())
            known = any(
                s.tool is tool and same_json(list(s.values.values()), list(values.values()))
                for s in steps
            )
            if not known:
                steps.append(Step(tool, values, dict(values), FULL, dependent))
        return steps

    def _renew(self, step: Step, fresh: _NewTurn) -> None:
        """The step with new values, and what it withholds."""
        values = {
            path: value
            if isinstance(value, Reference)
            else redraw_leaf(step.tool.leaf_at(path), value, self.rng)
            for path, value in step.stated.items()
        }
        by_name = 1 if self.rng.random() < 0.3 else 0
        ask = make_ask(step.tool, values, action=by_name, mode=step.mode, dependent=step.dependent)
        fresh.asks.append(ask)
        fresh.withheld.extend(self._withhold(leaf) for leaf in step.missing)

    def _withhold(self, leaf: Leaf) -> Slot:
        return Slot(leaf.words, draw_leaf(leaf, self.rng))

    def _foreign(self) -> Ask:
        ask = draw_foreign(self.rng)
        for _ in range(ATTEMPTS):
            said = [{"role": "user", "content": speak([ask], self.style, self.language)}]
            if decide(self.box, said).move == "refuse":
                break
            ask = draw_foreign(self.rng)
        return ask

    def _start_over(self) -> JsonObject:
        """A conversation of one turn for the same decision, when the old one cannot be followed."""
        asks = []
        for call in calls_of(self.right):
            tool = self.box.by_name(call["name"])
            if tool is not None:
                old = stated_values(tool.leaves, call["arguments"])
                new = {p: redraw_leaf(tool.leaf_at(p), v, self.rng) for p, v in old.items()}
                asks.append(make_ask(tool, new))
        text = speak(asks or [self._foreign()], self.style, self.language, self.rng.random())
        messages: list[JsonObject] = [{"role": "user", "content": text}]
        return _as_reply(messages, decide(self.box, messages))


def _turn_starts(messages: Messages) -> list[int]:
    """Indices of the user messages that begin a turn rather than answer a question."""
    users = [i for i, m in enumerate(messages) if m.get("role") == "user"]
    return [i for i in users if not (i >= 2 and is_question(messages[i - 1]))]


def _assistant(decision: Decision) -> JsonObject:
    row: JsonObject = {"role": "assistant", "content": decision.text}
    if decision.calls:
        row["tool_calls"] = [dict(call) for call in decision.calls]
    return row


def _as_reply(messages: list[JsonObject], decision: Decision) -> JsonObject:
    return {"messages": messages, "label": decision.as_answer()}


def _differs(new: Messages, old: Messages) -> bool:
    return [m.get("content") for m in new] != [m.get("content") for m in old]
