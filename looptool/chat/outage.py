"""Is a failed request the misfortune of one row, or is the endpoint down?

A stage that asks thousands of questions records a few that went unanswered. When many did,
recording them would turn an outage into data, so the stage fails instead and is run again.
"""

from collections.abc import Sequence

from looptool.errors import TeacherError, TeacherMalformed, TeacherRefused, TeacherUnavailable

TOLERATED_RATE = 0.05
"""Largest share of a stage's questions that may go unanswered for infrastructure reasons."""


def raise_if_down(failures: Sequence[TeacherError], asked: int) -> None:
    """Raises the first failure of the kind that speaks of the endpoint rather than of a row.

    That is: nothing but refusals (a wrong key, a wrong model), or more than `TOLERATED_RATE` of the
    questions unanswered for infrastructure reasons. Malformed replies always belong to their rows.
    """
    refused = [error for error in failures if isinstance(error, TeacherRefused)]
    unavailable = [error for error in failures if isinstance(error, TeacherUnavailable)]
    malformed = [error for error in failures if isinstance(error, TeacherMalformed)]
    if asked and len(refused) == asked:
        raise refused[0]
    answered = asked - len(refused) - len(unavailable) - len(malformed)
    if unavailable and (not answered or len(unavailable) > max(1, TOLERATED_RATE * asked)):
        raise unavailable[0]
