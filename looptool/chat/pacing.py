"""How many requests may be in flight: halved when the endpoint is overloaded, grown back slowly.

The rule of TCP: multiplicative decrease, additive increase. Single 429s are the retry's business;
only a burst of them halves the limit.
"""

import asyncio
from collections import deque
from types import TracebackType

WINDOW = 20
"""Answers looked back on."""
BURST = 5
"""Overload answers among them that halve the limit."""


class Pace:
    """A semaphore whose size follows the endpoint; use as `async with pace`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = most
        self.active = 0
        self._calm = 0
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._freed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._freed:
            await self._freed.wait_for(lambda: self.active < self.limit)
            self.active += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.active -= 1
        async with self._freed:
            self._freed.notify(max(1, self.limit - self.active))

    def report(self, *, overloaded: bool) -> None:
        """Tells how the last request ended."""
        self._recent.append(overloaded)
        if overloaded:
            self._calm = 0
            if sum(self._recent) >= BURST:
                self.limit = max(1, self.limit // 2)
                self._recent.clear()
            return
        self._calm += 1
        if self._calm >= self.limit and self.limit < self.most:
            self.limit += 1
            self._calm = 0
