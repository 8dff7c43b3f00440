"""The string formats that count, and nothing that depends on which optional packages are installed.

jsonschema checks a format only where its helper package happens to be there; a verdict that changes
from one machine to the next would be no rule. Formats that are not listed here are not checked.
"""

import datetime
import ipaddress
import re
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from jsonschema import FormatChecker

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?([zZ]|[+-]\d{2}:\d{2})?")


def is_date(text: str) -> bool:
    """`2031-03-05`, a day that exists."""
    return bool(_DATE.fullmatch(text)) and _is_iso(datetime.date.fromisoformat, text)


def is_time(text: str) -> bool:
    """`15:00`, with seconds and an offset or without: services take both, RFC 3339 does not."""
    return bool(_TIME.fullmatch(text)) and _is_iso(datetime.time.fromisoformat, text.upper())


def is_date_time(text: str) -> bool:
    """A date, `T` or a blank, and a time."""
    return len(text) > 11 and text[10] in "Tt " and is_date(text[:10]) and is_time(text[11:])


def _is_uri(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", text)


def _is_iso(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


_CHECKS: dict[str, Callable[[str], object]] = {
    "date": is_date,
    "time": is_time,
    "date-time": is_date_time,
    "email": _EMAIL.fullmatch,
    "uri": _is_uri,
    "uuid": lambda text: uuid.UUID(text) and len(text) == 36,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
}


def make_format_checker() -> FormatChecker:
    """The checker for jsonschema; values that are no strings pass every format."""
    checker = FormatChecker(formats=())
    for name, check in _CHECKS.items():
        checker.checks(name, raises=ValueError)(
            lambda value, check=check: not isinstance(value, str) or bool(check(value))
        )
    return checker
