"""Two datasets of a campaign side by side: what entered, left and stayed, and whose label changed."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from looptool.artifacts import ArtifactRef, Store
from looptool.campaign import Campaign
from looptool.errors import CampaignError, shorten
from looptool.lineage.difference import Difference, compare_labels
from looptool.lineage.rounds import Timeline, read_timeline
from looptool.lineage.tables import among, read_columns, read_rows
from looptool.records import Label, Record, Sample

NO_FATE = "no fate on record"


class Counts(Record):
    """How many samples moved in which way."""

    stayed: int
    changed: int
    """In both, with another label."""
    entered: int
    left: int


class Example(Record):
    """One sample that moved."""

    sample_id: str
    """In the later dataset, where it is in it."""
    group: str
    """`changed`, `entered` or `left`."""
    kind: str
    why: str
    """Its origin, or why it left."""
    asked: str
    """The last thing that was said to the assistant."""
    label: Label
    difference: tuple[Difference, ...] = ()
    """From the old label to the new one."""


class DatasetDiff(Record):
    """From D_`before` to D_`after`."""

    campaign: str
    before: int
    after: int
    size_before: int
    """Is `stayed + changed + left`."""
    size_after: int
    """Is `stayed + changed + entered`."""
    total: Counts
    by_kind: dict[str, Counts]
    """By the later kind, where the sample is in both."""
    by_origin: dict[str, Counts]
    """By the later origin, where the sample is in both."""
    left_why: dict[str, int]
    """Those that left, by fate and reason."""
    changed_labels: tuple[tuple[str, str], ...]
    """Ids with the old and with the new label."""
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What the comparison needs to know of a sample."""

    kind: str = ""
    origin: str = ""
    parent_id: str = ""
    dialogue_id: str = ""


Rows = Mapping[str, Row]


@dataclass(frozen=True, slots=True)
class Moves:
    """Two sets of samples, taken apart; every list in alphabetical order."""

    stayed: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]
    """Before and after."""
    entered: tuple[str, ...]
    left: tuple[str, ...]


def find_moves(before: Iterable[str], after: Iterable[str], rows: Rows) -> Moves:
    """Each sample of both sets in exactly one list; `rows` knows them and what stood between.

    Two samples are one with another label when corrections lead from one to the other, either way.
    """
    old, new = set(before), set(after)
    leaving: dict[str, list[str]] = {}
    for name in sorted(old - new, reverse=True):
        leaving.setdefault(_first_of_line(name, rows), []).append(name)
    changed: list[tuple[str, str]] = []
    entered: list[str] = []
    for name in sorted(new - old):
        twins = leaving.get(_first_of_line(name, rows))
        if twins:
            changed.append((twins.pop(), name))
        else:
            entered.append(name)
    left = sorted(name for names in leaving.values() for name in names)
    return Moves(tuple(sorted(old & new)), tuple(changed), tuple(entered), tuple(left))


def _first_of_line(sample_id: str, rows: Rows) -> str:
    """The sample whose label was the first that this decision had, as far as it is known."""
    row = rows[sample_id]
    while (parent := rows.get(row.parent_id)) and parent.dialogue_id == row.dialogue_id:
        sample_id, row = row.parent_id, parent
    return sample_id


def parse_number(text: str, known: Iterable[int]) -> int:
    """The number of a dataset, from `D_2`, `D2` or `2`; CampaignError lists those that there are."""
    found = re.fullmatch(r"(?:[dD]_?)?(\d{1,6})", text.strip())
    numbers = sorted(known)
    if not found or int(found[1]) not in numbers:
        listed = ", ".join(f"D_{number}" for number in numbers) or "none yet"
        raise CampaignError(f"no dataset {shorten(text, 30)!r}; the campaign has {listed}")
    return int(found[1])


def compare_datasets(campaign: Campaign, before: str, after: str, show: int = 0) -> DatasetDiff:
    """What happened to the data from one dataset to a later one, with `show` examples of each group.

    Raises CampaignError for a dataset that does not exist, or when the first is not the earlier one.
    """
    timeline = read_timeline(campaign)
    datasets = timeline.datasets()
    first, last = (parse_number(text, datasets) for text in (before, after))
    if first >= last:
        raise CampaignError(f"D_{first} is not before D_{last}; name the earlier dataset first")
    between = {n: _read(timeline.store, ref) for n, ref in datasets.items() if first <= n <= last}
    rows = {name: row for number in sorted(between) for name, row in between[number].items()}
    moves = find_moves(between[first], between[last], rows)
    why = _why_left(timeline, first, last, moves.left)
    # A sample that left is counted as it was, one that is there as it is.
    now = {**between[first], **between[last]}
    return DatasetDiff(
        campaign=campaign.name,
        before=first,
        after=last,
        size_before=len(between[first]),
        size_after=len(between[last]),
        total=Counts(
            stayed=len(moves.stayed),
            changed=len(moves.changed),
            entered=len(moves.entered),
            left=len(moves.left),
        ),
        by_kind=_split(moves, {name: row.kind for name, row in now.items()}),
        by_origin=_split(moves, {name: row.origin for name, row in now.items()}),
        left_why=dict(sorted(Counter(_short(text) for text in why.values()).items())),
        changed_labels=moves.changed,
        examples=tuple(_examples(timeline, first, last, moves, why, show)),
    )


def _read(store: Store, ref: ArtifactRef) -> dict[str, Row]:
    columns = ["sample_id", "kind", "origin", "parent_id", "dialogue_id"]
    frame = read_columns(store, ref, "samples", columns)
    return {name: Row(*values) for name, *values in frame.iter_rows()}


def _split(moves: Moves, values: Mapping[str, str]) -> dict[str, Counts]:
    new = [name for _, name in moves.changed]
    groups = {
        "stayed": Counter(values[name] for name in moves.stayed),
        "changed": Counter(values[name] for name in new),
        "entered": Counter(values[name] for name in moves.entered),
        "left": Counter(values[name] for name in moves.left),
    }
    names = sorted({value for counter in groups.values() for value in counter})
    return {name: Counts(**{g: counter[name] for g, counter in groups.items()}) for name in names}


def _why_left(timeline: Timeline, first: int, last: int, left: Iterable[str]) -> dict[str, str]:
    """Fate and reason of each that left, by the last merge that let it go."""
    found = dict.fromkeys(left, NO_FATE)
    gone = among("sample_id", found) & (pl.col("fate") != "kept")
    for number, ref in sorted(timeline.datasets().items()):
        if first < number <= last:
            columns = ["sample_id", "fate", "reason"]
            for name, fate, reason in read_columns(
                timeline.store, ref, "fates", columns, gone
            ).iter_rows():
                found[name] = f"{fate}: {reason}"
    return found


def _short(why: str) -> str:
    """Fate and reason without the id of another sample in it."""
    return re.sub(r",? ?(now|of|descendant_of)? ?s-[0-9a-f]+.*", "", why).strip()


def _examples(
    timeline: Timeline, first: int, last: int, moves: Moves, why: Mapping[str, str], show: int
) -> Iterator[Example]:
    datasets = timeline.datasets()
    pairs = moves.changed[:show]
    entered, left = moves.entered[:show], moves.left[:show]
    earlier = _samples(timeline, datasets[first], [*left, *(old for old, _ in pairs)])
    later = _samples(timeline, datasets[last], [*entered, *(new for _, new in pairs)])
    for old, new in pairs:
        difference = compare_labels(earlier[old].label, later[new].label)
        yield _example("changed", later[new], f"was {old}", difference)
    for name in entered:
        yield _example("entered", later[name], later[name].origin.value)
    for name in left:
        yield _example("left", earlier[name], why[name])


def _samples(timeline: Timeline, ref: ArtifactRef, ids: Iterable[str]) -> dict[str, Sample]:
    rows = read_rows(timeline.store, ref, "samples", among("sample_id", set(ids)), Sample)
    return {sample.sample_id: sample for sample in rows}


def _example(
    group: str, sample: Sample, why: str, difference: tuple[Difference, ...] = ()
) -> Example:
    return Example(
        sample_id=sample.sample_id,
        group=group,
        kind=sample.kind.value,
        why=why,
        asked=sample.messages[-1].content if sample.messages else "",
        label=sample.label,
        difference=difference,
    )
