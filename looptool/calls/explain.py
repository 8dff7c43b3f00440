"""Why two lists of calls are not the same answer: path and reason of the first difference.

It asks the rule itself at every step and never decides anything on its own, so a mismatch is
explained if and only if `calls_match` says no.
"""

from dataclasses import dataclass
from typing import Any

from looptool.calls.json_text import canonical_json, describe_kind
from looptool.calls.match import (
    CallError,
    Calls,
    Names,
    ReadCall,
    Tools,
    calls_match,
    check_label,
    read_call,
    resolve_names,
    same_call,
)
from looptool.calls.schema import Node, index_tools
from looptool.calls.validity import extend_path
from looptool.calls.values import is_default, is_set, item_node, pair_up, same_value
from looptool.errors import shorten

_NOTHING = "(absent)"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first difference between a prediction and its label."""

    path: str
    """Where, as `$[1].arguments.city`: in the prediction, or in the label if missing."""
    reason: str
    predicted: str = _NOTHING
    """The predicted value as JSON, cut short."""
    label: str = _NOTHING
    """The label's value as JSON, cut short."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} (predicted {self.predicted}, label {self.label})"


def explain_mismatch(
    predicted: Calls,
    label: Calls,
    tools: Tools,
    *,
    ordered: bool = False,
    name_map: Names = None,
) -> Mismatch | None:
    """The first difference, or None if and only if `calls_match` says yes.

    A label that does not satisfy its schema comes first: its reason begins with "label defect".
    Raises DataError as `calls_match` does.
    """
    index = index_tools(tools)
    if calls_match(predicted, label, index, ordered=ordered, name_map=name_map):
        return None
    if defects := check_label(label, index, name_map=name_map):
        return _explain_fault("label defect", defects[0], label=_show(label))
    aliases = resolve_names(index, name_map) if name_map else {}
    wanted = [read_call(call, index, aliases) for call in label]
    got = []
    for i, call in enumerate(predicted):
        try:
            got.append(read_call(call, index, aliases))
        except CallError as error:
            return Mismatch(f"$[{i}]", f"malformed call: {error}", predicted=_show(call))
    if len(got) != len(wanted):
        reason = f"{len(got)} calls where the label has {len(wanted)}"
        return Mismatch("$", reason, _show(predicted), _show(label))
    i, j = _choose_pair(got, wanted, ordered)
    if i >= 0:
        return _explain_call(f"$[{i}]", got[i], wanted[j])
    # All pairs are the same, so it is the prediction that does not satisfy its schema.
    fault = check_label(predicted, index, name_map=name_map)[0]
    return _explain_fault("equal, but not valid", fault, _show(predicted), _show(label))


def _choose_pair(got: list[ReadCall], wanted: list[ReadCall], ordered: bool) -> tuple[int, int]:
    """The first prediction without a partner, and the label's free call that is nearest to it."""
    size = len(got)
    if ordered:
        return next(((i, i) for i in range(size) if not same_call(got[i], wanted[i])), (-1, -1))
    mate = pair_up(size, lambda i, j: same_call(got[i], wanted[j]))
    if -1 not in mate:
        return -1, -1
    i = mate.index(-1)

    def distance(j: int) -> tuple[bool, bool]:
        spoken_for = any(same_call(got[k], wanted[j]) for k in range(i + 1, size))
        return wanted[j].name != got[i].name, spoken_for

    return i, min((j for j in range(size) if j not in mate), key=distance)


def _explain_fault(
    what: str, fault: str, predicted: str = _NOTHING, label: str = _NOTHING
) -> Mismatch:
    path, _, reason = fault.partition(": ")
    return Mismatch(path, f"{what}: {reason}", predicted, label)


def _explain_call(path: str, a: ReadCall, b: ReadCall) -> Mismatch:
    if a.name != b.name or a.tool is None:
        return Mismatch(f"{path}.name", "another tool", _show(a.name), _show(b.name))
    return _explain_value(f"{path}.arguments", a.arguments, b.arguments, a.tool.node, 0)


def _explain_value(path: str, a: Any, b: Any, node: Node, depth: int) -> Mismatch:
    found = None
    if type(a) is dict and type(b) is dict:
        found = _explain_object(path, a, b, node, depth + 1)
    elif type(a) is list and type(b) is list:
        found = _explain_array(path, a, b, node, depth + 1)
    if found is not None:
        return found
    mine, its = describe_kind(a), describe_kind(b)
    reason = "another value" if mine == its else f"{mine} where the label has {its}"
    return Mismatch(path, reason, _show(a), _show(b))


def _explain_object(
    path: str, a: dict[str, Any], b: dict[str, Any], node: Node, depth: int
) -> Mismatch | None:
    for key, value in a.items():
        child, place = node.properties.get(key, node.extra), extend_path(path, key)
        if key not in b:
            if not is_default(key, value, node, False, depth):
                return Mismatch(place, "the label has no such key", predicted=_show(value))
        elif not same_value(value, b[key], child, False, depth):
            return _explain_value(place, value, b[key], child, depth)
    for key, value in b.items():
        if key not in a and not is_default(key, value, node, False, depth):
            return Mismatch(extend_path(path, key), "missing", label=_show(value))
    return None


def _explain_array(
    path: str, a: list[Any], b: list[Any], node: Node, depth: int
) -> Mismatch | None:
    if len(a) != len(b):
        return Mismatch(path, f"{len(a)} items where the label has {len(b)}", _show(a), _show(b))
    if is_set(node):
        mate = pair_up(len(a), lambda i, j: same_value(a[i], b[j], node.items, False, depth))
        if -1 not in mate:
            return None
        i = mate.index(-1)
        return Mismatch(f"{path}[{i}]", "no such item in the label", _show(a[i]), _show(b))
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        child = item_node(node, i)
        if not same_value(x, y, child, False, depth):
            return _explain_value(f"{path}[{i}]", x, y, child, depth)
    return None


def _show(value: object) -> str:
    try:
        return shorten(canonical_json(value))
    except (
        TypeError,
        ValueError,
        RecursionError,
    ):  # not JSON, or an int beyond Python's digit limit
        return describe_kind(value)
