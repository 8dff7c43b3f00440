import asyncio

import pytest

from looptool.chat import gather_bounded, run_bounded
from looptool.errors import BudgetExceeded, TeacherRefused, TeacherUnavailable


def test_results_come_in_the_order_of_the_jobs_and_row_failures_are_values() -> None:
    async def job(number: int) -> int:
        await asyncio.sleep(0.001 * (5 - number))
        if number == 2:
            raise TeacherRefused("no")
        return number

    results = asyncio.run(run_bounded([lambda n=n: job(n) for n in range(5)], limit=3))
    assert results[:2] == [0, 1]
    assert isinstance(results[2], TeacherRefused)
    assert results[3:] == [3, 4]


@pytest.mark.parametrize("error", [BudgetExceeded("spent"), ZeroDivisionError("bug")])
def test_other_failures_cancel_the_rest_and_propagate(error: Exception) -> None:
    finished: list[int] = []

    async def job(number: int) -> None:
        if number == 1:
            raise error
        await asyncio.sleep(5)
        finished.append(number)

    with pytest.raises(type(error)):
        asyncio.run(run_bounded([lambda n=n: job(n) for n in range(50)], limit=4))
    assert finished == []


def test_at_most_so_many_run_at_once() -> None:
    running: list[int] = []
    most = 0

    async def job(number: int) -> None:
        nonlocal most
        running.append(number)
        most = max(most, len(running))
        await asyncio.sleep(0.001)
        running.remove(number)

    asyncio.run(gather_bounded([job(n) for n in range(20)], limit=3))
    assert most == 3


def test_gathering_raises_the_first_teacher_error_and_leaves_nothing_unawaited() -> None:
    async def job(number: int) -> int:
        if number == 0:
            raise TeacherUnavailable("gone")
        return number

    with pytest.raises(TeacherUnavailable):
        asyncio.run(gather_bounded([job(n) for n in range(9)], limit=1))


def test_no_jobs_no_results() -> None:
    assert asyncio.run(run_bounded([], limit=3)) == []
    assert asyncio.run(gather_bounded([])) == []
