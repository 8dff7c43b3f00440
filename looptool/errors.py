"""Every exception of LoopTool, and whether trying again can help.

    LoopToolError
    ├── ConfigError            a profile, a TOML key or a parameter is wrong
    ├── DataError              an input document or a row breaks its contract
    ├── CampaignError          the campaign's state forbids what was asked
    ├── StoreError             the object store refused (retryable)
    │   ├── ArtifactMissing    a reference points at nothing
    │   └── ArtifactCorrupt    bytes and manifest disagree
    ├── TeacherError           the teacher endpoint
    │   ├── TeacherUnavailable no answer: 429, 5xx, time-out, broken connection (retryable)
    │   ├── TeacherRefused     the endpoint understood and said no (401, 404, content filter)
    │   └── TeacherMalformed   it answered, but not in the shape asked for
    ├── BudgetExceeded         the spending limit of the campaign is reached
    ├── EngineError            the policy engine or its process died (retryable)
    ├── TrainingError          the trainer's process failed (retryable)
    └── BenchmarkError         a benchmark's own program failed or took too long

Bad *data* inside a batch is a record (`Rejection`, a parse error, `unjudged`), never an exception: an
exception means that the world is broken. Each class takes one positional message, so that it survives
pickling between processes. A message says what failed, where, the value seen, what was expected and
what to do next; it never holds a secret or a whole dialogue.
"""

from typing import ClassVar


class LoopToolError(Exception):
    """Base of all errors raised on purpose; `retryable` says whether the same call may succeed later."""

    retryable: ClassVar[bool] = False


class ConfigError(LoopToolError):
    """A profile, a TOML key or a flow parameter is wrong."""


class DataError(LoopToolError):
    """An input document or a row breaks its contract."""


class CampaignError(LoopToolError):
    """The campaign's recorded state forbids what was asked."""


class StoreError(LoopToolError):
    """The object store refused an operation."""

    retryable = True


class ArtifactMissing(StoreError):
    """A reference points at an artifact that is not there."""

    retryable = False


class ArtifactCorrupt(StoreError):
    """The stored bytes do not fit the manifest."""

    retryable = False


class TeacherError(LoopToolError):
    """Something about the teacher endpoint."""


class TeacherUnavailable(TeacherError):
    """No usable answer for infrastructure reasons: 429, 5xx, time-out, broken connection."""

    retryable = True


class TeacherRefused(TeacherError):
    """The endpoint understood the request and declined it."""


class TeacherMalformed(TeacherError):
    """The endpoint answered, but not in the shape that was asked for."""


class BudgetExceeded(LoopToolError):
    """The campaign's spending limit is reached; what was committed stays."""


class EngineError(LoopToolError):
    """The policy engine, or the process that it runs in, failed."""

    retryable = True


class TrainingError(LoopToolError):
    """The trainer's process failed."""

    retryable = True


class BenchmarkError(LoopToolError):
    """The program of a published benchmark failed, or took longer than it may."""


def shorten(value: object, limit: int = 120) -> str:
    """The value as one line of at most `limit` characters, for error messages."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
