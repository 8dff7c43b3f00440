"""The tools of a new sample: those of the trap stay, the other distractors may change.

Of the trap are the tools that the right and the wrong answer and the context call, and those that the
judge names. Exchanged tools keep their distance: a near miss (a tool of the domain in focus) makes room
for a near miss, so that the difficulty of the parent stays.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from random import Random

from looptool.expand.seeds import ErrorSeed
from looptool.records import AssistantMessage, Difficulty, Kind, Sample, Split, ToolCall, ToolSpec

TOOL_CHANGES = ("exchange", "add", "keep", "exchange and add")
"""What happens to the distractors; their order is always drawn anew."""

NameDifficulty = Callable[[int, int], Difficulty]
"""The difficulty of so many near misses among so many distractors."""


def tools_of(samples: Iterable[Sample]) -> list[ToolSpec]:
    """The tools of the training samples, each once, in an order of their own."""
    found = {
        tool.tool_id: tool
        for sample in samples
        if sample.split is Split.TRAIN
        for tool in sample.tools
    }
    return sorted(found.values(), key=lambda tool: (tool.name, tool.tool_id))


def vary_tools(
    seed: ErrorSeed, change: str, pool: Sequence[ToolSpec], most: int, rng: Random
) -> tuple[ToolSpec, ...]:
    """The tools of one new sample, in random order.

    From `pool` come tools of other names than those in context. Of a clarification no tool is taken
    away: nothing says which one the question is about.
    """
    tools = list(seed.sample.tools)
    names = {tool.name for tool in tools}
    fresh = [tool for tool in pool if tool.name not in names]
    rng.shuffle(fresh)
    focus = find_focus(seed.sample, seed.wrong.calls)
    if "exchange" in change and seed.sample.kind is not Kind.CLARIFY:
        _exchange(tools, find_trap(seed), fresh, focus, rng)
    if "add" in change and len(tools) < most:
        near = {"easy": False, "hard": True}.get(seed.sample.difficulty)
        fitting = (t for t in fresh if near is None or is_near(t, focus) == near)
        tools += [tool for tool in fitting if tool.name not in {t.name for t in tools}][:1]
    rng.shuffle(tools)
    return tuple(tools)


def _exchange(
    tools: list[ToolSpec], trap: set[str], fresh: list[ToolSpec], focus: str | None, rng: Random
) -> None:
    """Half of the distractors, at least one, for others as near; takes them from `fresh`."""
    free = [place for place, tool in enumerate(tools) if tool.name not in trap]
    for place in sorted(rng.sample(free, (len(free) + 1) // 2)):
        near = is_near(tools[place], focus)
        taken = {tool.name for tool in tools}
        for tool in fresh:
            if is_near(tool, focus) == near and tool.name not in taken:
                tools[place] = tool
                fresh.remove(tool)
                break


def find_trap(seed: ErrorSeed) -> set[str]:
    """Names of the tools without which the error could not be made again."""
    calls = [*seed.sample.label.calls, *seed.wrong.calls]
    for message in seed.sample.messages:
        if isinstance(message, AssistantMessage):
            calls += message.calls
    said = f"{seed.judgement.error_analysis} {seed.judgement.right_approach}"
    words = set(re.findall(r"[A-Za-z0-9_-]+", said))
    # A name such as `search` is a word as well; keeping its tool then is no harm.
    return {call.name for call in calls} | words


def find_focus(sample: Sample, wrong: Sequence[ToolCall] = ()) -> str | None:
    """The domain that the sample is about; None if no call tells."""
    spoken = [
        call
        for message in reversed(sample.messages)
        if isinstance(message, AssistantMessage)
        for call in message.calls
    ]
    domains = {tool.name: tool.domain for tool in sample.tools}
    names = [call.name for call in (*sample.label.calls, *spoken, *wrong)]
    return next((domains[name] for name in names if name in domains), None)


def is_near(tool: ToolSpec, focus: str | None) -> bool:
    """Whether the tool is a near miss; where nothing is in focus, none is."""
    return focus is not None and tool.domain == focus


def find_difficulty(sample: Sample, name: NameDifficulty) -> Difficulty:
    """The difficulty that the sample's tools and calls show; empty if it calls nothing."""
    called = {call.name for call in sample.label.calls}
    for message in sample.messages:
        if isinstance(message, AssistantMessage):
            called |= {call.name for call in message.calls}
    focus = find_focus(sample)
    if focus is None:
        return ""
    rest = [tool for tool in sample.tools if tool.name not in called]
    return name(sum(is_near(tool, focus) for tool in rest), len(rest))
