"""How many requests one endpoint may have in flight, and until when it is left alone.

The number follows the rule of TCP: halved when the endpoint is overloaded, at most once per round
trip, and grown back by one at a time. Single failures are the retry's business; only a burst of
them halves it. Two things stop all requests for a while: a 429 that names a time, and a row of
failures without one answer between them. After such a rest one request goes ahead of the others.
"""

from collections import deque

WINDOW = 20
"""Answers looked back on."""
BURST = 5
"""Failures among them that halve the limit; in a row, they make the endpoint rest."""
REST_S = 0.5
REST_CAP_S = 60.0
"""Rests grow from the first to the second, doubling while nothing is answered."""


class Pace:
    """The state of one endpoint; all times are seconds on the event loop's clock."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = most
        self.active = 0
        self.rests_until = 0.0
        self.answered_at = -1.0
        """When it last answered a request as it should; -1: never."""
        self._calm = 0
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._halved_at = 0.0
        self._row = 0
        self._rests = 0
        self._probing = False

    def free(self, now: float) -> int:
        """How many more requests may be sent now; not positive: none."""
        if now < self.rests_until:
            return 0
        return (1 if self._probing else self.limit) - self.active

    def answer(self, now: float) -> None:
        """Tells that a request was answered, whatever it said."""
        self.answered_at = now
        self._row = 0
        self._recent.append(False)
        if self._probing:
            self._probing, self._rests = False, 0
            self.limit = max(1, self.limit // 2)
        self._calm += 1
        if self._calm >= self.limit and self.limit < self.most:
            self.limit += 1
            self._calm = 0

    def fail(self, sent_at: float, now: float, asked_s: float = 0.0) -> None:
        """Tells that a request that was sent at `sent_at` was not answered.

        `asked_s` is for how long the endpoint wants to be left alone.
        """
        self._calm = 0
        self._row += 1
        self._recent.append(True)
        fresh = not self._probing or sent_at >= self.rests_until
        if asked_s:
            self.rests_until = max(self.rests_until, now + asked_s)
        if sent_at >= self._halved_at and sum(self._recent) >= BURST:
            self.limit = max(1, self.limit // 2)
            self._halved_at = now
            self._recent.clear()
        if self._row >= BURST and fresh:
            rest = min(REST_CAP_S, REST_S * 2.0**self._rests)
            self.rests_until = max(self.rests_until, now + rest)
            self._rests = min(self._rests + 1, 20)
            self._probing = True
