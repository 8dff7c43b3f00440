"""The family of one sample: where it came from, what was found out about it, what became of it.

A correction is a new sample about the same decision, an expansion is another conversation. Those that
correct each other are one line: what the probe and the judge said about any of them is shown together.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from looptool.artifacts import ArtifactRef, Store
from looptool.campaign import Campaign, Retraction, standing
from looptool.decisions import relabel
from looptool.errors import DataError
from looptool.lineage.difference import Difference, compare_labels
from looptool.lineage.identify import identify
from looptool.lineage.rounds import Round, Timeline, read_timeline
from looptool.lineage.tables import among, read_columns, read_rows
from looptool.records import Judgement, Label, Play, ProbeResult, Record, Rejection, Sample
from looptool.schema import Fate

How = Literal["seed", "correction", "expansion"]


class Member(Record):
    """One sample of a family."""

    sample_id: str
    parent_id: str
    how: How
    """How it came from its parent."""
    born_in: int
    kind: str
    label: Label
    datasets: dict[int, str]
    """Its origin by the number of each D_j that holds it."""
    last_fate: str
    """Fate and reason at the last merge that looked at it; empty if none did."""
    retracted: bool


class Probed(Record):
    """One greedy answer of M_j."""

    iteration: int
    result: ProbeResult


class Judged(Record):
    """One finding of the judge, with its votes."""

    iteration: int
    judgement: Judgement


class Settled(Record):
    """What a merge did with a sample."""

    makes: int
    """Number of the dataset that was made."""
    fate: Fate


class Change(Record):
    """A label that the judge found wrong, with what it says instead and why that was applied or not."""

    iteration: int
    sample_id: str
    """The sample with the old label; it never changes."""
    corrected_id: str
    """The sample with the new label; empty if nothing was replaced."""
    old: Label
    new: Label
    difference: tuple[Difference, ...]
    applied: bool
    retracted: bool
    """A person has taken the new label back."""
    note: str
    """Why it was withheld."""


class Explanation(Record):
    """Everything that is known about one sample."""

    campaign: str
    sample: Sample
    """With the origin that it had first."""
    plays: tuple[Play, ...]
    """The dialogue that the family's seed was cut from; empty if its artifact is gone."""
    rejection: Rejection | None
    """Why validation turned it away, if it did."""
    family: tuple[Member, ...]
    """Seed first, then by generation."""
    line: tuple[str, ...]
    """The samples about this very decision, oldest label first."""
    probes: tuple[Probed, ...]
    """Of the line, by iteration."""
    judgements: tuple[Judged, ...]
    """Of the line, by iteration."""
    changes: tuple[Change, ...]
    """Of the line, by iteration."""
    fates: tuple[Settled, ...]
    """Of the line, by dataset."""
    retractions: tuple[Retraction, ...]
    """Retractions and undos that name a sample of the family, oldest first."""

    def member(self, sample_id: str) -> Member:
        """One of the family."""
        return next(member for member in self.family if member.sample_id == sample_id)


def explain(campaign: Campaign, sample_id: str) -> Explanation:
    """The explanation of one sample, named by its id or the beginning of it.

    Raises DataError when no sample, or more than one, is called so.
    """
    timeline = read_timeline(campaign)
    return _Search(timeline, campaign.retractions()).explain(identify(timeline, sample_id))


@dataclass(slots=True)
class _Row:
    """What a tree needs to know of a sample."""

    sample_id: str
    parent_id: str
    dialogue_id: str
    kind: str
    born_in: int
    label: Label


_COLUMNS = ["sample_id", "parent_id", "dialogue_id", "kind", "born_in", "label"]


@dataclass(slots=True)
class _Search:
    """Reads one family out of a campaign."""

    timeline: Timeline
    retractions: Sequence[Retraction]
    _rows: dict[str, _Row] = field(default_factory=dict)
    _verdicts: list[Judged] = field(default_factory=list)

    def explain(self, sample_id: str) -> Explanation:
        sample, rejection = self._find(sample_id)
        root_id = sample.root_id or sample.sample_id
        self._collect(root_id, sample)
        ids = set(self._rows)
        self._verdicts = list(self._read_judgements(ids))
        self._add_corrections()
        ids = set(self._rows)
        line = self._line(sample_id)
        fates = self._fates(ids)
        own = [judged for judged in self._verdicts if judged.judgement.sample_id in line]
        return Explanation(
            campaign=self.timeline.campaign,
            sample=sample,
            plays=tuple(self._plays(root_id)),
            rejection=rejection,
            family=tuple(self._members(root_id, fates)),
            line=tuple(line),
            probes=tuple(self._probes(line)),
            judgements=tuple(own),
            changes=tuple(self._changes(own)),
            fates=tuple(settled for settled in fates if settled.fate.sample_id in line),
            retractions=tuple(r for r in self.retractions if ids & set(r.samples)),
        )

    def _sources(self) -> Iterator[tuple[ArtifactRef, str]]:
        """Tables of samples, those that hold a sample first before those that hold it again."""
        if self.timeline.pool:
            yield self.timeline.pool, "samples"
            yield self.timeline.pool, "surplus"
        for one in self.timeline.rounds:
            if one.grown:
                yield one.grown, "samples"
            if one.checked:
                yield one.checked, "samples"
        for dataset in self.timeline.datasets().values():
            yield dataset, "samples"

    def _find(self, sample_id: str) -> tuple[Sample, Rejection | None]:
        store = self.timeline.store
        rejection = self._rejection(sample_id)
        for ref, table in self._sources():
            if rows := read_rows(store, ref, table, pl.col("sample_id") == sample_id, Sample):
                return rows[0], rejection
        if rejection is not None:
            return Sample.model_validate(rejection.row), rejection
        for one in self.timeline.rounds:
            for _, corrected in corrections(self.timeline.store, one):
                if corrected.sample_id == sample_id:
                    return corrected, None
        raise DataError(f"sample {sample_id} has a fate, but the artifact that it stood in is gone")

    def _rejection(self, sample_id: str) -> Rejection | None:
        rounds = self.timeline.rounds
        checks = [*self.timeline.accepted, *(ref for r in rounds for ref in (r.grown, r.checked))]
        for ref in checks:
            where = pl.col("row_id") == sample_id
            for row in (
                read_rows(self.timeline.store, ref, "rejections", where, Rejection) if ref else []
            ):
                return row
        return None

    def _collect(self, root_id: str, sample: Sample) -> None:
        """Every sample of the family that stands in a table."""
        where = (pl.col("root_id") == root_id) | (pl.col("sample_id") == root_id)
        for ref, table in self._sources():
            frame = read_columns(self.timeline.store, ref, table, _COLUMNS, where)
            for row in frame.iter_rows(named=True):
                label = Label.model_validate_json(row.pop("label"))
                self._rows.setdefault(row["sample_id"], _Row(**row, label=label))
        self._add(sample)

    def _add(self, sample: Sample) -> None:
        self._rows.setdefault(
            sample.sample_id,
            _Row(
                sample.sample_id,
                sample.parent_id,
                sample.dialogue_id,
                sample.kind.value,
                sample.born_in,
                sample.label,
            ),
        )

    def _add_corrections(self) -> None:
        """Corrected samples that entered no dataset: they stand in no table, but can be made again."""
        changed = {j.judgement.sample_id for j in self._verdicts if j.judgement.new_label}
        for one in self.timeline.rounds:
            for _, corrected in corrections(self.timeline.store, one, changed):
                self._add(corrected)

    def _read_judgements(self, ids: Iterable[str]) -> Iterator[Judged]:
        wanted = among("sample_id", set(ids))
        for one in self.timeline.rounds:
            if one.verdicts:
                for row in read_rows(
                    self.timeline.store, one.verdicts, "judgements", wanted, Judgement
                ):
                    yield Judged(iteration=one.iteration, judgement=row)

    def _how(self, row: _Row) -> How:
        parent = self._rows.get(row.parent_id)
        if not row.parent_id:
            return "seed"
        same = parent is not None and parent.dialogue_id == row.dialogue_id
        return "correction" if same else "expansion"

    def _line(self, sample_id: str) -> list[str]:
        """The chain of corrections through a sample; where it forks, all branches, oldest first."""
        start = self._rows[sample_id]
        while self._how(start) == "correction":
            start = self._rows[start.parent_id]
        line = [start.sample_id]
        for known in line:  # grows while it is walked
            line += [
                row.sample_id
                for row in self._rows.values()
                if row.parent_id == known and self._how(row) == "correction"
            ]
        return line

    def _members(self, root_id: str, fates: Sequence[Settled]) -> Iterator[Member]:
        datasets = self._datasets(set(self._rows))
        last = {s.fate.sample_id: f"{s.fate.fate}: {s.fate.reason}" for s in fates}
        held = standing(self.retractions)
        for row in self._by_generation(root_id):
            yield Member(
                sample_id=row.sample_id,
                parent_id=row.parent_id,
                how=self._how(row),
                born_in=row.born_in,
                kind=row.kind,
                label=row.label,
                datasets=datasets.get(row.sample_id, {}),
                last_fate=last.get(row.sample_id, ""),
                retracted=row.sample_id in held or self._falls_with_ancestor(row, held),
            )

    def _falls_with_ancestor(self, row: _Row, held: dict[str, tuple[Retraction, ...]]) -> bool:
        parent = self._rows.get(row.parent_id)
        while parent is not None:
            if any(r.with_descendants for r in held.get(parent.sample_id, ())):
                return True
            parent = self._rows.get(parent.parent_id)
        return False

    def _by_generation(self, root_id: str) -> list[_Row]:
        ordered = [self._rows[root_id]] if root_id in self._rows else []
        rest = sorted(
            (row for row in self._rows.values() if row.sample_id != root_id),
            key=lambda row: (row.born_in, row.sample_id),
        )
        return ordered + rest

    def _datasets(self, ids: set[str]) -> dict[str, dict[int, str]]:
        found: dict[str, dict[int, str]] = {}
        for number, ref in self.timeline.datasets().items():
            frame = read_columns(
                self.timeline.store,
                ref,
                "samples",
                ["sample_id", "origin"],
                among("sample_id", ids),
            )
            for sample_id, origin in frame.iter_rows():
                found.setdefault(sample_id, {})[number] = origin
        return found

    def _fates(self, ids: set[str]) -> list[Settled]:
        made = self.timeline.datasets()
        return [
            Settled(makes=number, fate=fate)
            for number, ref in sorted(made.items())
            for fate in read_rows(self.timeline.store, ref, "fates", among("sample_id", ids), Fate)
        ]

    def _probes(self, line: Sequence[str]) -> Iterator[Probed]:
        wanted = among("sample_id", line)
        for one in self.timeline.rounds:
            if one.probes:
                for row in read_rows(
                    self.timeline.store, one.probes, "probes", wanted, ProbeResult
                ):
                    yield Probed(iteration=one.iteration, result=row)

    def _changes(self, judged: Sequence[Judged]) -> Iterator[Change]:
        held = standing(self.retractions)
        for one in judged:
            judgement = one.judgement
            new = judgement.new_label or judgement.proposed_label
            if judgement.verdict != "LABEL_WRONG" or new is None:
                continue
            old = self._rows[judgement.sample_id]
            child = self._corrected(old, new) if judgement.new_label else None
            yield Change(
                iteration=one.iteration,
                sample_id=old.sample_id,
                corrected_id=child.sample_id if child else "",
                old=old.label,
                new=new,
                difference=compare_labels(old.label, new),
                applied=judgement.new_label is not None,
                retracted=child is not None
                and (child.sample_id in held or self._falls_with_ancestor(child, held)),
                note=judgement.note,
            )

    def _corrected(self, old: _Row, new: Label) -> _Row | None:
        return next(
            (
                row
                for row in self._rows.values()
                if row.parent_id == old.sample_id
                and row.dialogue_id == old.dialogue_id
                and row.label == new
            ),
            None,
        )

    def _plays(self, root_id: str) -> Iterator[Play]:
        root = self._rows.get(root_id)
        for ref in self.timeline.played if root else ():
            where = pl.col("dialogue_id") == (root.dialogue_id if root else "")
            yield from read_rows(self.timeline.store, ref, "plays", where, Play)


def corrections(
    store: Store, one: Round, of: Iterable[str] | None = None
) -> list[tuple[Sample, Sample]]:
    """What the verdicts of a round correct, old and new; of all samples, or of some."""
    if one.verdicts is None:
        return []
    where = pl.col("new_label").is_not_null()
    if of is not None:
        where &= among("sample_id", set(of))
    judged = {
        judgement.sample_id: judgement
        for judgement in read_rows(store, one.verdicts, "judgements", where, Judgement)
    }
    samples = read_rows(store, one.dataset, "samples", among("sample_id", set(judged)), Sample)
    return [(s, relabel(s, judged[s.sample_id], one.iteration)) for s in samples]
