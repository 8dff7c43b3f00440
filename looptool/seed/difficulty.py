"""How difficult the distractors of a dialogue are, and which difficulty a set of tools can give.

A near miss is a tool of the domain in focus: close enough to be called in place of the right one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from looptool.records import Difficulty, ToolSpec

NEAR_MISS_RATE = 0.5
"""Share of near misses among the distractors, unless a difficulty is asked for."""


def count_near_misses(difficulty: Difficulty, distractors: int) -> int:
    """How many of the distractors are to come from the domain in focus."""
    share = {"": NEAR_MISS_RATE, "easy": 0.0, "medium": NEAR_MISS_RATE, "hard": 1.0}[difficulty]
    return round(distractors * share)


def name_difficulty(near: int, distractors: int) -> Difficulty:
    """The difficulty of a dialogue with so many near misses among its distractors."""
    if not near:
        return "easy"
    return "hard" if near == distractors else "medium"


def can_give(
    domains: Mapping[str, int], domain: str, focus: int, count: int, difficulty: Difficulty
) -> bool:
    """Whether `count` tools, `focus` of them in focus in a domain, can have the difficulty.

    `domains` says how many tools each domain has.
    """
    distractors = count - focus
    if distractors < 0:
        return False
    near = count_near_misses(difficulty, distractors)
    inside, outside = domains[domain] - focus, sum(domains.values()) - domains[domain]
    fits = near <= inside and distractors - near <= outside
    return fits and difficulty in ("", name_difficulty(near, distractors))


def is_possible(tools: Sequence[ToolSpec], low: int, high: int, difficulty: Difficulty) -> bool:
    """Whether from `low` to `high` of the tools can be had with the difficulty, in any domain."""
    domains = Counter(tool.domain for tool in tools)
    counts = range(low, min(high, len(tools)) + 1)
    if not difficulty:
        return bool(counts)
    return any(
        can_give(domains, domain, 1, count, difficulty) for domain in domains for count in counts
    )
