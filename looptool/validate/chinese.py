"""Numbers, dates and times as Chinese text says them: 三千五, 3月5日, 下周五, 下午三点半.

Text is first brought to one spelling: numerals become digits, traditional forms simplified ones. What
is left out: sums (`一个半小时` for 90 minutes), festivals, the lunar calendar.
"""

import datetime
import re
from collections.abc import Iterator
from decimal import Decimal

from looptool.validate.days import (
    day_of_month,
    days_of_week,
    shift_days,
    shift_months,
    this_and_next_month,
    weekends,
)

_HAN = re.compile(r"[\u3400-\u9fff〇]")
_DIGITS = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6,
           "七": 7, "八": 8, "九": 9}  # fmt: skip
_UNITS = {"十": 10, "百": 100, "千": 1000}
_BIG = {"万": 10**4, "亿": 10**8}
_SIMPLIFIED = str.maketrans("兩萬億點號週後個這禮時鐘負", "两万亿点号周后个这礼时钟负")
_NUMERAL = re.compile(r"[零〇一二两三四五六七八九十百千万亿]+")
_COUNT = r"(\d+(?:\.\d+)?)"

_NEAR = (
    (r"大前天", -3), (r"(?<!大)前天", -2), (r"昨[天晚日]", -1), (r"今[天晚早日]|现在|当天", 0),
    (r"明[天晚早日]", 1), (r"(?<!大)后天", 2), (r"大后天", 3),
)  # fmt: skip
_WEEKDAY = re.compile(r"(上上|上|这|本|下下|下)?个?(?:周|星期|礼拜)([1-6日天])")
_WEEKS = {"上上": -2, "上": -1, "这": 0, "本": 0, "下": 1, "下下": 2}
_WHOLE_WEEK = re.compile(r"(上|这|本|下)个?(?:周|星期|礼拜)")
_SPAN = re.compile(
    r"(半|\d{1,3})(个?半)?(个月|个星期|个礼拜|天|日|周|星期|礼拜|年)(?:以|之)?(后|内|前)?"
)
_UNIT_DAYS = {"天": 1, "日": 1, "周": 7, "星期": 7, "礼拜": 7, "个星期": 7, "个礼拜": 7}
_DATE = re.compile(r"(?:(\d{4})年)?(?<!\d)(\d{1,2})月(\d{1,2})[日号]?(?!\d)")
_DAY = re.compile(r"(?<![\d月])(\d{1,2})[日号]")
_TIME = re.compile(
    r"(凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|今晚|明晚|夜里)?(\d{1,2})(?:点钟?|时(?!间))"
    r"(半|[13]刻|\d{1,2}(?=分)|\d{1,2}(?!\d|分))?"
)
_MORNING = ("凌晨", "清晨", "早上", "早晨", "上午")


def is_chinese(text: str) -> bool:
    """Whether there is any Chinese in it."""
    return _HAN.search(text) is not None


def split_scripts(text: str) -> str:
    """A blank wherever Chinese characters and Latin letters or digits touch."""
    return _BETWEEN.sub(" ", text)


_BETWEEN = re.compile(r"(?<=[\u3400-\u9fff〇])(?=[a-z0-9])|(?<=[a-z0-9])(?=[\u3400-\u9fff〇])")


def write_digits(text: str) -> str:
    """The text with its numerals as digits; one that cannot be read stays."""
    plain = text.translate(_SIMPLIFIED).replace("零下", "负")
    return _NUMERAL.sub(lambda match: _digits(match[0]), plain)


def _digits(numeral: str) -> str:
    value = read_numeral(numeral)
    return numeral if value is None else str(value)


def read_numeral(numeral: str) -> int | None:
    """三千五百零二 is 3502, 三千五 is 3500, 二〇三一 is 2031; None for 百 or 万 alone."""
    if all(char in _DIGITS for char in numeral):
        return int("".join(str(_DIGITS[char]) for char in numeral))
    total = section = digit = 0
    for place, char in enumerate(numeral):
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif char in _UNITS:
            if not digit and (char != "十" or (place and numeral[place - 1] not in "零〇万亿")):
                return None
            section += (digit or 1) * _UNITS[char]
            digit = 0
        else:
            if not section + digit:
                return None
            total = total + (section + digit) * _BIG[char]
            section = digit = 0
    before = {**_UNITS, **_BIG}.get(numeral[-2:-1], 0)
    if digit and before > 10:
        digit *= before // 10  # 三千五: the unit of the last digit is left unsaid
    return total + section + digit


def read_numbers(text: str) -> Iterator[Decimal]:
    """The numbers of a text in digits beyond the digits themselves: 3万, 3点5, 百分之20, 负5, 两个半."""
    for match in re.finditer(rf"{_COUNT}([百千万亿])", text):
        yield Decimal(match[1]) * {**_UNITS, **_BIG}[match[2]]
    for match in re.finditer(r"(\d+)点(\d+)(?!\d|分)", text):
        yield Decimal(f"{match[1]}.{match[2]}")
    for match in re.finditer(rf"百分之{_COUNT}", text):
        yield Decimal(match[1]) / 100
    for match in re.finditer(rf"负{_COUNT}", text):
        yield -Decimal(match[1])
    for match in re.finditer(r"(\d+)[个天年小]半|(半)[个天年小]", text):
        yield Decimal(match[1] or 0) + Decimal("0.5")


def read_times(text: str) -> Iterator[tuple[int, int]]:
    """Hours and minutes said in a text in digits; without a time of day both halves of it."""
    for match in _TIME.finditer(text):
        hour, minute = int(match[2]), _minute(match[3])
        if hour > 24 or minute > 59:
            continue
        part = match[1]
        if part is None and hour <= 12:
            yield hour % 12, minute
            yield hour % 12 + 12, minute
        elif part is None or part in _MORNING or hour > 12:
            yield hour % 24, minute
        elif part == "中午":
            yield (hour if hour > 10 else hour + 12), minute
        else:
            yield (hour + 12 if hour < 12 else 0), minute
    for word, hour in (("中午", 12), ("正午", 12), ("午夜", 0), ("半夜", 0)):
        if word in text:
            yield hour, 0


def _minute(said: str | None) -> int:
    if not said:
        return 0
    return 30 if said == "半" else int(said[0]) * 15 if said.endswith("刻") else int(said)


def read_explicit_dates(text: str) -> Iterator[tuple[int | None, int, int]]:
    """Year (None if unsaid), month and day of each `3月5日` in a text in digits."""
    for match in _DATE.finditer(text):
        yield int(match[1]) if match[1] else None, int(match[2]), int(match[3])


def read_relative_dates(text: str, today: datetime.date) -> Iterator[datetime.date]:
    """The dates that a text in digits means when it is said today."""
    for pattern, distance in _NEAR:
        if re.search(pattern, text):
            yield from shift_days(today, distance)
    for match in _WEEKDAY.finditer(text):
        number = 6 if match[2] in "日天" else int(match[2]) - 1
        # "周五" alone may be of this week or of the next one.
        for weeks in (_WEEKS[match[1]],) if match[1] else (-1, 0, 1):
            yield from days_of_week(today, weeks, number)
    for match in _WHOLE_WEEK.finditer(text):
        yield from days_of_week(today, _WEEKS[match[1]])
    if re.search(r"周末|这?个?礼拜[67天]", text):
        yield from weekends(today)
    yield from _spans(text, today)
    if re.search(r"[下本这]个?月|月[底初末]", text):
        yield from this_and_next_month(today)
    for match in _DAY.finditer(text):
        yield from day_of_month(today, int(match[1]))


def _spans(text: str, today: datetime.date) -> Iterator[datetime.date]:
    """三天后, 两周前, 半个月后, 一年后; `2031年` is none."""
    for match in _SPAN.finditer(text):
        unit, sign = match[3], -1 if match[4] == "前" else 1
        half = match[1] == "半"
        count = 0 if half else int(match[1])
        if unit in _UNIT_DAYS:
            yield from shift_days(today, sign * count * _UNIT_DAYS[unit])
        elif unit == "个月":
            yield from shift_days(today, sign * 15) if half else shift_months(today, sign * count)
        elif match[4]:
            yield from shift_months(today, sign * (6 if half else 12 * count))
