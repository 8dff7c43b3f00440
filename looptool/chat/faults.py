"""What goes wrong between the client and an endpoint, by type."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Literal

from looptool.errors import TeacherError, TeacherMalformed, TeacherRefused, TeacherUnavailable

FaultKind = Literal["rate_limited", "server_error", "timeout", "connection", "malformed", "refused"]

_AWAY = (502, 503, 504, 529)
_BUSY = (408, 409, 425)


@dataclass(frozen=True, slots=True)
class Fault:
    """One attempt that gave no reply."""

    kind: FaultKind
    message: str
    retry_after_s: float | None = None
    """Pause that the endpoint asks for."""
    outage: bool = False
    """Whether it says nothing of the request: the same one may succeed when the endpoint is back."""

    def as_error(self, why: str = "") -> TeacherError:
        """The exception of a call that is given up; `why` it was not tried again."""
        message = f"{self.message}; {why}" if why else self.message
        if self.kind == "refused":
            return TeacherRefused(message)
        return (TeacherMalformed if self.kind == "malformed" else TeacherUnavailable)(message)


def read_status(
    status: int, text: str, headers: Mapping[str, str], said: str, key_name: str
) -> Fault:
    """The fault of an HTTP status; `said` is the answer's text fit to be shown."""
    message = f"HTTP {status} from the teacher: {said}"
    if status == 429:
        if "insufficient_quota" in text:
            return Fault("refused", message)
        return Fault("rate_limited", message, read_retry_after(headers), outage=True)
    if status in _BUSY or status >= 500:
        away = status in _AWAY
        return Fault("server_error", message, read_retry_after(headers), outage=away)
    if 300 <= status < 400:
        message += "; it redirects: set teacher.base_url to the address that it names"
    elif status in (401, 403):
        message += f"; is the key in the environment variable {key_name} right?"
    elif status == 404:
        message += "; check teacher.base_url and teacher.model"
    return Fault("refused", message)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait; None if it does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(0.0, seconds) if seconds < float("inf") else None
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time())
    except (KeyError, ValueError, TypeError):
        return None
