"""The stage itself: rules, duplicates, then the review of what is left (method, section 2)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from looptool.chat import Teacher
from looptool.config import ValidateConfig
from looptool.errors import ConfigError, TeacherRefused, shorten
from looptool.records import Record, Rejection, Sample
from looptool.validate.calls import Violation
from looptool.validate.review import group_conversations, review_samples
from looptool.validate.rules import check_sample, find_duplicates

HANDFUL = 8
"""Samples that may all be refused by an endpoint that is known to work."""


class ValidationReport(Record):
    """Counts of one validation."""

    samples_in: int
    kept: int
    rejected: int
    by_rule: dict[str, int]
    """Rejected samples by the first rule that each broke, most frequent first."""
    kept_by_kind: dict[str, int]
    rejected_by_kind: dict[str, int]
    conversations_reviewed: int
    """Requests to the reviewer; samples of one dialogue share one."""


@dataclass(frozen=True, slots=True)
class ValidationOutcome:
    """Kept and rejected samples, each in the order in which they came."""

    kept: tuple[Sample, ...]
    rejected: tuple[Rejection, ...]
    report: ValidationReport


async def validate_samples(
    samples: Sequence[Sample], config: ValidateConfig, teacher: Teacher | None, *, stage: str
) -> ValidationOutcome:
    """Checks each sample by rules, drops repetitions, and has the rest reviewed if `config.review`.

    `stage` names the rejecting stage in the rejections. Raises ConfigError for a review without a
    teacher.
    """
    found = find_violations(samples, config)
    return await review_part(samples, found, config, teacher, stage=stage)


def find_violations(
    samples: Sequence[Sample], config: ValidateConfig
) -> dict[int, list[Violation]]:
    """What the rules have against samples, by their positions; of repetitions, the first is fine."""
    found: dict[int, list[Violation]] = {}
    for number, sample in enumerate(samples):
        if violations := check_sample(sample, grounding=config.grounding):
            found[number] = violations
    valid = [number for number in range(len(samples)) if number not in found]
    for place, twin in find_duplicates([samples[number] for number in valid]).items():
        found[valid[place]] = [Violation("duplicate", "", f"says the same as {twin}")]
    return found


async def review_part(
    samples: Sequence[Sample],
    found: Mapping[int, list[Violation]],
    config: ValidateConfig,
    teacher: Teacher | None,
    *,
    stage: str,
    proven: bool = False,
) -> ValidationOutcome:
    """Reviews those samples against which nothing was found, and sorts out all of them.

    With `proven` the endpoint is known to answer: when it refuses a handful of conversations, the
    fault is with them. Raises ConfigError for a review without a teacher.
    """
    if not config.review:
        return _sort_out(samples, found, 0, stage)
    if teacher is None:
        raise ConfigError(
            "validate.review = true needs a teacher; configure one or set it to false"
        )
    left = [number for number in range(len(samples)) if number not in found]
    reviews, conversations = await _review([samples[n] for n in left], teacher, proven)
    bad = {n: [review] for n, review in zip(left, reviews, strict=True) if review}
    return _sort_out(samples, {**found, **bad}, conversations, stage)


async def _review(
    samples: Sequence[Sample], teacher: Teacher, proven: bool
) -> tuple[Sequence[Violation | None], int]:
    try:
        return await review_samples(samples, teacher)
    except TeacherRefused as refusal:
        if not proven or len(samples) > HANDFUL:
            raise
        detail = f"no readable review: {shorten(refusal, 300)}"
        count = len(group_conversations(samples)[0])
        return [Violation("unreviewed", "", detail) for _ in samples], count


def cut_parts(samples: Sequence[Sample], size: int) -> list[range]:
    """Positions of the samples in parts of at most `size` dialogues; one is never cut in two.

    Samples of one dialogue share one review, so they must stay together.
    """
    starts = [
        number
        for number, sample in enumerate(samples)
        if not number or sample.dialogue_id != samples[number - 1].dialogue_id
    ]
    borders = [*starts[::size], len(samples)]
    return [range(first, last) for first, last in pairwise(borders)]


def _sort_out(
    samples: Sequence[Sample], found: Mapping[int, list[Violation]], conversations: int, stage: str
) -> ValidationOutcome:
    kept = tuple(sample for number, sample in enumerate(samples) if number not in found)
    rejected = tuple(
        make_rejection(samples[number], found[number], stage) for number in sorted(found)
    )
    return ValidationOutcome(kept, rejected, summarise(kept, rejected, conversations))


def summarise(
    kept: Sequence[Sample], rejected: Sequence[Rejection], conversations: int
) -> ValidationReport:
    """The counts of what was kept and rejected."""
    rules = Counter(rejection.rule for rejection in rejected)
    return ValidationReport(
        samples_in=len(kept) + len(rejected),
        kept=len(kept),
        rejected=len(rejected),
        by_rule=dict(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
        kept_by_kind=_count_kinds([sample.kind for sample in kept]),
        rejected_by_kind=_count_kinds([rejection.row["kind"] for rejection in rejected]),
        conversations_reviewed=conversations,
    )


def make_rejection(sample: Sample, violations: Sequence[Violation], stage: str) -> Rejection:
    """The sample's rejection by the first violation; its detail names the others too."""
    return Rejection(
        stage=stage,
        row_id=sample.sample_id,
        rule=violations[0].rule,
        detail="; ".join(map(str, violations)),
        row=sample.model_dump(mode="json"),
    )


def _count_kinds(kinds: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, kinds)).items()))
