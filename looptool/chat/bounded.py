"""Many jobs at once, few at a time, results in the order of the jobs."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from looptool.errors import LoopToolError, TeacherError

T = TypeVar("T")
STARTED_AT_ONCE = 256
"""Default limit: the teacher has its own, this one only bounds memory."""


async def run_bounded(
    jobs: Sequence[Callable[[], Awaitable[T]]], limit: int = STARTED_AT_ONCE
) -> list[T | LoopToolError]:
    """Runs the jobs, at most `limit` at once; order kept.

    A TeacherError of one job is returned in its place, because the failure of a row is a record.
    Any other exception (the budget, a fault of ours) cancels the rest and propagates.
    """
    results: list[T | LoopToolError | None] = [None] * len(jobs)
    waiting = iter(enumerate(jobs))

    async def work() -> None:
        for number, job in waiting:
            try:
                results[number] = await job()
            except TeacherError as error:
                results[number] = error

    await _run_all(work, min(limit, len(jobs)))
    return results  # type: ignore[return-value]  # every place is filled when all workers ended


async def gather_bounded(
    coroutines: Sequence[Coroutine[Any, Any, T]], limit: int = STARTED_AT_ONCE
) -> list[T]:
    """Awaits the coroutines, at most `limit` at once; order kept.

    The first exception cancels the rest and propagates.
    """
    results: list[T | None] = [None] * len(coroutines)
    waiting = iter(enumerate(coroutines))

    async def work() -> None:
        for number, coroutine in waiting:
            results[number] = await coroutine

    try:
        await _run_all(work, min(limit, len(coroutines)))
    finally:
        for coroutine in coroutines:
            coroutine.close()  # silences those that were never started
    return results  # type: ignore[return-value]  # every place is filled when all workers ended


async def _run_all(work: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        # Callers catch the library's own errors, not groups of them.
        raise failures.exceptions[0] from None
