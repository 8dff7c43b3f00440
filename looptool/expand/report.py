"""What an expansion yielded, counted from its rows: every attempt ended as a sample or as a rejection."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from looptool.expand.seeds import ErrorSeed
from looptool.records import Record, Rejection, Sample


class Yield(Record):
    """Counts of the attempts on some of the error seeds."""

    seeds: int
    wanted: int
    """k new samples for each seed."""
    attempted: int
    """Requests for a new sample; each was accepted or rejected."""
    accepted: int
    short_seeds: int
    """Seeds with fewer than k accepted samples after all attempts."""
    rejected: dict[str, int]
    """By rule, most frequent first."""


class ExpandReport(Yield):
    """Counts of one round's expansion."""

    by_error_type: dict[str, Yield]
    """By what the judge calls the error of the seed."""
    by_kind: dict[str, Yield]
    """By kind of the seed."""
    by_verdict: dict[str, Yield]
    """`PRED_WRONG` with its label, `LABEL_WRONG` with the new one."""
    accepted_by_kind: dict[str, int]
    """By kind of the new sample."""


@dataclass(slots=True)
class _Family:
    """The rows of one seed."""

    seed: ErrorSeed
    accepted: int = 0
    rules: list[str] = field(default_factory=list)


def summarise(
    seeds: Sequence[ErrorSeed],
    samples: Sequence[Sample],
    rejections: Sequence[Rejection],
    per_seed: int,
) -> ExpandReport:
    """The report of all parts; rows name their seed as `parent_id`."""
    families = {seed.sample.sample_id: _Family(seed) for seed in seeds}
    for sample in samples:
        families[sample.parent_id].accepted += 1
    for rejection in rejections:
        families[rejection.row["parent_id"]].rules.append(rejection.rule)
    rows = list(families.values())
    kinds = Counter(sample.kind.value for sample in samples)
    return ExpandReport(
        **_count(rows, per_seed).model_dump(),
        by_error_type=_group(rows, per_seed, lambda seed: seed.error_type),
        by_kind=_group(rows, per_seed, lambda seed: seed.sample.kind.value),
        by_verdict=_group(rows, per_seed, lambda seed: seed.judgement.verdict),
        accepted_by_kind=dict(sorted(kinds.items())),
    )


def _group(
    rows: Sequence[_Family], per_seed: int, name: Callable[[ErrorSeed], str]
) -> dict[str, Yield]:
    groups: defaultdict[str, list[_Family]] = defaultdict(list)
    for row in rows:
        groups[name(row.seed)].append(row)
    return {key: _count(groups[key], per_seed) for key in sorted(groups)}


def _count(rows: Sequence[_Family], per_seed: int) -> Yield:
    rules = Counter(rule for row in rows for rule in row.rules)
    accepted = sum(row.accepted for row in rows)
    return Yield(
        seeds=len(rows),
        wanted=len(rows) * per_seed,
        attempted=accepted + rules.total(),
        accepted=accepted,
        short_seeds=sum(row.accepted < per_seed for row in rows),
        rejected=dict(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
    )
