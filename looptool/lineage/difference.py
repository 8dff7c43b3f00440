"""What is different between two answers, place by place, for people to read."""

from collections.abc import Iterator, Sequence
from typing import Any

from looptool.records import Label, Record, ToolCall, canonical_json

MISSING = object()


class Difference(Record):
    """One place where two answers differ; an empty side is one that has nothing there."""

    path: str
    """`call 1`, `call 1 set_it.to`, `text` or `order`; arguments by dotted keys and `[index]`."""
    old: str
    """JSON text of the value; of a call or text, as it reads."""
    new: str


def compare_labels(old: Label, new: Label) -> tuple[Difference, ...]:
    """Every place where two answers differ, in the order of the calls; empty when they are equal.

    Calls of the same tool are compared with each other first, those with the most equal arguments
    leading; what is left over was dropped or added.
    """
    found: list[Difference] = []
    pairs, dropped, added = _pair_calls(old.calls, new.calls)
    for before, after in pairs:
        place = f"call {before + 1} {old.calls[before].name}"
        left, right = old.calls[before].arguments, new.calls[after].arguments
        found += [_difference(place + path, x, y) for path, x, y in _walk("", left, right)]
    found += [
        Difference(path=f"call {n + 1}", old=render_call(old.calls[n]), new="") for n in dropped
    ]
    found += [
        Difference(path=f"call {n + 1}", old="", new=render_call(new.calls[n])) for n in added
    ]
    order = [after for _, after in pairs]
    if order != sorted(order) and not dropped and not added:
        found.append(Difference(path="order", old=_names(old.calls), new=_names(new.calls)))
    if old.text != new.text:
        found.append(Difference(path="text", old=old.text, new=new.text))
    return tuple(found)


def render_call(call: ToolCall) -> str:
    """A call on one line: `set_it(to="blue", times=2)`; names that are no words are quoted."""
    inner = ", ".join(f"{key}={canonical_json(value)}" for key, value in call.arguments.items())
    return f"{call.name}({inner})"


def render_label(label: Label) -> str:
    """An answer as text: its calls one a line, then what it says."""
    lines = [render_call(call) for call in label.calls]
    return "\n".join([*lines, label.text] if label.text or not lines else lines)


def _names(calls: Sequence[ToolCall]) -> str:
    return ", ".join(call.name for call in calls)


def _pair_calls(
    old: Sequence[ToolCall], new: Sequence[ToolCall]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Places of calls of the same tool, best fits first taken; the rest of each side."""
    ranked = sorted(
        (-_likeness(left, right), abs(i - k), i, k)
        for i, left in enumerate(old)
        for k, right in enumerate(new)
        if left.name == right.name
    )
    partner: dict[int, int] = {}
    for _, _, i, k in ranked:
        if i not in partner and k not in partner.values():
            partner[i] = k
    taken = set(partner.values())
    return (
        sorted(partner.items()),
        [i for i in range(len(old)) if i not in partner],
        [k for k in range(len(new)) if k not in taken],
    )


def _likeness(left: ToolCall, right: ToolCall) -> int:
    shared = left.arguments.keys() & right.arguments.keys()
    equal = sum(_same(left.arguments[key], right.arguments[key]) for key in shared)
    return 2 * equal - len(left.arguments.keys() ^ right.arguments.keys())


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _walk(f"{path}.{key}", old.get(key, MISSING), new.get(key, MISSING))
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            left = old[place] if place < len(old) else MISSING
            right = new[place] if place < len(new) else MISSING
            yield from _walk(f"{path}[{place}]", left, right)
    elif old is MISSING or new is MISSING or not _same(old, new):
        yield path, old, new


def _same(left: Any, right: Any) -> bool:
    # Python holds True == 1 and 1 == 1.0; as arguments they are different values.
    return canonical_json(left) == canonical_json(right)


def _difference(path: str, old: Any, new: Any) -> Difference:
    left, right = ("" if v is MISSING else canonical_json(v) for v in (old, new))
    return Difference(path=path, old=left, new=right)
