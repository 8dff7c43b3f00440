"""The errors that tools answer with on purpose, drawn once per dialogue (method, section 2).

The paper lets a tool fail "sometimes"; here shares and weights are configuration. A fault meets the
first call of its dialogue. All but `changed_schema` are error results; that one is a result which
no longer has the shape that the tool's specification promises.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from looptool.config import FaultConfig
from looptool.records import JsonObject, Kind

CHANGED_SCHEMA = "changed_schema"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail."""

    name: str
    """The key of its weight in `seed.faults`."""
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """What a service says beside the text."""
    passing: bool = False
    """Whether the same call may succeed a moment later: what a retry dialogue needs."""

    def as_result(self, said: str = "", *, bare: bool = False) -> JsonObject:
        """The error as the tool's result; `bare` leaves the details out."""
        return {"error": said or self.text} | ({} if bare else dict(self.details))


FAULTS = (
    Fault(
        "timeout",
        "the request timed out, no response after 30 seconds",
        {"code": "timeout", "elapsed_s": 30},
        passing=True,
    ),
    Fault(
        "too_many_requests",
        "HTTP 429 too many requests, try again in a moment",
        {"status": 429, "retry_after_s": 5},
        passing=True,
    ),
    Fault(
        "server_error",
        "HTTP 503 service temporarily unavailable, try again",
        {"status": 503},
        passing=True,
    ),
    Fault("not_found", "HTTP 404 not found, there is no such entry", {"status": 404}),
    Fault(CHANGED_SCHEMA, "the result has another shape than the specification says"),
)


def draw_fault(kind: Kind, config: FaultConfig, rng: Random) -> Fault | None:
    """The fault of one dialogue; None for most. Weights count how often a fault is in the hat."""
    if kind is not Kind.RETRY and (config.rate == 0 or rng.random() >= config.rate):
        return None
    passing = [fault for fault in FAULTS if fault.passing]
    offered = passing if kind is Kind.RETRY else list(FAULTS)
    hat = [fault for fault in offered for _ in range(getattr(config, fault.name))]
    if not hat:
        return rng.choice(passing) if kind is Kind.RETRY else None
    return rng.choice(hat)


def change_shape(value: Any, rng: Random) -> Any:
    """The result with one field renamed or missing, in every row of a list alike.

    A value without fields comes back as it is.
    """
    rows = value if isinstance(value, list) else [value]
    names = list(rows[0]) if rows and isinstance(rows[0], dict) else []
    if not names:
        return value
    old = rng.choice(names)
    new = rng.choice((f"{old}_v2", f"new_{old}", ""))
    if not new and len(names) == 1:
        new = f"{old}_v2"
    changed = [_rename(row, old, new) if isinstance(row, dict) else row for row in rows]
    return changed if isinstance(value, list) else changed[0]


def _rename(row: JsonObject, old: str, new: str) -> JsonObject:
    """The row with a field under another name, or without it when the new name is empty."""
    return {(new if key == old else key): v for key, v in row.items() if key != old or new}
