"""The one rule by which two answers are the same (R1-R9), and the relaxed verdict beside it.

The paper says only "names and all arguments match". Its released matcher compares calls as sets (so
[A, A, B] equals [A, B, B]) with Python's `==` (so `true` equals `1`); this one pairs calls off by
maximum bipartite matching, because tolerance makes equality intransitive and a greedy pairing
depend on the order. Both sides must satisfy their tool's schema (R9, see `validity.py`), which
keeps the verdict symmetric.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from looptool.calls.json_text import ArgumentsError, parse_arguments
from looptool.calls.parse import Reply
from looptool.calls.schema import Tool, ToolIndex, index_tools
from looptool.calls.validity import find_faults
from looptool.calls.values import pair_up, same_object
from looptool.errors import DataError, LoopToolError, shorten

Calls: TypeAlias = Sequence[Mapping[str, Any]]
"""`{"name", "arguments"}` each, or OpenAI's `{"type": "function", "function": {…}}`."""
Tools: TypeAlias = ToolIndex | Sequence[Mapping[str, Any]]
Names: TypeAlias = Mapping[str, str] | None


class CallError(LoopToolError):
    """A call without a usable name or arguments."""


class ReadCall(NamedTuple):
    """A call with its own name, its tool and its arguments as an object."""

    name: str
    tool: Tool | None
    arguments: dict[str, Any]


def calls_match(
    predicted: Calls,
    label: Calls,
    tools: Tools,
    *,
    ordered: bool = False,
    name_map: Names = None,
) -> bool:
    """Whether the two lists of calls are the same answer; symmetric in them.

    False, not an exception, for malformed calls and for calls that do not satisfy their tool's
    schema, on either side. A label that does not is a data defect: ask `check_label` before
    counting it as wrong, as `compute_score` does. `name_map` pairs a tool's name with the one an
    endpoint used for it, in either direction. Two empty lists match; whether a reply says something
    is `answers_match`'s to decide.

    Raises DataError for tools or a name map that cannot be used.
    """
    return _compare(predicted, label, tools, name_map, ordered=ordered, relaxed=False)


def relaxed_match(
    predicted: Calls,
    label: Calls,
    tools: Tools,
    *,
    ordered: bool = False,
    name_map: Names = None,
) -> bool:
    """`calls_match` with BFCL's string rule on strings without enum, const, format or pattern.

    To be recorded, never rewarded: it drops ` ,./-_*^` and case, so that `1.12` equals `11.2`. What
    it accepts and `calls_match` does not is what a judge should see. Only the label must satisfy
    its schema.
    """
    return _compare(predicted, label, tools, name_map, ordered=ordered, relaxed=True)


def _compare(
    predicted: Calls,
    label: Calls,
    tools: Tools,
    name_map: Names,
    *,
    ordered: bool,
    relaxed: bool,
) -> bool:
    index = index_tools(tools)
    aliases = resolve_names(index, name_map) if name_map else {}
    if len(predicted) != len(label):
        return False
    try:
        got = [read_call(call, index, aliases) for call in predicted]
        wanted = [read_call(call, index, aliases) for call in label]
    except CallError:
        return False
    if not _lists_agree(got, wanted, ordered, relaxed):
        return False
    # Last, as few pairs get here: most are told apart without a look at validity.
    return all(map(is_sound, wanted)) and (relaxed or got == wanted or all(map(is_sound, got)))


def _lists_agree(got: list[ReadCall], wanted: list[ReadCall], ordered: bool, relaxed: bool) -> bool:
    if all(same_call(a, b, relaxed) for a, b in zip(got, wanted, strict=True)):
        return True
    if ordered or len(got) == 1 or sorted(c.name for c in got) != sorted(c.name for c in wanted):
        return False
    return -1 not in pair_up(len(got), lambda i, j: same_call(got[i], wanted[j], relaxed))


def answers_match(
    reply: Reply,
    label: Calls,
    tools: Tools,
    *,
    ordered: bool = False,
    name_map: Names = None,
) -> bool:
    """Whether a whole reply is the label's answer: `calls_match`, and silence is no answer (R3).

    A reply with an error matches nothing. A label without calls wants visible text and no call;
    reasoning alone says nothing.
    """
    index = index_tools(tools)
    if reply.error is not None or (not label and not reply.speaks):
        return False
    return calls_match(reply.calls, label, index, ordered=ordered, name_map=name_map)


def check_label(label: Calls, tools: Tools, *, name_map: Names = None) -> list[str]:
    """What is wrong with a label (R9), as `$[0].arguments.city: 5 is not of type 'string'`.

    The list is empty for a sound label. Each call must name a tool and satisfy its schema, as it
    stands or with outer blanks trimmed and defaults left out (so a null may repeat a null default).
    """
    index = index_tools(tools)
    aliases = resolve_names(index, name_map) if name_map else {}
    return [
        fault for i, call in enumerate(label) for fault in _call_faults(i, call, index, aliases)
    ]


def _call_faults(
    position: int, call: Any, index: ToolIndex, aliases: Mapping[str, str]
) -> list[str]:
    try:
        read = read_call(call, index, aliases)
    except CallError as error:
        return [f"$[{position}]: {error}"]
    if read.tool is None:
        return [f"$[{position}].name: no tool is called {shorten(read.name)}"]
    faults = find_faults(read.tool, read.arguments)
    return [f"$[{position}].arguments{fault}" for fault in faults]


def resolve_names(index: ToolIndex, name_map: Mapping[str, str]) -> dict[str, str]:
    """From the name that an endpoint used to the tool's own, for every pair that names a tool (R2).

    Raises DataError unless it is one to one.
    """
    aliases: dict[str, str] = {}
    for left, right in name_map.items():
        if left == right or (left not in index and right not in index):
            continue
        if left in index and right in index:
            raise DataError(f"name map: {left} and {right} are both tools, which is meant?")
        alias, own = (right, left) if left in index else (left, right)
        if aliases.setdefault(alias, own) != own:
            raise DataError(f"name map: {alias} stands for {aliases[alias]} and for {own}")
    if len(set(aliases.values())) != len(aliases):
        raise DataError(f"name map: two names for one tool in {shorten(dict(name_map))}")
    return aliases


def read_call(call: Any, index: ToolIndex, aliases: Mapping[str, str]) -> ReadCall:
    """The call with its arguments parsed; raises CallError."""
    if type(call) is not dict and not isinstance(call, Mapping):
        raise CallError("not an object with a name and arguments")
    call = call.get("function", call)
    if type(call) is not dict and not isinstance(call, Mapping):
        raise CallError('"function" is not an object')
    name = call.get("name")
    if type(name) is not str and not isinstance(name, str):
        raise CallError("no name")
    try:
        arguments = parse_arguments(call.get("arguments"))
    except ArgumentsError as error:
        raise CallError(str(error)) from error
    name = aliases.get(name, name)
    return ReadCall(name, index.find(name), arguments)


def is_sound(call: ReadCall) -> bool:
    """Whether the call names a tool and satisfies its schema."""
    return call.tool is not None and not find_faults(call.tool, call.arguments)


def same_call(a: ReadCall, b: ReadCall, relaxed: bool = False) -> bool:
    """Whether two calls are the same, their validity aside."""
    if a.name != b.name or a.tool is None:
        return False
    return same_object(a.arguments, b.arguments, a.tool.node, relaxed, 1)
