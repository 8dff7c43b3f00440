"""Progress of a stage: a Prefect progress artifact, updated at most once a second, and a log line at times."""

import logging
import time
from types import TracebackType
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import MissingContextError


class Progress:
    """Reports `done` of `total` while a stage works; silent outside of a Prefect run."""

    def __init__(self, stage: str, iteration: int, unit: str) -> None:
        self.stage = stage
        self.iteration = iteration
        self.unit = unit
        self._artifact: UUID | None = None
        self._shown_at = 0.0
        self._logged_at = time.monotonic()
        self._started = time.monotonic()

    def __enter__(self) -> "Progress":
        try:
            made = create_progress_artifact(
                progress=0.0,
                key=f"{self.stage}-{self.iteration}",
                description=f"{self.stage}, iteration {self.iteration}",
            )
            self._artifact = made if isinstance(made, UUID) else None
        except MissingContextError:
            self._artifact = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._artifact is not None and error is None:
            update_progress_artifact(self._artifact, progress=100.0)

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report that `done` of `total` units are finished."""
        now = time.monotonic()
        share = 100.0 * done / max(1, total)
        if self._artifact is not None and (now - self._shown_at > 1.0 or done >= total):
            self._shown_at = now
            update_progress_artifact(
                self._artifact,
                progress=min(100.0, share),
                description=f"{done}/{total} {self.unit} {note}".strip(),
            )
        if now - self._logged_at > 30.0:
            self._logged_at = now
            rate = done / max(1e-9, now - self._started)
            logger().info("%d of %d %s, %.1f a second %s", done, total, self.unit, rate, note)


def logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The run's logger, or a plain one outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("looptool")
