"""Whether the judge may change labels: only while its measured precision is above the floor.

A wrong LABEL_WRONG makes the model's error the label, and the seed of four more samples; the paper
has no guard against it.
"""

from collections.abc import Iterable, Iterator

from looptool.config import JudgeConfig
from looptool.judge.precision import Precision
from looptool.records import Judgement, Record

UNMEASURED = "nothing was measured: too few planted pairs, or no LABEL_WRONG to measure"


class Trust(Record):
    """Whether labels are replaced in this round."""

    trusted: bool
    reason: str


def decide_trust(precision: Precision | None, config: JudgeConfig) -> Trust:
    """By the lower bound of the precision of LABEL_WRONG; None: nothing was measured."""
    floor = config.precision_floor
    if not floor:
        return Trust(
            trusted=True, reason="judge.precision_floor is 0: nothing is asked of the judge"
        )
    if precision is None:
        return Trust(trusted=False, reason=UNMEASURED)
    found = (
        f"precision of LABEL_WRONG {precision.estimate:.3f}, 95% interval {precision.low:.3f} to "
        f"{precision.high:.3f}"
    )
    if precision.low >= floor:
        return Trust(trusted=True, reason=f"{found}; judge.precision_floor is {floor:g}")
    return Trust(trusted=False, reason=f"{found}: below judge.precision_floor {floor:g}")


def apply_trust(
    judgements: Iterable[Judgement], config: JudgeConfig, trust: Trust
) -> Iterator[Judgement]:
    """The judgements with their proposed labels applied or withheld; applying it again is no change."""
    note = "" if trust.trusted else f"label not replaced: {trust.reason}"
    if not config.replace_labels:
        note = "label not replaced: judge.replace_labels is off"
    for judgement in judgements:
        proposed = judgement.proposed_label
        if proposed is None:
            yield judgement
        else:
            new_label = None if note else proposed
            yield judgement.model_copy(update={"new_label": new_label, "note": note})
