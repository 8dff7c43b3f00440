"""May a call be tried again, and after which pause?

    malformed, time-out, HTTP 500     so many `attempts`: the request itself may be at fault
    429, 502-504, no connection       `patience_s`: an outage, which ends; but an attempt is counted
                                      when the endpoint answered other requests in the meantime
    refused                           never

An endpoint that has never answered anything gets `attempts` tries too: its address is probably
wrong. `attempts = 1` means that nothing is ever asked twice. `deadline_s` bounds all of it.
"""

import random

from looptool.chat.faults import Fault
from looptool.config import TeacherConfig

BACKOFF_S = 0.25
BACKOFF_CAP_S = 30.0


class Patience:
    """The patience left for one call; times are seconds on the event loop's clock."""

    __slots__ = ("_config", "_outage_since", "_tries", "deadline", "gave_up", "tried")

    def __init__(self, config: TeacherConfig) -> None:
        self._config = config
        self._outage_since: float | None = None
        self._tries = 0
        self.tried = 0
        self.deadline: float | None = None
        """When the call must have ended; set by its first attempt."""
        self.gave_up = ""
        """Why there is no further try."""

    def begin(self, now: float) -> float:
        """Notes an attempt; returns how long it may take, seconds."""
        self.tried += 1
        if self._config.deadline_s is None:
            return self._config.timeout_s
        if self.deadline is None:
            self.deadline = now + self._config.deadline_s
        return max(0.0, min(self._config.timeout_s, self.deadline - now))

    def pause(
        self, fault: Fault, now: float, *, known: bool, answering: bool, elsewhere: bool
    ) -> float | None:
        """Seconds to wait before the next try; None when the call is given up.

        `known`: the endpoint has answered at some time. `answering`: it answered another request
        while this one failed. `elsewhere`: another endpoint is ready to take the call.
        """
        if fault.kind == "refused":
            return None
        outage = fault.outage and known
        if not outage:
            self._outage_since = None
        elif self._outage_since is None:
            self._outage_since = now
        if not outage or (answering and fault.kind != "rate_limited"):
            self._tries += 1
        if self._config.attempts == 1 or self._tries >= self._config.attempts:
            self.gave_up = f"{self.tried} tries" if self.tried > 1 else ""
            return None
        wait = 0.0 if elsewhere else self._backoff(fault)
        if self._outage_since is not None:
            waited = now - self._outage_since
            if waited + wait > self._config.patience_s:
                self.gave_up = (
                    f"waited {waited:.0f} s, the next try would be in {wait:.0f} s "
                    f"(teacher.patience_s = {self._config.patience_s:g})"
                )
                return None
        if self.deadline is not None and now + wait >= self.deadline:
            self.gave_up = f"teacher.deadline_s = {self._config.deadline_s:g} is over"
            return None
        return wait

    def _backoff(self, fault: Fault) -> float:
        if fault.kind == "malformed":
            return 0.0
        jitter = random.uniform(0.5, 1.0)
        if fault.retry_after_s is not None:
            # Never sooner than asked; spread, so that not all come back in the same moment.
            return fault.retry_after_s * (1.5 - jitter / 2)
        wait: float = min(BACKOFF_CAP_S, BACKOFF_S * 2.0 ** min(20, self.tried - 1)) * jitter
        return wait
