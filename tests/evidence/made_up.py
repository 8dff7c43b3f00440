"""Rows as the benchmark writes them, with answers that a test chooses."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.closed_loop.measure import Items, pack
from benchmarks.closed_loop.rows import Row
from looptool.records import Kind

KINDS = (Kind.SINGLE, Kind.PARALLEL, Kind.CLARIFY, Kind.MULTI_TURN)
ITEMS = 400
USUAL = {"noise": 0.12, "judge": 0.9}


def make_items(count: int = ITEMS) -> Items:
    """Held-out samples in dialogues of two, a third of them over unseen tools."""
    kinds = tuple(KINDS[n % len(KINDS)] for n in range(count))
    unseen = np.array([n % 3 == 0 for n in range(count)])
    return Items(kinds, unseen, np.arange(count) // 2)


def identity(arm: str, seed: int, **changes: Any) -> dict[str, Any]:
    return {"study": "main", "setting": "x", "arm": arm, "seed": seed, **USUAL, **changes}


def answers(share: float, seed: int) -> dict[str, Any]:
    """Right on the share of the samples; easy ones are easy for everybody of a seed."""
    hardness = np.random.default_rng(seed).permutation(ITEMS) / ITEMS
    matched, items = hardness < share, make_items()
    correct = {n: [int(matched[m].sum()), int(m.sum())] for n, m in items.slices().items()}
    text = pack(matched)
    return {"matched": text, "called": text, "correct": correct, "not_asked": 0}


def ground(seed: int, share: float = 0.4, **changes: Any) -> Row:
    return {
        **identity("base", seed, **changes),
        "kind": "ground",
        "round": 0,
        "code": "c",
        "threads": 1,
        "items": make_items().as_row(),
        "left_out": 0,
        "pool": {"digest": "p", "size": 1200, "wrong": 72},
        "checkpoint": "m0",
        **answers(share, seed),
        "teacher": {"requests": 9, "prompt_tokens": 9, "completion_tokens": 9},
        "times": {"pool": [60.0, 50.0]},
    }


def round_row(
    arm: str, seed: int, number: int, share: float, wrong: int = 24, **changes: Any
) -> Row:
    refreshed = number > 1 and not arm.startswith("static")
    changed = {"changed": 5, "corrected": 4, "spoilt": 1, "still_wrong": 0, "mismatches": 90}
    found = {"asked": 400, "mixed": 100}
    scouting = {"answers": 6400, "expansions": found, "waiting": found, "new_seeds": found}
    return {
        **identity(arm, seed, **changes),
        "kind": "round",
        "round": number,
        "code": "c",
        "threads": 1,
        "dataset": {
            "digest": f"{arm}{seed}{number}",
            "size": 400,
            "distinct": 400,
            "wrong": wrong,
            "by_origin": {"seed": 300, "expansion": 100} if refreshed else {"seed": 400},
        },
        "training": {"steps": 50, "rollouts": 6400},
        "checkpoint": f"m{arm}{seed}{number}",
        **answers(share, seed),
        "changes": changed if refreshed else None,
        "forgetting": {"asked": 10, "forgotten": 2} if refreshed else None,
        "scouting": scouting if refreshed and arm != "no_scout" else None,
        "teacher": {"requests": 100, "prompt_tokens": 1000, "completion_tokens": 500},
        "times": {"train": [120.0, 110.0], "evaluate": [30.0, 25.0]},
    }


def make_rows(final: Mapping[str, float], seeds: tuple[int, ...], **changes: Any) -> list[Row]:
    """Four rounds of each arm, up to its final accuracy; wrong labels fall from 12% to 3% in the loop."""
    rows = [ground(seed, **changes) for seed in seeds]
    for arm, share in final.items():
        for seed in seeds:
            for number in range(1, 5):
                at = 0.4 + (share - 0.4) * number / 4
                wrong = 48 if arm.startswith("static") else 60 - 12 * number
                rows.append(round_row(arm, seed, number, at, wrong, **changes))
    return rows
