"""When two JSON values are the same at a place of the schema: R4-R8 of the design.

Not Python's `==`, by which `{"a": 1}`, `{"a": True}` and `{"a": 1.0}` are one. Types are taken
exactly, as `json.loads` makes them, so a tuple or a NaN equals nothing. Tolerance (1e-9, defaults)
makes the relation symmetric but not transitive, hence sets and lists of calls are paired off, never
hashed or sorted.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any
from unicodedata import normalize

from looptool.calls.json_text import MAX_DEPTH
from looptool.calls.schema import Node


def same_value(a: Any, b: Any, node: Node, relaxed: bool = False, depth: int = 0) -> bool:
    """Whether two JSON values are the same at this place of the schema (R4-R8)."""
    kind = type(a)
    if kind is str:
        return type(b) is str and (a == b or (not node.exact and _same_text(a, b, node, relaxed)))
    if kind is bool or a is None:
        return a is b
    if kind is int or kind is float:
        return _same_number(a, b)
    if kind is not type(b) or depth >= MAX_DEPTH:
        return False
    if kind is dict:
        return same_object(a, b, node, relaxed, depth + 1)
    return kind is list and _same_array(a, b, node, relaxed, depth + 1)


def _same_number(a: float, b: Any) -> bool:
    if type(b) is int and type(a) is int:
        return a == b
    if type(b) is not int and type(b) is not float:
        return False
    try:
        return math.isfinite(a) and math.isfinite(b) and math.isclose(a, b, rel_tol=1e-9)
    except OverflowError:  # an int beyond every float
        return False


_BFCL_NOISE = re.compile(r"[ ,./\-_*^]")


def _same_text(a: str, b: str, node: Node, relaxed: bool) -> bool:
    a, b = plain_text(a), plain_text(b)
    if a == b:
        return True
    return relaxed and node.relaxable and _bfcl_text(a) == _bfcl_text(b)


def plain_text(text: str) -> str:
    """The text as R6 compares it: in Unicode's composed form, without outer blanks."""
    return text.strip() if text.isascii() else normalize("NFC", text).strip()


def _bfcl_text(text: str) -> str:
    return _BFCL_NOISE.sub("", text).lower().replace("'", '"')


def same_object(
    a: dict[str, Any], b: dict[str, Any], node: Node, relaxed: bool, depth: int
) -> bool:
    """Whether two objects are the same: R8, and R4 for keys that only one of them has."""
    properties = node.properties
    shared = 0
    for key, value in a.items():
        if key in b:
            shared += 1
            if not same_value(value, b[key], properties.get(key, node.extra), relaxed, depth):
                return False
        elif not is_default(key, value, node, relaxed, depth):
            return False
    if shared == len(b):
        return True
    return all(key in a or is_default(key, b[key], node, relaxed, depth) for key in b)


def is_default(key: str, value: Any, node: Node, relaxed: bool, depth: int) -> bool:
    """Whether an object with this value under the key equals one without the key (R4)."""
    if key not in node.defaults:
        return False
    return same_value(value, node.defaults[key], node.properties[key], relaxed, depth)


def _same_array(a: list[Any], b: list[Any], node: Node, relaxed: bool, depth: int) -> bool:
    size = len(a)
    if size != len(b):
        return False
    if all(same_value(a[i], b[i], item_node(node, i), relaxed, depth) for i in range(size)):
        return True
    if not is_set(node):
        return False
    return -1 not in pair_up(size, lambda i, j: same_value(a[i], b[j], node.items, relaxed, depth))


def is_set(node: Node) -> bool:
    """Whether order is free: unique items that all mean the same, which a tuple's do not (R7)."""
    return node.unique and not node.prefix


def item_node(node: Node, position: int) -> Node:
    """The place of an array's item."""
    return node.prefix[position] if position < len(node.prefix) else node.items


def pair_up(size: int, same: Callable[[int, int], bool]) -> list[int]:
    """For each left index its right one, each used once; -1 from the first without a place.

    Augmenting paths by breadth-first search: right whatever the order, and never deep in the stack.
    """
    same = cache(same)
    mate, owner = [-1] * size, [-1] * size
    for start in range(size):
        reached: dict[int, int] = {}
        free = _find_free(start, owner, reached, same)
        if free is None:
            break
        while free >= 0:
            left = reached[free]
            owner[free], mate[left], free = left, free, mate[left]
    return mate


def _find_free(
    start: int, owner: list[int], reached: dict[int, int], same: Callable[[int, int], bool]
) -> int | None:
    """A free right index at the end of an augmenting path, whose steps `reached` keeps."""
    waiting = [start]
    for left in waiting:
        for right in _unreached(len(owner), reached):
            if same(left, right):
                reached[right] = left
                if owner[right] < 0:
                    return right
                waiting.append(owner[right])
    return None


def _unreached(size: int, reached: Mapping[int, int]) -> Iterator[int]:
    return (right for right in range(size) if right not in reached)
