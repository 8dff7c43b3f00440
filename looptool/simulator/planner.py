"""The planner: which needs a user has, as canonical texts that carry every value (method, section 2).

A planned need is first said and understood by the same language core; one that would be misread is drawn
again, so that what a dialogue shows is what its needs ask for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from looptool.records import JsonObject, canonical_json
from looptool.simulator.ask import (
    CHANGE,
    FULL,
    SAME,
    Ask,
    Reference,
    Slot,
    render_asks,
    render_slot,
)
from looptool.simulator.foreign import draw_foreign
from looptool.simulator.links import Link, find_links
from looptool.simulator.shapes import Leaf, Path, build_arguments, same_json, stated_values
from looptool.simulator.speak import make_ask, speak
from looptool.simulator.toolbox import Tool, Toolbox
from looptool.simulator.understand import Decision, decide
from looptool.simulator.values import draw_arguments, redraw_leaf

ATTEMPTS = 10
FOLLOW_UP_RATE = 0.5


@dataclass(slots=True)
class Planned:
    """One need, with what is to come out of it."""

    type: str
    request: str
    withheld: str = ""
    call: JsonObject | None = None
    """Its last call, which a follow-up can build on."""

    def as_reply(self) -> JsonObject:
        """The need as the prompt asks for it."""
        return {"type": self.type, "request": self.request, "withheld": self.withheld}


@dataclass(slots=True)
class Planner:
    """The state of one plan: tools, manner of speaking, and what was done so far."""

    box: Toolbox
    style: str
    language: str
    rng: Random

    def plan(self, kind: str, turns: int) -> list[Planned]:
        """`turns` needs for a conversation of a kind."""
        needs: list[Planned] = []
        for number in range(max(1, turns)):
            previous = needs[-1].call if needs else None
            needs.append(self._need(self._type_of(kind, number), previous, number))
        return needs

    def _type_of(self, kind: str, number: int) -> str:
        if kind in ("parallel", "multi_step", "clarify", "no_tool") and number == 0:
            return kind
        if kind == "multi_turn" and number:
            return self.rng.choice(("single", "single", "single", "parallel", "multi_step"))
        return "single"

    def _need(self, kind: str, previous: JsonObject | None, number: int) -> Planned:
        if not self.box.tools or kind == "no_tool":
            return self._no_tool()
        makers: dict[str, Callable[[], Planned | None]] = {
            "parallel": self._parallel,
            "multi_step": self._multi_step,
            "clarify": self._clarify,
        }
        if number and previous and kind == "single" and self.rng.random() < FOLLOW_UP_RATE:
            follow_up = self._follow_up(previous)
            if follow_up is not None:
                return follow_up
        made = makers[kind]() if kind in makers else None
        return made or self._single(previous)

    def _draw(self) -> tuple[Tool, dict[Path, Any]]:
        tool = self.rng.choice(self.box.tools)
        arguments = draw_arguments(tool.leaves, tool.parameters, self.rng)
        return tool, stated_values(tool.leaves, arguments)

    def _ask(self, tool: Tool, values: dict[Path, Any], **fields: Any) -> Ask:
        by_name = self.style == "terse" or self.rng.random() < 0.25
        return make_ask(tool, values, action=1 if by_name else 0, **fields)

    def _decide(self, asks: Sequence[Ask], base: JsonObject | None = None) -> Decision:
        """What the assistant will do when the user has said this."""
        text = speak(asks, self.style, self.language)
        context = _past(base) if base else []
        return decide(self.box, [*context, {"role": "user", "content": text}])

    def _single(self, base: JsonObject | None = None) -> Planned:
        planned = Planned("single", "")
        for _ in range(ATTEMPTS):
            tool, values = self._draw()
            ask = self._ask(tool, values)
            call = {"name": tool.name, "arguments": build_arguments(values)}
            planned = Planned("single", render_asks([ask]), call=call)
            if same_json(self._decide([ask], base).calls, [call]):
                break
        return planned

    def _parallel(self) -> Planned | None:
        for _ in range(ATTEMPTS):
            count = 3 if self.rng.random() < 0.15 else 2
            asks, calls = self._draw_parallel(count)
            if len({canonical_json(call) for call in calls}) < count:
                continue
            if same_json(self._decide(asks).calls, calls):
                return Planned("parallel", render_asks(asks), call=calls[-1])
        return None

    def _draw_parallel(self, count: int) -> tuple[list[Ask], list[JsonObject]]:
        asks: list[Ask] = []
        calls: list[JsonObject] = []
        tool, values = self._draw()
        for number in range(count):
            mode = FULL
            stated = values
            if number and values and self.rng.random() < 0.35:
                stated = self._vary(tool, values)
                values = {**values, **stated}
                mode = SAME
            elif number:
                tool, values = self._draw()
                stated = values
            asks.append(self._ask(tool, stated, mode=mode))
            calls.append({"name": tool.name, "arguments": build_arguments(values)})
        return asks, calls

    def _vary(self, tool: Tool, values: dict[Path, Any]) -> dict[Path, Any]:
        """New values for one or two of the stated leaves."""
        paths = self.rng.sample(sorted(values), min(len(values), self.rng.choice((1, 1, 2))))
        return {path: redraw_leaf(tool.leaf_at(path), values[path], self.rng) for path in paths}

    def _follow_up(self, previous: JsonObject) -> Planned | None:
        """ "And the same for Rome": a need that builds on the call before it."""
        tool = self.box.by_name(previous["name"])
        values = stated_values(tool.leaves, previous["arguments"]) if tool else {}
        if tool is None or not values:
            return None
        for _ in range(ATTEMPTS // 2):
            stated = self._vary(tool, values)
            ask = self._ask(tool, stated, mode=self.rng.choice((SAME, CHANGE)))
            call = {"name": tool.name, "arguments": build_arguments({**values, **stated})}
            if same_json(self._decide([ask], previous).calls, [call]):
                return Planned("single", render_asks([ask]), call=call)
        return None

    def _multi_step(self) -> Planned | None:
        links = find_links(self.box)
        for _ in range(ATTEMPTS if links else 0):
            link = self.rng.choice(links)
            asks, calls = self._draw_steps(link)
            decision = self._decide(asks)
            second = decision.steps[1] if len(decision.steps) == 2 else None
            known = (
                {p: v for p, v in second.values.items() if p != link.leaf.path} if second else {}
            )
            wanted = {p: v for p, v in calls[1].items() if p != link.leaf.path}
            if (
                same_json(decision.calls, [calls[0]])
                and second
                and second.tool is link.target
                and second.references()
                and same_json(_flat(known), _flat(wanted))
            ):
                return Planned("multi_step", render_asks(asks))
        return None

    def _draw_steps(self, link: Link) -> tuple[list[Ask], list[Any]]:
        source, target = link.source, link.target
        first = stated_values(
            source.leaves, draw_arguments(source.leaves, source.parameters, self.rng)
        )
        second = stated_values(
            target.leaves, draw_arguments(target.leaves, target.parameters, self.rng)
        )
        referring = {**second, link.leaf.path: Reference(link.which)}
        asks = [self._ask(source, first), self._ask(target, referring, dependent=True)]
        return asks, [{"name": source.name, "arguments": build_arguments(first)}, second]

    def _clarify(self) -> Planned | None:
        able = [tool for tool in self.box.tools if any(_askable(leaf) for leaf in tool.leaves)]
        for _ in range(ATTEMPTS if able else 0):
            tool = self.rng.choice(able)
            arguments = draw_arguments(tool.leaves, tool.parameters, self.rng)
            values = stated_values(tool.leaves, arguments)
            leaf = self.rng.choice([leaf for leaf in tool.leaves if _askable(leaf)])
            told = {path: value for path, value in values.items() if path != leaf.path}
            ask = self._ask(tool, told)
            decision = self._decide([ask])
            step = decision.steps[0] if len(decision.steps) == 1 else None
            if (
                decision.move == "ask"
                and step
                and step.tool is tool
                and [x.path for x in step.missing] == [leaf.path]
                and same_json(_flat(step.values), _flat(told))
            ):
                slot = render_slot(Slot(leaf.words, values[leaf.path]))
                call = {"name": tool.name, "arguments": arguments}
                return Planned("clarify", render_asks([ask]), f"The {slot}.", call)
        return None

    def _no_tool(self) -> Planned:
        ask = draw_foreign(self.rng)
        for _ in range(ATTEMPTS):
            if not self.box.tools or self._decide([ask]).move == "refuse":
                break
            ask = draw_foreign(self.rng)
        return Planned("no_tool", render_asks([ask]))


def _askable(leaf: Leaf) -> bool:
    return leaf.required and leaf.type != "any" and "const" not in leaf.schema


def _flat(values: dict[Path, Any]) -> dict[str, Any]:
    return {"/".join(path): value for path, value in values.items()}


def _past(call: JsonObject) -> list[JsonObject]:
    """A conversation in which this call was the last one made."""
    function = {"name": call["name"], "arguments": call["arguments"]}
    return [
        {"role": "user", "content": "."},
        {"role": "assistant", "content": "", "tool_calls": [{"function": function}]},
        {"role": "tool", "name": call["name"], "content": "{}"},
        {"role": "assistant", "content": "All done."},
    ]
