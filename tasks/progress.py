"""Progress of a stage: a Prefect progress artifact, updated at most once a second, and a log line at times.

412/1200 samples · 86% accepted · 14.2/s · 58 s left · $0.42
"""

import logging
import time
from collections import deque
from types import TracebackType
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import get_run_context
from prefect.exceptions import MissingContextError

SHOWN_EVERY_S = 1.0
LOGGED_EVERY_S = 30.0
WINDOW_S = 60.0
"""The rate is that of the last minute: parts taken over from an earlier run do not count for long."""
BAR = 20


class Progress:
    """Reports `done` of `total` while a stage works; silent outside of a Prefect run."""

    def __init__(self, stage: str, iteration: int, unit: str) -> None:
        self.stage = stage
        self.iteration = iteration
        self.unit = unit
        self._artifact: UUID | None = None
        self._shown_at = 0.0
        self._logged_at = self._started = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._started, 0)])

    def __enter__(self) -> "Progress":
        if in_run():
            made = create_progress_artifact(
                progress=0.0,
                key=f"{self.stage}-{self.iteration}",
                description=f"{self.stage}, iteration {self.iteration}",
            )
            self._artifact = made if isinstance(made, UUID) else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._show(100.0, None)

    def __call__(
        self,
        done: int,
        total: int,
        note: str = "",
        *,
        accepted: int | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """Report that `done` of `total` units are finished.

        `accepted` is how many of them were kept, `cost_usd` what the teacher has cost for them.
        """
        now = time.monotonic()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW_S:
            self._seen.popleft()
        due = now - self._shown_at > SHOWN_EVERY_S or done >= total
        log_due = now - self._logged_at > LOGGED_EVERY_S
        if not due and not log_due:
            return
        text = describe(done, total, self.unit, self._rate(), accepted, cost_usd, note)
        share = min(100.0, 100.0 * done / max(1, total))
        if due:
            self._shown_at = now
            self._show(share, text)
        if log_due:
            self._logged_at = now
            logger().info("%s %s %s", self.stage, render_bar(share), text)

    def _rate(self) -> float:
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / max(1e-3, now - began)

    def _show(self, share: float, text: str | None) -> None:
        if self._artifact is None:
            return
        try:
            if text is None:
                update_progress_artifact(self._artifact, progress=share)
            else:
                update_progress_artifact(self._artifact, progress=share, description=text)
        except Exception as exc:  # hours of work do not end because a display does
            self._artifact = None
            logger().warning("progress is no longer shown: %s", type(exc).__name__)


def describe(
    done: int,
    total: int,
    unit: str,
    rate: float,
    accepted: int | None = None,
    cost_usd: float | None = None,
    note: str = "",
) -> str:
    """One short line; what is not known is left out."""
    parts = [f"{done}/{total} {unit}"]
    if accepted is not None and done:
        parts.append(f"{100 * accepted / done:.0f}% accepted")
    if rate > 0:
        parts.append(f"{rate:.1f}/s" if rate >= 0.1 else f"{60 * rate:.1f}/min")
        if done < total:
            parts.append(f"{render_seconds((total - done) / rate)} left")
    if cost_usd:
        parts.append(f"${cost_usd:.2f}")
    return " · ".join([*parts, note] if note else parts)


def render_seconds(seconds: float) -> str:
    """`58 s`, `12 min`, `3 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def render_bar(share: float) -> str:
    """A bar of fixed width and the percentage."""
    full = round(BAR * share / 100)
    return f"[{'#' * full}{'.' * (BAR - full)}] {share:.0f}%"


def in_run() -> bool:
    """Whether this is part of a Prefect run; outside of one its artifacts belong to nothing."""
    try:
        get_run_context()
    except MissingContextError:
        return False
    return True


def logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The run's logger, or a plain one outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("looptool")
