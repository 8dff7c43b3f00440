"""The scripted teacher's faults, each drawn from the configured seed and the request.

A wrong label is systematic: it depends on the conversation alone, so that a teacher asked again errs again,
in the same way, as a real model would. All other faults depend on the whole request, or on how often it was
sent, so that a retry or another vote may fare better.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Literal

from looptool.config import SimulatorConfig
from looptool.records import JsonObject, canonical_json
from looptool.simulator.ask import Reference
from looptool.simulator.chinese import read_chinese, reply_in_chinese, speaks_chinese
from looptool.simulator.extract import extract
from looptool.simulator.kinds import other_value
from looptool.simulator.plan import find_missing
from looptool.simulator.shapes import Leaf, Path, build_arguments, stated_values
from looptool.simulator.speak import make_rng
from looptool.simulator.toolbox import Tool, Toolbox
from looptool.simulator.understand import Decision
from looptool.simulator.values import draw_leaf, fits

Fault = Literal["", "error", "cut", "slow", "malformed"]
_MEMORY = 100_000
INVENT_RATE = 0.15
"""Wrong values that nobody said, which the rules find; the others stand in the context."""
CLOSING_SHARE = 0.1
"""How much rarer a closing summary goes wrong: every turn has one, and few of them become samples."""
SILENT_RATE = 0.12
"""Wrong answers that are words where a call was due."""
HARSH_SHARE = 0.1
"""How much rarer a good conversation is failed than a bad one passed: reviewers are lenient."""


class Noise:
    """Draws the faults of one simulator; its only state is how often a faulty request came."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.rates = config.noise
        self.seed = config.seed
        self._tries: Counter[str] = Counter()

    def next_fault(self, key: str) -> Fault:
        """What goes wrong with the transport of this request, this time."""
        rates = self.rates
        shares: tuple[tuple[Fault, float], ...] = (
            ("error", rates.http_error_rate),
            ("cut", rates.cut_rate),
            ("slow", rates.slow_rate),
            ("malformed", rates.malformed_rate),
        )
        if not any(share for _, share in shares):
            return ""
        if len(self._tries) > _MEMORY:
            self._tries.clear()
        self._tries[key] += 1
        rng = make_rng("fault", self.seed, key, self._tries[key])
        for fault, share in shares:
            if rng.random() < share:
                return fault
        return ""

    def tries(self, key: str) -> int:
        """How often this request came so far."""
        return self._tries[key]

    def distort_answer(
        self, box: Toolbox, decision: Decision, conversation: Sequence[Mapping[str, Any]]
    ) -> JsonObject:
        """The assistant's answer, wrong in a share of the conversations."""
        key = [[m.get("role"), m.get("content"), m.get("tool_calls")] for m in conversation]
        said = next((str(m["content"]) for m in reversed(conversation) if m["role"] == "user"), "")
        answer = decision.as_answer()
        rng = make_rng("wrong_label", self.seed, key)
        rate = self.rates.wrong_label_rate * (CLOSING_SHARE if decision.move == "summary" else 1.0)
        if rng.random() >= rate:
            return answer
        return make_wrong(box, decision, said, rng) or answer

    def distort_review(self, reply: JsonObject, key: str) -> JsonObject:
        """The review, turned in a share of the requests: bad steps passed, rarely good ones failed."""
        rng = make_rng("wrong_review", self.seed, key)
        bad = [s for s in reply["steps"] if not _passes(s)]
        rate = self.rates.wrong_review_rate * (1.0 if bad else HARSH_SHARE)
        if not reply["steps"] or rng.random() >= rate:
            return reply
        if bad:
            for step in bad:
                step.update(contextual_fit=True, logical_consistency=True, intent=True)
                step["reason"] = "The step follows from what was said."
        else:
            step = rng.choice(reply["steps"])
            step[rng.choice(("contextual_fit", "logical_consistency", "intent"))] = False
            step["reason"] = "The step does not serve what the user wants."
        return reply

    def distort_verdict(self, reply: JsonObject, key: str, verdicts: tuple[str, ...]) -> JsonObject:
        """The judgement, with one of the other verdicts in a share of the requests."""
        rng = make_rng("wrong_verdict", self.seed, key)
        if rng.random() >= self.rates.wrong_verdict_rate:
            return reply
        others = [verdict for verdict in verdicts if verdict != reply["verdict"]]
        return {**reply, "verdict": rng.choice(others)}

    def garble(self, text: str, key: str) -> str:
        """The reply as no parser of ours can read it."""
        rng = make_rng("malformed", self.seed, key, self._tries[key])
        forms = (
            text[: max(1, len(text) // 2)],
            f"Sure! Here is the answer you asked for: {text} Hope that helps.",
            '{"answer": ' + text + "}",
            text.replace('"', "'"),
        )
        return rng.choice(forms)


def _passes(step: JsonObject) -> bool:
    return bool(step["contextual_fit"] and step["logical_consistency"] and step["intent"])


Maker = Callable[[Toolbox, Decision, Random], list[JsonObject] | None]


def make_wrong(box: Toolbox, decision: Decision, said: str, rng: Random) -> JsonObject | None:
    """A plausible wrong answer in place of the right one; None when none can be made."""
    if not decision.calls:
        call = _invent_call(box, decision, read_chinese(said), rng)
        return {"content": "", "tool_calls": [call]} if call else None
    makers: list[Maker] = [
        _drop_optional,
        _change_value,
        _change_value,
        _near_miss,
        _extra,
        _missed,
    ]
    rng.shuffle(makers)
    for maker in makers if rng.random() >= SILENT_RATE else ():
        calls = maker(box, decision, rng)
        if calls is not None:
            return {"content": "", "tool_calls": calls}
    vague = "Could you tell me a bit more about what you need?"
    if speaks_chinese(said):
        vague = reply_in_chinese("unclear", "")
    return {"content": vague, "tool_calls": []}


def _invent_call(box: Toolbox, decision: Decision, text: str, rng: Random) -> JsonObject | None:
    """A call where none was due: one already made, or one that the words half support."""
    open_steps = [step for step in decision.steps if step.missing]
    finished = [step for step in decision.steps if not step.missing and not step.references()]
    if decision.move == "summary" and finished:
        step = rng.choice(finished)
        return {"name": step.tool.name, "arguments": step.arguments()}
    if open_steps:
        return _fill_call(open_steps[0].tool, dict(open_steps[0].values), rng)
    if not box.tools:
        return None
    tools = rng.sample(box.tools, len(box.tools))
    heard = [(tool, extract(tool, text).values) for tool in tools]
    tool, values = next(
        ((t, v) for t, v in heard if not find_missing(t, v)),
        max(heard, key=lambda pair: len(pair[1])),
    )
    return _fill_call(tool, {p: v for p, v in values.items() if not isinstance(v, Reference)}, rng)


def _fill_call(tool: Tool, values: dict[Path, Any], rng: Random) -> JsonObject:
    """A call with what is missing taken from its other values, or invented."""
    for leaf in find_missing(tool, values):
        near = [v for v in values.values() if isinstance(v, str)]
        plain = leaf.type == "string" and not leaf.choices and not leaf.schema.get("format")
        values[leaf.path] = rng.choice(near) if near and plain else draw_leaf(leaf, rng)
    return {"name": tool.name, "arguments": build_arguments(values)}


def _pick_call(
    box: Toolbox, decision: Decision, rng: Random
) -> tuple[int, Tool, dict[Path, Any]] | None:
    number = rng.randrange(len(decision.calls))
    call = decision.calls[number]
    tool = box.by_name(call["name"])
    return (number, tool, stated_values(tool.leaves, call["arguments"])) if tool else None


def _with_call(
    decision: Decision, number: int, tool: Tool, values: dict[Path, Any]
) -> list[JsonObject] | None:
    arguments = build_arguments(values)
    if not fits(arguments, tool.parameters):
        return None
    calls = list(decision.calls)
    if canonical_json(arguments) == canonical_json(calls[number]["arguments"]) and (
        tool.name == calls[number]["name"]
    ):
        return None
    calls[number] = {"name": tool.name, "arguments": arguments}
    return calls


def _drop_optional(box: Toolbox, decision: Decision, rng: Random) -> list[JsonObject] | None:
    picked = _pick_call(box, decision, rng)
    if picked is None:
        return None
    number, tool, values = picked
    optional = [path for path in values if not tool.leaf_at(path).required]
    if not optional:
        return None
    dropped = rng.choice(optional)
    return _with_call(decision, number, tool, {p: v for p, v in values.items() if p != dropped})


def _change_value(box: Toolbox, decision: Decision, rng: Random) -> list[JsonObject] | None:
    picked = _pick_call(box, decision, rng)
    if picked is None or not picked[2]:
        return None
    number, tool, values = picked
    path = rng.choice(list(values))
    wrong = _other_of(tool.leaf_at(path), values[path], list(values.values()), rng)
    return None if wrong is None else _with_call(decision, number, tool, {**values, path: wrong})


def _other_of(leaf: Leaf, value: Any, around: list[Any], rng: Random) -> Any:
    """Another value of the context, another enum member, or another value of the kind."""
    if leaf.choices and leaf.type != "array":
        others = [c for c in leaf.choices if c != value]
        return rng.choice(others) if others else None
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return value[:-1] if len(value) > 1 else None
    near = [v for v in around if type(v) is type(value) and v != value]
    if near and not leaf.schema.get("format"):
        return rng.choice(near)
    return other_value(leaf.kind, value, rng) if rng.random() < INVENT_RATE else None


def _near_miss(box: Toolbox, decision: Decision, rng: Random) -> list[JsonObject] | None:
    """Another tool that can take the same arguments."""
    picked = _pick_call(box, decision, rng)
    if picked is None:
        return None
    number, tool, values = picked
    said = {" ".join(path): value for path, value in values.items()}
    for other in rng.sample(box.tools, len(box.tools)):
        if other is tool:
            continue
        shared = {x.path: said[k] for x in other.leaves if (k := " ".join(x.path)) in said}
        if all(leaf.path in shared for leaf in other.leaves if leaf.required):
            return _with_call(decision, number, other, shared)
    return None


def _extra(box: Toolbox, decision: Decision, rng: Random) -> list[JsonObject] | None:
    """One call more: a tool that needs nothing, or one that the same values satisfy."""
    spare = [tool for tool in box.tools if not any(leaf.required for leaf in tool.leaves)]
    if spare:
        call = {"name": rng.choice(spare).name, "arguments": {}}
        return None if call in decision.calls else [*decision.calls, call]
    other = _near_miss(box, decision, rng)
    return [*decision.calls, *(c for c in other if c not in decision.calls)] if other else None


def _missed(box: Toolbox, decision: Decision, rng: Random) -> list[JsonObject] | None:
    if len(decision.calls) < 2:
        return None
    calls = list(decision.calls)
    del calls[rng.randrange(len(calls))]
    return calls
