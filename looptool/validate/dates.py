"""Which dates and times does a conversation imply? English and Chinese phrases, by rules.

`tomorrow`, `next Friday`, `in two weeks`, `March 5`: counted from the day on which the conversation
takes place; Chinese ones are read in `chinese`. In other languages any date is taken as computed,
since their phrases are not read here; the review sees those.
"""

import datetime
import re
from collections.abc import Iterator

from looptool.validate import chinese
from looptool.validate.days import (
    day_of_month,
    days_of_week,
    shift_days,
    shift_months,
    this_and_next_month,
    weekends,
)

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
           "october", "november", "december")  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_COUNTS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6,
           "seven": 7, "eight": 8, "nine": 9, "ten": 10}  # fmt: skip
_NEAR = {
    "today": 0,
    "tonight": 0,
    "this morning": 0,
    "this afternoon": 0,
    "this evening": 0,
    "right now": 0,
    "tomorrow": 1,
    "overmorrow": 2,
    "day after tomorrow": 2,
    "yesterday": -1,
    "day before yesterday": -2,
    "last night": -1,
}
_SPAN = re.compile(r"\b(\d+|[a-z]+) (day|week|fortnight|month|year)s?\b( ago)?")
_UNIT_DAYS = {"day": 1, "week": 7, "fortnight": 14}


class DateReader:
    """The dates that a text implies on a given day; `text` is case-folded."""

    def __init__(self, text: str, today: str = "", language: str = "en") -> None:
        self._text = text
        self._language = language
        try:
            self._today = datetime.date.fromisoformat(today[:10]) if today else None
        except ValueError:
            self._today = None
        self._relative: set[datetime.date] | None = None
        self._digits = chinese.write_digits(text) if chinese.is_chinese(text) else ""

    def implies(self, day: str) -> bool:
        """Whether the ISO date was said somehow, or follows from the day of the conversation."""
        if day in self._text:
            return True
        date = datetime.date.fromisoformat(day)
        if self._spelled_out(date):
            return True
        if self._today is None:
            return False
        if not self._language.lower().startswith(("en", "zh")):
            return True
        if self._relative is None:
            self._relative = set(_relative_dates(self._text, self._today))
            self._relative |= set(chinese.read_relative_dates(self._digits, self._today))
        return date in self._relative

    def _spelled_out(self, date: datetime.date) -> bool:
        """`March 5`, `5th of March 2031`, `05.03.2031`, `3/5/2031`; another year must be said."""
        month = _MONTHS[date.month - 1]
        name = rf"(?:{month}|{month[:3]}\.?|{month[:4]}\.?)"
        number = rf"0?{date.day}(?:st|nd|rd|th)?"
        year = r"(?:,? (?:of )?(\d{4}))?(?!\d)"
        digits = r"[./-]"
        forms = (
            rf"\b{name} (?:the )?{number}\b{year}",
            rf"\b{number} (?:of )?{name}(?!\w){year}",
            rf"(?<!\d)0?{date.day}{digits}0?{date.month}(?:{digits}(\d{{4}}))?(?!\d)",
            rf"(?<!\d)0?{date.month}{digits}0?{date.day}(?:{digits}(\d{{4}}))?(?!\d)",
        )
        years = [match[1] for form in forms for match in re.finditer(form, self._text)]
        said = [int(year) if year else None for year in years]
        said += [
            year
            for year, month_number, day in chinese.read_explicit_dates(self._digits)
            if (month_number, day) == (date.month, date.day)
        ]
        return any(self._fits_year(date, year) for year in said)

    def _fits_year(self, date: datetime.date, year: int | None) -> bool:
        if year is not None:
            return year == date.year
        return self._today is None or abs(date.year - self._today.year) <= 1


def _relative_dates(text: str, today: datetime.date) -> Iterator[datetime.date]:
    for phrase, distance in _NEAR.items():
        if phrase in text:
            yield from shift_days(today, distance)
    for number, name in enumerate(_DAYS):
        if re.search(rf"\b{name}s?\b|\b{name[:3]}\b", text):
            ahead = (number - today.weekday()) % 7
            # "next Friday" means different days to different people: all of them are allowed.
            for distance in (ahead - 7, ahead, ahead + 7):
                yield from shift_days(today, distance)
    if "weekend" in text:
        yield from weekends(today)
    yield from _spans(text, today)
    yield from _periods(text, today)


def _spans(text: str, today: datetime.date) -> Iterator[datetime.date]:
    """`in three days`, `two weeks from now`, `a month ago`."""
    for match in _SPAN.finditer(text):
        count = int(match[1]) if match[1].isdigit() else _COUNTS.get(match[1], 0)
        if not 0 < count <= 1000:
            continue
        signed = -count if match[3] else count
        if match[2] in _UNIT_DAYS:
            yield from shift_days(today, signed * _UNIT_DAYS[match[2]])
        else:
            yield from shift_months(today, signed * (12 if match[2] == "year" else 1))


def _periods(text: str, today: datetime.date) -> Iterator[datetime.date]:
    """`next week` is any day of it, `the 5th` one of the months around."""
    for phrase, weeks in (("this week", 0), ("next week", 1), ("last week", -1)):
        if phrase in text:
            yield from days_of_week(today, weeks)
    if re.search(r"\b(?:next|this|end of the|end of) month\b", text):
        yield from this_and_next_month(today)
    for match in re.finditer(r"\bthe (\d{1,2})(?:st|nd|rd|th)\b", text):
        yield from day_of_month(today, int(match[1]))


def spoken_times(hour: int, minute: int) -> Iterator[str]:
    """How people write a time: `15:00`, `3 pm`, `3:00pm`, `3 o'clock`, `noon`."""
    yield f"{hour:02d}:{minute:02d}"
    yield f"{hour}:{minute:02d}"
    twelve, half = (hour % 12) or 12, "am" if hour < 12 else "pm"
    dotted = f"{half[0]}.m."
    for mark in (half, f" {half}", dotted, f" {dotted}"):
        yield f"{twelve}:{minute:02d}{mark}"
        if minute == 0:
            yield f"{twelve}{mark}"
    if minute == 0:
        yield f"{twelve} o'clock"
        yield f"{hour}h"
    if minute == 30:
        yield f"half past {twelve}"
    if (hour, minute) in ((12, 0), (0, 0)):
        yield "noon" if hour else "midnight"
