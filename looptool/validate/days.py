"""Days counted from a day; what falls outside of the calendar is left out."""

import calendar
import datetime
from collections.abc import Iterator


def shift_days(date: datetime.date, days: int) -> Iterator[datetime.date]:
    """The day so many days later."""
    try:
        yield date + datetime.timedelta(days=days)
    except OverflowError:
        return


def shift_months(date: datetime.date, months: int) -> Iterator[datetime.date]:
    """The same day of a later month, or the last one of a shorter month."""
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    if 1 <= year <= 9999:
        last = calendar.monthrange(year, month + 1)[1]
        yield datetime.date(year, month + 1, min(date.day, last))


def days_of_week(
    date: datetime.date, weeks: int, number: int | None = None
) -> Iterator[datetime.date]:
    """The days, or the one of a number (0 is Monday), of the week so many weeks later."""
    monday = -date.weekday() + 7 * weeks
    for day in range(7) if number is None else (number,):
        yield from shift_days(date, monday + day)


def weekends(date: datetime.date) -> Iterator[datetime.date]:
    """Fridays to Sundays of the coming two weeks."""
    yield from (day for n in range(14) for day in shift_days(date, n) if day.weekday() >= 4)


def this_and_next_month(date: datetime.date) -> Iterator[datetime.date]:
    """Every day of two months."""
    first = date.replace(day=1)
    yield from (day for n in range(62) for day in shift_days(first, n))


def day_of_month(date: datetime.date, number: int) -> Iterator[datetime.date]:
    """`the 5th` of the months around."""
    for months in (-1, 0, 1):
        for month in shift_months(date.replace(day=1), months):
            try:
                yield month.replace(day=number)
            except ValueError:
                continue
