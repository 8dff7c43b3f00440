"""A clock that jumps: an hour of waiting passes at once, and everything else stays as it is."""

import asyncio
import selectors
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class JumpingSelector(selectors.DefaultSelector):
    """Never waits: where the loop would sleep, its clock is put forward instead."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout:
            self.ahead += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """For coroutines that talk to nobody outside of the process and to no thread."""

    def __init__(self) -> None:
        self.selector = JumpingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return super().time() + self.selector.ahead

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        done = self.create_future()
        done.set_result(func(*args))
        return done


def run_ahead(work: Awaitable[T]) -> tuple[T, float]:
    """The result of the work, and how long it took by its own clock, seconds."""

    async def timed() -> tuple[T, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        return await work, loop.time() - began

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(timed())
