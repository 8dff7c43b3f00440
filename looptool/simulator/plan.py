"""From what the user said to the calls that it needs: which tool, which values, what is missing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from looptool.records import JsonObject
from looptool.simulator.ask import CHANGE, FULL, SAME, Reference
from looptool.simulator.extract import extract, parse_value
from looptool.simulator.fillers import split_requests, strip_fillers
from looptool.simulator.lexicon import split_name
from looptool.simulator.shapes import Leaf, Path, build_arguments, stated_values
from looptool.simulator.toolbox import (
    VERB_CLASS,
    Tool,
    Toolbox,
    content_stems,
    strip_verb,
)

MIN_COVERAGE = 0.6
_SAME = re.compile(r"\b(?:the same|same again|same thing|likewise)\b", re.IGNORECASE)
_CHANGE = re.compile(r"\b(?:(?:change|make|switch|set) (?:it|that)|instead)\b", re.IGNORECASE)
_ANSWER_START = re.compile(
    r"^\s*(?:oh,?\s+|sure[,:]?\s+|right,?\s+|sorry,?\s+)*"
    r"(?:it's|it is|that would be|that'd be|let's say|please use|use|take|make it)?\s*",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Step:
    """One call that the user's words ask for."""

    tool: Tool
    values: dict[Path, Any]
    """Everything known, with what is taken over from an earlier call."""
    stated: dict[Path, Any]
    """What the words of this step themselves say."""
    mode: str = FULL
    dependent: bool = False
    missing: list[Leaf] = field(default_factory=list)

    def arguments(self) -> JsonObject:
        """The arguments of the call; references must have been resolved."""
        known = [leaf.path for leaf in self.tool.leaves if leaf.path in self.values]
        return build_arguments({path: self.values[path] for path in known})

    def references(self) -> dict[Path, Reference]:
        """The values that an earlier result has to supply."""
        return {p: v for p, v in self.values.items() if isinstance(v, Reference)}


def make_plan(box: Toolbox, text: str, base: Mapping[str, Any] | None = None) -> list[Step]:
    """The steps that a message asks for; empty when no tool fits.

    `base` is the last call of the conversation, for "the same for Rome" and "make it 5 days".
    """
    steps: list[Step] = []
    for part, dependent in split_requests(strip_fillers(text)):
        previous = (steps[-1].tool, steps[-1].values) if steps else _from_call(box, base)
        step = _read_step(box, part, previous, bool(steps))
        if step is not None:
            step.dependent = dependent and bool(step.references())
            step.missing = find_missing(step.tool, step.values)
            steps.append(step)
    return steps


def _from_call(box: Toolbox, call: Mapping[str, Any] | None) -> tuple[Tool, dict[Path, Any]] | None:
    tool = box.by_name(str(call.get("name"))) if call else None
    if tool is None or call is None:
        return None
    return tool, stated_values(tool.leaves, call.get("arguments"))


def _read_step(
    box: Toolbox, text: str, previous: tuple[Tool, dict[Path, Any]] | None, following: bool
) -> Step | None:
    chosen = choose_tool(box, text)
    mode = SAME if _SAME.search(text) else CHANGE if _CHANGE.search(text) else ""
    if mode and previous and (chosen is None or not chosen[2]):
        tool, known = previous
        stated = extract(tool, _SAME.sub("", text)).values
        return Step(tool, {**known, **stated}, stated, mode)
    if chosen is None:
        return None
    tool, masked, _ = chosen
    stated = extract(tool, masked).values
    values = dict(stated)
    for leaf in tool.leaves:
        if leaf.required and leaf.path not in values and "const" in leaf.schema:
            values[leaf.path] = leaf.schema["const"]
    return Step(tool, values, stated)


def find_missing(tool: Tool, values: Mapping[Path, Any]) -> list[Leaf]:
    """The leaves that the call cannot do without and that nobody stated."""
    opened = [path[:-1] for path in values]
    return [
        leaf
        for leaf in tool.leaves
        if leaf.path not in values
        and (
            leaf.required
            or (
                leaf.needed
                and any(parent[: len(leaf.path) - 1] == leaf.path[:-1] for parent in opened)
            )
        )
    ]


def choose_tool(box: Toolbox, text: str) -> tuple[Tool, str, bool] | None:
    """The tool that the words ask for, the text with its action blanked out, and whether it was named."""
    lower = re.sub(r'"(?:[^"\\\n]|\\.)*"', lambda m: "\x00" * len(m[0]), text.lower())
    best: tuple[float, Tool, int, int] | None = None
    for tool in box.tools:
        for action in tool.actions:
            found = _find_action(box, action, lower)
            if found is not None and (best is None or found[0] > best[0]):
                best = (found[0], tool, found[1], found[2])
    if best is not None:
        _, tool, start, end = best
        return tool, text[:start] + "\x00" * (end - start) + text[end:], True
    overlapping = _choose_by_overlap(box, lower)
    return (overlapping, text, False) if overlapping else None


def _find_action(box: Toolbox, action: str, text: str) -> tuple[float, int, int] | None:
    """(weight, start, end) of an action phrase in a text, whole or without its verb."""
    phrase, rest, verb, weight = _weigh_action(action)
    start = _find_phrase(phrase, text)
    if start >= 0:
        return weight + 2.0, start, start + len(phrase)
    if not rest or (start := _find_phrase(rest, text)) < 0:
        return None
    spoken = {VERB_CLASS[w] for w in re.findall(r"[^\W_]+", text[:start])[-4:] if w in VERB_CLASS}
    agrees = verb in spoken
    if spoken and not agrees and not (verb in ("get", "find", "list") and "get" in spoken):
        return None
    if weight < 2 and not agrees and start > 0:
        return None
    return weight - 1.0 + (0.5 if agrees else 0.0), start, start + len(rest)


@lru_cache(maxsize=4096)
def _weigh_action(action: str) -> tuple[str, str, str, float]:
    verb, rest = strip_verb(action)
    weight = float(len(set(content_stems(action)))) + len(action) / 1000
    return action.lower(), rest.lower() if verb else "", verb, weight


def _find_phrase(phrase: str, text: str) -> int:
    """Where the phrase stands in the text as whole words; -1 if nowhere."""
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() or after.isalnum() or after == "_"):
            return start
        start = text.find(phrase, start + 1)
    return -1


def _choose_by_overlap(box: Toolbox, text: str) -> Tool | None:
    """The tool whose name or description shares most of its weighted words with the text."""
    said = set(content_stems(text.replace("\x00", " ")))
    best: tuple[float, Tool] | None = None
    for tool in box.tools:
        for action in tool.actions:
            words = set(content_stems(action))
            total = sum(box.weights.get(word, 1.0) for word in words)
            matched = words & said
            share = sum(box.weights.get(word, 1.0) for word in matched) / total if total else 0.0
            enough = len(matched) >= 2 and share >= MIN_COVERAGE
            if enough and (best is None or share > best[0]):
                best = (share, tool)
    return best[1] if best else None


def asked_leaf(step: Step, question: str) -> Leaf | None:
    """The missing leaf that a question is about."""
    lower = " ".join(split_name(question))
    named = [leaf for leaf in step.missing if _find_phrase(leaf.words, lower) >= 0]
    return max(named, key=lambda leaf: len(leaf.words)) if named else next(iter(step.missing), None)


def take_answer(step: Step, question: str, answer: str) -> bool:
    """Put the user's answer to a question into the step; False if nothing usable was said."""
    leaf = asked_leaf(step, question)
    clean = strip_fillers(answer)
    stated = dict(extract(step.tool, clean).values)
    if leaf is not None and leaf.path not in stated:
        start = _ANSWER_START.match(clean)
        parsed = parse_value(leaf, clean, start.end() if start else 0)
        if parsed is None:
            return False
        stated = {leaf.path: parsed[0]}
    step.values.update(stated)
    step.stated.update(stated)
    step.missing = find_missing(step.tool, step.values)
    return bool(stated)
