"""Where the rows of a merge come from: tables that can be read more than once, batch by batch.

A merge reads its rows twice: once for the narrow facts that it decides on (`looptool.merge.keys`), once
to write the rows that it kept. So rows are wide on disk and nowhere else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from looptool.records import (
    Judgement,
    ProbeResult,
    Record,
    Retracted,
    RolloutStat,
    Sample,
    Split,
)
from looptool.schema import to_table

BATCH_ROWS = 8192
"""Rows in memory at a time, per batch."""

Batches = Iterator[pa.RecordBatch]
NOTHING_RETRACTED = Retracted()


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one table, the same ones in the same order at each reading."""

    kind: str
    """Kind of `looptool.schema`."""
    read: Callable[[], Batches]

    def where(self, keep: Callable[[pa.RecordBatch], pa.Array]) -> "Source":
        """The rows for which `keep` gives true."""
        return Source(self.kind, lambda: (batch.filter(keep(batch)) for batch in self.read()))


def records_source(kind: str, records: Sequence[Record]) -> Source:
    """Records in memory as a source."""

    def read() -> Batches:
        for start in range(0, len(records), BATCH_ROWS):
            table = to_table(kind, records[start : start + BATCH_ROWS])
            yield from table.combine_chunks().to_batches()

    return Source(kind, read)


def chain_sources(kind: str, sources: Sequence[Source]) -> Source:
    """Several sources one after the other."""
    return Source(kind, lambda: (batch for source in sources for batch in source.read()))


def nothing(kind: str) -> Source:
    """A source without rows."""
    return records_source(kind, ())


@dataclass(frozen=True, slots=True)
class MergeSources:
    """Everything that the next dataset is made from, as tables."""

    pool: Source
    """Training seeds; those that some D so far has used are passed over."""
    current: Source
    """D_j."""
    probes: Source
    judgements: Source
    expansions: Source
    """Validated ones."""
    heldout: Source
    iteration: int
    """j; the result is D_{j+1}."""
    earlier: Sequence[Source] = ()
    """D_1 … D_{j-1}."""
    waiting: Source = field(default_factory=lambda: nothing("samples"))
    """What found no place in D_j: it enters when it was scouted and is of mixed outcome."""
    scouted: Source = field(default_factory=lambda: nothing("rollouts"))
    """How M_j did on expansions, waiting samples and unused seeds; those without a row are unknown."""
    retracted: Retracted = NOTHING_RETRACTED
    """What people have taken out: the result is as if it had never been."""

    def standing(self, source: Source) -> Source:
        """Samples of a source without the retracted ones."""
        if not self.retracted.samples:
            return source
        gone = pa.array(sorted(self.retracted.samples), pa.string())
        return source.where(lambda rows: pc.invert(pc.is_in(rows["sample_id"], value_set=gone)))

    def members(self) -> Source:
        """D_j as it stands: without what was retracted, with what comes back in its place."""
        current = self.standing(self.current)
        if not self.retracted.restored:
            return current
        return chain_sources("samples", [current, Source("samples", self._restored)])

    def _restored(self) -> Batches:
        waiting = set(self.retracted.restored)
        for source in reversed(self.earlier):
            for batch in source.read():
                ids = batch["sample_id"].to_pylist()
                places = [n for n, name in enumerate(ids) if name in waiting]
                waiting.difference_update(ids[n] for n in places)
                if places:
                    yield batch.take(pa.array(places))


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """The same as records."""

    pool: Sequence[Sample]
    """Training seeds that no D so far has used."""
    current: Sequence[Sample]
    """D_j."""
    probes: Sequence[ProbeResult]
    judgements: Sequence[Judgement]
    expansions: Sequence[Sample]
    """Validated ones."""
    heldout: Sequence[Sample]
    iteration: int
    """j; the result is D_{j+1}."""
    earlier: Sequence[Sample] = ()
    """Samples of D_1 … D_{j-1}."""
    waiting: Sequence[Sample] = ()
    """What found no place in D_j."""
    scouted: Sequence[RolloutStat] = ()
    """How M_j did on expansions, waiting samples and unused seeds; those without a row are unknown."""
    retracted: Retracted = NOTHING_RETRACTED
    """What people have taken out: the result is as if it had never been."""

    def as_sources(self) -> MergeSources:
        """The records as tables."""
        return MergeSources(
            pool=records_source("samples", self.pool),
            current=records_source("samples", self.current),
            probes=records_source("probes", self.probes),
            judgements=records_source("judgements", self.judgements),
            expansions=records_source("samples", self.expansions),
            heldout=records_source("samples", self.heldout),
            iteration=self.iteration,
            earlier=(records_source("samples", self.earlier),),
            waiting=records_source("samples", self.waiting),
            scouted=records_source("rollouts", self.scouted),
            retracted=self.retracted,
        )


def training_rows(samples: Source) -> Source:
    """The training samples of a source."""
    return samples.where(lambda rows: pc.equal(rows["split"], Split.TRAIN.value))


def heldout_rows(samples: Source) -> Source:
    """The held-out samples of a source."""
    return samples.where(lambda rows: pc.not_equal(rows["split"], Split.TRAIN.value))
