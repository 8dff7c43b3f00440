"""What the store holds of one campaign: its rounds, the artifacts that count, columns of their tables.

Artifacts are found by listing the campaign's folder, not by the addresses in its records, so a copied
or moved store reads the same. Of several artifacts of one stage the one counts that the iteration's
record was built from; without a record, the newest. What cannot be read becomes a note on the page.
"""

import io
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl
from pydantic import ValidationError

from looptool.artifacts import MANIFEST, Manifest, Store, sha256_of
from looptool.campaign import Campaign, CampaignFile, IterationRecord
from looptool.errors import ArtifactCorrupt, CampaignError, LoopToolError, shorten
from looptool.records import JsonObject

Columns = Mapping[str, type[pl.DataType]]
"""Column -> type that it is read as; a column that a table lacks is null."""


@dataclass(frozen=True, slots=True)
class Found:
    """One committed artifact."""

    iteration: int
    uri: str
    manifest: Manifest

    @property
    def stats(self) -> JsonObject:
        """Counts and timings of the stage."""
        return self.manifest.stats

    def rows(self, table: str) -> int:
        """Rows of one of its tables."""
        return self.manifest.rows().get(table, 0)


@dataclass
class Lake:
    """One campaign on a store; raises CampaignError if there is none of that name."""

    store: Store
    name: str
    notes: list[str] = field(default_factory=list)
    """What could not be read, for the page."""

    def __post_init__(self) -> None:
        self.campaign = Campaign(self.store, self.name)
        if self.store.get(self.store.path("campaigns", self.name, "campaign.json")) is None:
            raise CampaignError(
                f"no campaign {self.name} below {self.store.root}; give the store's root with --root"
            )

    @cached_property
    def records(self) -> Sequence[IterationRecord]:
        """Records of the complete iterations."""
        try:
            return self.campaign.complete()
        except LoopToolError as exc:
            self.note(f"the iteration records: {exc}")
            return []

    @cached_property
    def settings(self) -> JsonObject:
        """The campaign's settings, flat: dotted key -> value."""
        data = self.store.get(self.store.path("campaigns", self.name, "campaign.json"))
        try:
            return CampaignFile.model_validate_json(data or b"").settings
        except ValidationError as exc:
            self.note(f"campaign.json: {shorten(exc)}")
            return {}

    @cached_property
    def artifacts(self) -> Sequence[Found]:
        """Every committed artifact, oldest first."""
        found = []
        pattern = self.store.path("campaigns", self.name, "iterations", "*", "*", "*", MANIFEST)
        for path in sorted(str(p) for p in self.store.fs.glob(pattern)):
            folder = posixpath.dirname(path)
            number = posixpath.basename(posixpath.dirname(posixpath.dirname(folder)))
            uri = str(self.store.fs.unstrip_protocol(folder))
            try:
                manifest = self.store.read_manifest(uri)
            except LoopToolError as exc:
                self.note(str(exc))
                continue
            if manifest is not None and number.isdecimal():
                found.append(Found(int(number), uri, manifest))
        return sorted(found, key=lambda f: f.manifest.created_at)

    @cached_property
    def rounds(self) -> Sequence[int]:
        """Numbers of the iterations that have begun, without the seed phase."""
        return sorted({f.iteration for f in self.artifacts if f.iteration > 0})

    def is_complete(self, number: int) -> bool:
        """Whether the iteration has ended."""
        return number <= len(self.records)

    def stage(self, number: int, stage: str) -> Found | None:
        """The artifact of a stage that counts, or None."""
        made = [f for f in self.artifacts if f.iteration == number and f.manifest.stage == stage]
        used = self._used.get(number, frozenset())
        return next((f for f in reversed(made) if f.manifest.digest() in used), None) or (
            made[-1] if made else None
        )

    def all_of(self, number: int, stage: str) -> Sequence[Found]:
        """All artifacts of a stage; the seed phase makes some stages once a round of its own."""
        return [f for f in self.artifacts if f.iteration == number and f.manifest.stage == stage]

    def dataset(self, number: int) -> Found | None:
        """D_j, table `samples`."""
        return self.stage(number - 1, "merge") if number > 1 else self.stage(0, "dataset")

    @cached_property
    def _used(self) -> Mapping[int, frozenset[str]]:
        """Iteration -> digests of the artifacts that its record was built from."""
        inputs = {f.manifest.digest(): set(f.manifest.inputs.values()) for f in self.artifacts}

        def reach(*ends: str) -> frozenset[str]:
            seen: set[str] = set()
            todo = list(ends)
            while todo:
                digest = todo.pop()
                if digest not in seen:
                    seen.add(digest)
                    todo += inputs.get(digest, ())
            return frozenset(seen)

        used = {
            record.iteration: reach(record.next_dataset.digest, record.scores.digest)
            for record in self.records
        }
        first = self.records[0].dataset.digest if self.records else ""
        return used | {0: reach(first)}

    def read(self, found: Found | None, table: str, columns: Columns) -> pl.DataFrame:
        """Columns of one table, in order of its parts; empty if there is no such table."""
        frames = [pl.DataFrame(schema=dict(columns))]
        if found is not None:
            try:
                frames += self._parts(found, table, columns)
            except (LoopToolError, OSError, pl.exceptions.PolarsError) as exc:
                self.note(f"table {table} of {found.manifest.stage}: {shorten(exc, 200)}")
        return pl.concat(frames)

    def _parts(self, found: Found, table: str, columns: Columns) -> Iterator[pl.DataFrame]:
        for part in found.manifest.parts:
            if part.table != table:
                continue
            where = posixpath.join(found.uri, part.path)
            data = self.store.get(self.store.strip(where))
            if data is None or sha256_of(data) != part.sha256:
                raise ArtifactCorrupt(f"part {where} is gone or was changed")
            there = pl.read_parquet_schema(io.BytesIO(data))
            frame = pl.read_parquet(io.BytesIO(data), columns=[c for c in columns if c in there])
            yield frame.select(
                (pl.col(name) if name in there else pl.lit(None)).cast(kind).alias(name)
                for name, kind in columns.items()
            )

    def note(self, text: str) -> None:
        """Remember what could not be read, once."""
        if text not in self.notes:
            self.notes.append(text)
