"""How many comparisons and replies the call rule gets through a second, on one core.

    python benchmarks/matching.py [--seconds 1.0]

Typical work: four tools of four parameters, one or two calls; of 15 predictions 6 are the label, 4
are the same only by the rule (a default, blanks, `5.0`, a set), 5 differ. Seconds are those of the
process, so that neighbours on a shared machine do not count. The goal holds for `tools` as a list.
"""

import argparse
import json
from functools import partial
from typing import Any

from benchmarks import rate
from looptool.calls import (
    ToolIndex,
    calls_match,
    compute_score,
    explain_mismatch,
    parse_reply,
    render_calls,
)

GOAL_PER_S = 50_000
BATCH = 500
measure = partial(rate.measure, batch=BATCH)

Calls = list[dict[str, Any]]


def build_tools() -> list[dict[str, Any]]:
    """Four OpenAI-style tools with strings, an enum, an integer default and a set."""
    return [build_tool(name) for name in ("get_weather", "find_hotel", "book_flight", "add_event")]


def build_tool(name: str) -> dict[str, Any]:
    """One tool of four parameters."""
    parameters = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "City, without the country."},
            "unit": {"type": "string", "enum": ["metric", "imperial"]},
            "limit": {"type": "integer", "description": "At most so many.", "default": 10},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        },
        "required": ["city"],
    }
    function = {"name": name, "description": f"Does {name} for a place.", "parameters": parameters}
    return {"type": "function", "function": function}


def build_pairs() -> list[tuple[Calls, Calls]]:
    """Predictions and labels: identical, the same by the rule, different."""
    base = {"city": "São Paulo", "unit": "metric", "limit": 5, "tags": ["sea", "old town"]}
    label = [{"name": "get_weather", "arguments": base}]
    second = {"name": "find_hotel", "arguments": {"city": "Graz"}}

    def vary(**changes: Any) -> Calls:
        return [{"name": "get_weather", "arguments": base | changes}]

    same = [(vary(), label)] * 5 + [([second, *label], [*label, second])]
    by_rule = [
        (vary(limit=5.0), label),
        (vary(city=" São Paulo"), label),
        (vary(tags=["old town", "sea"]), label),
        (vary(limit=10), [{"name": "get_weather", "arguments": drop(base, "limit")}]),
    ]
    different = [
        (vary(city="Recife"), label),
        (vary(limit="5"), label),
        (vary(country="BR"), label),
        ([second], label),
        ([], label),
    ]
    return same + by_rule + different


def drop(values: dict[str, Any], key: str) -> dict[str, Any]:
    """The values without one key."""
    return {k: v for k, v in values.items() if k != key}


def as_text(calls: Calls) -> Calls:
    """The calls with their arguments as JSON text."""
    return [call | {"arguments": json.dumps(call["arguments"])} for call in calls]


def main() -> None:
    """Measures everything and says whether the goal is met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each line measures")
    seconds = parser.parse_args().seconds
    tools, pairs = build_tools(), build_pairs()
    texts = [(as_text(predicted), as_text(label)) for predicted, label in pairs]
    index = ToolIndex(tools)
    truths = [json.dumps({"calls": label, "tools": tools}) for _, label in pairs]
    replies = [render_calls(predicted, "", "Which tool fits?") for predicted, _ in pairs]
    scored = list(zip(replies, truths, strict=True))

    goal = measure("calls_match, objects", lambda p: calls_match(p[0], p[1], tools), pairs, seconds)
    measure(
        "calls_match, objects, ToolIndex", lambda p: calls_match(p[0], p[1], index), pairs, seconds
    )
    measure("calls_match, JSON text", lambda p: calls_match(p[0], p[1], tools), texts, seconds)
    measure(
        "calls_match, JSON text, ToolIndex",
        lambda p: calls_match(p[0], p[1], index),
        texts,
        seconds,
    )
    measure(
        "explain_mismatch, ToolIndex", lambda p: explain_mismatch(p[0], p[1], index), pairs, seconds
    )
    measure("parse_reply", parse_reply, replies, seconds)
    measure(
        "compute_score, the whole reward", lambda p: compute_score("", p[0], p[1]), scored, seconds
    )
    print(f"goal of {GOAL_PER_S:,} comparisons /s {'met' if goal >= GOAL_PER_S else 'MISSED'}")


if __name__ == "__main__":
    main()
