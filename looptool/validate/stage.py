"""The stage itself: rules, duplicates, then the review of what is left (method, section 2)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from looptool.chat import Teacher
from looptool.config import ValidateConfig
from looptool.errors import ConfigError
from looptool.records import Record, Rejection, Sample
from looptool.validate.calls import Violation
from looptool.validate.review import review_samples
from looptool.validate.rules import check_sample, find_duplicates


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
    if config.review and teacher is None:
        raise ConfigError(
            "validate.review = true needs a teacher; configure one or set it to false"
        )
    found: dict[int, list[Violation]] = {}
    for number, sample in enumerate(samples):
        if violations := check_sample(sample, grounding=config.grounding):
            found[number] = violations
    valid = [number for number in range(len(samples)) if number not in found]
    for place, twin in find_duplicates([samples[number] for number in valid]).items():
        found[valid[place]] = [Violation("duplicate", "", f"says the same as {twin}")]
    conversations = 0
    if config.review and teacher is not None:
        left = [number for number in valid if number not in found]
        reviews, conversations = await review_samples([samples[n] for n in left], teacher)
        found |= {n: [review] for n, review in zip(left, reviews, strict=True) if review}
    return _sort_out(samples, found, conversations, stage)


def _sort_out(
    samples: Sequence[Sample], found: dict[int, list[Violation]], conversations: int, stage: str
) -> ValidationOutcome:
    kept = tuple(sample for number, sample in enumerate(samples) if number not in found)
    rejected = tuple(
        make_rejection(samples[number], found[number], stage) for number in sorted(found)
    )
    rules = Counter(rejection.rule for rejection in rejected)
    report = ValidationReport(
        samples_in=len(samples),
        kept=len(kept),
        rejected=len(rejected),
        by_rule=dict(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
        kept_by_kind=_count_kinds(kept),
        rejected_by_kind=_count_kinds([samples[number] for number in sorted(found)]),
        conversations_reviewed=conversations,
    )
    return ValidationOutcome(kept, rejected, report)


def make_rejection(sample: Sample, violations: Sequence[Violation], stage: str) -> Rejection:
    """The sample's rejection by the first violation; its detail names the others too."""
    return Rejection(
        stage=stage,
        row_id=sample.sample_id,
        rule=violations[0].rule,
        detail="; ".join(map(str, violations)),
        row=sample.model_dump(mode="json"),
    )


def _count_kinds(samples: Sequence[Sample]) -> dict[str, int]:
    return dict(sorted(Counter(str(sample.kind) for sample in samples).items()))
