"""The rule checks of samples and dialogues: pure, no teacher (method, section 2).

Each rule has a name and every broken one is reported. Whether a label *without* calls is right
cannot be told by rules (is a value really missing? does really no tool fit?): that is left to the
review.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from looptool.decisions import content_of, is_failure
from looptool.errors import shorten
from looptool.records import (
    CALL_KINDS,
    AssistantMessage,
    Dialogue,
    Label,
    Message,
    Sample,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from looptool.validate.calls import CALL_RULES, Violation, check_call
from looptool.validate.grounding import Evidence, check_grounding

STRUCTURE_RULES = (
    "ambiguous_tools",
    "role_order",
    "results_answer_calls",
    "bad_result",
    "empty_turn",
    "repeated_lines",
    "tool_name_leak",
    "empty_label",
    "kind_mismatch",
)
"""Rules about the conversation; in the order in which they are looked at, before those of calls."""

RULES = (*STRUCTURE_RULES, *CALL_RULES, "ungrounded_value", "duplicate")
"""Every rule that needs no teacher."""

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_LEAKY_NAME = re.compile(r"[a-z0-9][A-Z]|[A-Za-z0-9][_.-][A-Za-z0-9]")


def check_sample(sample: Sample, *, grounding: bool = True) -> list[Violation]:
    """Every rule that the sample breaks: its context, then its label."""
    found = list(_check_tools(sample.tools))
    found += _check_order(sample.messages, ends_open=True)
    found += _check_turns(sample.messages, sample.tools)
    found += _check_label_words(sample)
    found += _check_context_calls(sample.messages, sample.tools)
    found += check_label(sample, sample.label, grounding=grounding)
    return found


def check_label(sample: Sample, label: Label, *, grounding: bool = True) -> list[Violation]:
    """Whether the label could stand in the sample: valid and grounded calls, or some text."""
    if not label.calls:
        detail = "neither calls nor text"
        return [] if label.text.strip() else [Violation("empty_label", "label", detail)]
    found = list(_check_calls(label.calls, sample.tools, "label.calls"))
    if grounding:
        evidence = Evidence.of(sample.messages, sample.date, sample.language)
        found += check_grounding(label.calls, sample.tools, evidence, "label.calls")
    return found


def find_label_problems(sample: Sample, label: Label) -> list[str]:
    """`check_label` as plain sentences: what the judge takes as its rule check."""
    return [str(violation) for violation in check_label(sample, label)]


def check_dialogue(dialogue: Dialogue, *, grounding: bool = True) -> list[Violation]:
    """Every rule that the dialogue breaks, each assistant step against what was said before it."""
    found = list(_check_tools(dialogue.tools))
    found += _check_order(dialogue.messages, ends_open=False)
    found += _check_turns(dialogue.messages, dialogue.tools)
    found += _check_context_calls(dialogue.messages, dialogue.tools)
    if grounding:
        found += _check_steps_grounded(dialogue)
    return found


def _check_steps_grounded(dialogue: Dialogue) -> Iterator[Violation]:
    evidence = Evidence(dialogue.date, dialogue.language)
    failed = _failed_calls(dialogue.messages)
    for index, message in enumerate(dialogue.messages):
        if isinstance(message, AssistantMessage) and index not in dialogue.marked_turns:
            path = f"messages[{index}].calls"
            skip = {number for at, number in failed if at == index}
            yield from check_grounding(message.calls, dialogue.tools, evidence, path, skip)
        evidence.add(message)


def _check_tools(tools: Sequence[ToolSpec]) -> Iterator[Violation]:
    for name, count in Counter(tool.name for tool in tools).items():
        if count > 1:
            yield Violation("ambiguous_tools", "tools", f"{count} tools are named {shorten(name)}")


def _check_order(messages: Sequence[Message], *, ends_open: bool) -> Iterator[Violation]:
    """Roles follow each other as in a chat; results answer the calls before them, in order."""
    expected: list[str] = []
    before = "start"
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            yield from _check_result(message, index, expected)
        else:
            if expected:
                detail = f"no result for {', '.join(map(shorten, expected))}"
                yield Violation("results_answer_calls", f"messages[{index}]", detail)
            expected = []
            if before not in _MAY_FOLLOW[message.role]:
                detail = f"{message.role} after {before}"
                yield Violation("role_order", f"messages[{index}]", detail)
        if isinstance(message, AssistantMessage):
            expected = [call.name for call in message.calls]
        before = _state_after(message)
    if expected:
        detail = f"no result for {', '.join(map(shorten, expected))}"
        yield Violation("results_answer_calls", "messages", detail)
    wanted = ("user", "tool") if ends_open else ("assistant", "tool")
    if not expected and before not in wanted:
        yield Violation("role_order", "messages", f"the last one is {before}, not {wanted[0]}")


_MAY_FOLLOW = {
    "system": ("start",),
    "user": ("start", "system", "assistant"),
    "assistant": ("user", "tool"),
}


def _state_after(message: Message) -> str:
    if isinstance(message, AssistantMessage) and message.calls:
        return "assistant's calls"
    return message.role


def _check_result(message: ToolMessage, index: int, expected: list[str]) -> Iterator[Violation]:
    """One result; takes the call that it answers off the list."""
    path = f"messages[{index}]"
    if not expected:
        yield Violation("results_answer_calls", path, f"{shorten(message.name)} was not called")
    elif (name := expected.pop(0)) != message.name:
        detail = f"result of {shorten(message.name)} where {shorten(name)} was called"
        yield Violation("results_answer_calls", path, detail)
    try:
        json.loads(message.content)
    except (ValueError, RecursionError) as error:
        yield Violation("bad_result", path, f"not JSON: {shorten(error)}")


def _check_turns(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Iterator[Violation]:
    names = {tool.name for tool in tools if _LEAKY_NAME.search(tool.name)}
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if isinstance(message, ToolMessage):
            continue
        calls = message.calls if isinstance(message, AssistantMessage) else ()
        if not message.content.strip() and not calls:
            yield Violation("empty_turn", path, f"the {message.role} says nothing")
        if not isinstance(message, SystemMessage):
            yield from _check_repeats(message.content, path)
        if isinstance(message, UserMessage):
            yield from _check_leaks(message.content, names, path)


def _check_leaks(text: str, names: set[str], path: str) -> Iterator[Violation]:
    """A plain word such as `search` or `Search` is no leak: people say it."""
    for name in sorted(name for name in names if name in text):
        if re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", text):
            yield Violation("tool_name_leak", path, f"the user says {name}")


def _check_repeats(text: str, path: str) -> Iterator[Violation]:
    """A generator caught in a loop says a line twice; a short one (`yes`, `- item`) may recur."""
    lines = Counter(line.strip() for line in text.splitlines() if _is_sentence(line))
    for line, count in lines.items():
        if count > 1:
            yield Violation("repeated_lines", path, f"{count} times {shorten(line)!r}")


def _is_sentence(line: str) -> bool:
    """Three words, or six characters of a script that has no blanks."""
    return len(line.split()) > 2 or len(_UNSPACED.findall(line)) > 5


def _check_label_words(sample: Sample) -> Iterator[Violation]:
    yield from _check_repeats(sample.label.text, "label.text")
    if bool(sample.label.calls) != (sample.kind in CALL_KINDS):
        what = "calls" if sample.label.calls else "no call"
        yield Violation("kind_mismatch", "label", f"{what} in a sample of kind {sample.kind}")


def _check_context_calls(
    messages: Sequence[Message], tools: Sequence[ToolSpec]
) -> Iterator[Violation]:
    """Calls of the context, but those that a tool has answered with an error: they may be wrong."""
    failed = _failed_calls(messages)
    for index, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            skip = {number for at, number in failed if at == index}
            yield from _check_calls(message.calls, tools, f"messages[{index}].calls", skip)


def _failed_calls(messages: Sequence[Message]) -> set[tuple[int, int]]:
    """Index of the message and number of the call, for each call whose result is an error."""
    failed: set[tuple[int, int]] = set()
    caller, number = -1, 0
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if is_failure(message.content):
                failed.add((caller, number))
            number += 1
        else:
            caller, number = index, 0
    return failed


def _check_calls(
    calls: Sequence[ToolCall],
    tools: Sequence[ToolSpec],
    path: str,
    skip: Set[int] = frozenset(),
) -> Iterator[Violation]:
    for number, call in enumerate(calls):
        if number in skip:
            continue
        for found in check_call({"name": call.name, "arguments": call.arguments}, tools):
            where = f"{path}[{number}]" + (f".{found.path}" if found.path else "")
            yield Violation(found.rule, where, found.detail)


def find_duplicates(samples: Sequence[Sample]) -> dict[int, str]:
    """Position of each sample that says the same as an earlier one, with that one's id.

    The same means: names of the tools, context and label, whatever the order of the tools.
    """
    first: dict[str, str] = {}
    found: dict[int, str] = {}
    for position, sample in enumerate(samples):
        key = content_of(sample)
        if key in first:
            found[position] = first[key]
        else:
            first[key] = sample.sample_id
    return found
