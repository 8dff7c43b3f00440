"""The reward of GRPO as veRL calls it (method, section 3): 1 for the label's answer, else 0.

As in the paper there is no term for format or length; the other numbers are recorded, never
rewarded. Unlike the released reward, a label that breaks its own schema is marked as a defect, not
only scored 0: mask such samples. Only the standard library and jsonschema, as this runs in veRL's
own environment.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from looptool.calls.match import Calls, answers_match, check_label, relaxed_match
from looptool.calls.parse import Reply, parse_reply
from looptool.calls.schema import ToolIndex, index_tools
from looptool.errors import DataError, shorten


@dataclass(frozen=True, slots=True)
class _Truth:
    calls: Calls
    tools: ToolIndex
    ordered: bool
    name_map: Mapping[str, str] | None
    defects: tuple[str, ...]


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str | Mapping[str, Any],
    extra_info: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """veRL's reward function: `score` and, all 0.0 or 1.0, what else is worth plotting.

    `ground_truth` is `{"calls": […], "tools": […], "ordered": bool, "name_map": {…} or null}`, as
    JSON text or as an object; the last two may be missing. `acc` repeats the score under the name
    that veRL averages; `relaxed` is the BFCL-like verdict; `no_call` says that the reply holds no
    call. With `defect` 1.0 the label itself is wrong: score, acc and relaxed are 0.0 and mean
    nothing.

    Never raises on model text; raises DataError for a ground truth that is not of that shape.
    """
    read = _read_truth_text if isinstance(ground_truth, str) else _read_truth
    truth = read(ground_truth)
    reply = parse_reply(solution_str)
    score = relaxed = False
    if not truth.defects:
        rule: dict[str, Any] = {"ordered": truth.ordered, "name_map": truth.name_map}
        score = answers_match(reply, truth.calls, truth.tools, **rule)
        relaxed = score or _match_relaxed(reply, truth, rule)
    return {
        "score": float(score),
        "acc": float(score),
        "relaxed": float(relaxed),
        "parse_error": float(reply.error is not None),
        "no_call": float(reply.error is None and not reply.calls),
        "defect": float(bool(truth.defects)),
    }


def _match_relaxed(reply: Reply, truth: _Truth, rule: dict[str, Any]) -> bool:
    # Without calls there is nothing to relax: strict has decided.
    if reply.error is not None or not truth.calls:
        return False
    return relaxed_match(reply.calls, truth.calls, truth.tools, **rule)


@lru_cache(maxsize=512)  # the rollouts of one prompt come together, with the same text
def _read_truth_text(text: str) -> _Truth:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"ground_truth is not JSON ({error}): {shorten(text)}") from error
    return _read_truth(value)


def _read_truth(value: Any) -> _Truth:
    if not isinstance(value, Mapping):
        raise DataError(f'ground_truth needs "calls" and "tools", got {shorten(value)}')
    calls, tools = value.get("calls"), value.get("tools")
    if not isinstance(calls, list) or not isinstance(tools, list):
        raise DataError(f'ground_truth: "calls" and "tools" are lists, got {shorten(value)}')
    ordered, name_map = value.get("ordered") or False, value.get("name_map") or None
    if not isinstance(ordered, bool):
        raise DataError(f'ground_truth: "ordered" is true or false, got {shorten(ordered)}')
    if name_map is not None and not _is_name_map(name_map):
        raise DataError(f'ground_truth: "name_map" maps names to names, got {shorten(name_map)}')
    index = index_tools(tools)
    defects = tuple(check_label(calls, index, name_map=name_map))
    return _Truth(calls, index, ordered, name_map, defects)


def _is_name_map(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) for pair in value.items() for name in pair
    )
