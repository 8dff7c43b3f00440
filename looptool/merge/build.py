"""D_{j+1} from the parts: read, decide, report (method, section 7).

The size rule stands at the head of `looptool.merge.places`.

**Scale.** Decisions are made on narrow columns, a few hundred bytes a row; the samples themselves are
read in batches, once for these columns and once to be written.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from looptool.config import MergeConfig
from looptool.decontaminate import BenchmarkIndex, Gatekeeper
from looptool.merge.hygiene import Gate, Ledger, Rows, shuffle_rows
from looptool.merge.keys import KINDS, ORIGINS, Facts, Reader
from looptool.merge.near import Sketcher
from looptool.merge.places import Builder, deal_in_turn
from looptool.merge.report import BenchmarkReport, MergeReport
from looptool.merge.select import (
    Parts,
    correct_labels,
    find_outcomes,
    find_routes,
    sort_out,
)
from looptool.merge.sources import MergeInputs, MergeSources, Source, chain_sources
from looptool.merge.write import UNCHANGED, spill, write_parts
from looptool.ngrams import U64, hash_text
from looptool.records import Sample
from looptool.schema import Contamination, Fate, from_table, records_of


@dataclass(frozen=True, slots=True)
class Merged:
    """A dataset that is about to be written; `samples` can be read once, within `merge_sources`."""

    samples: Iterator[pa.Table]
    """Parts of the dataset, in its final order."""
    waiting: Iterator[pa.Table]
    """What found no place and may come back; table `waiting`."""
    fates: Iterator[pa.Table]
    """One for each sample that entered, left or was turned away; seeds not drawn have none."""
    contaminated: tuple[Contamination, ...]
    """Overlaps with benchmarks of all samples that were offered."""
    report: MergeReport


@dataclass(frozen=True, slots=True)
class MergeOutcome:
    """The same as records."""

    dataset: tuple[Sample, ...]
    fates: tuple[Fate, ...]
    report: MergeReport
    contaminated: tuple[Contamination, ...] = ()
    waiting: tuple[Sample, ...] = ()


def unused(pool: Sequence[Sample], used_ids: Set[str]) -> list[Sample]:
    """The seeds that are in no dataset yet."""
    return [sample for sample in pool if sample.sample_id not in used_ids]


def first_dataset(
    pool: Sequence[Sample],
    config: MergeConfig,
    random_seed: int,
    heldout: Sequence[Sample] = (),
    indexes: Sequence[BenchmarkIndex] = (),
) -> MergeOutcome:
    """D_1: seeds drawn at random, so that each kind comes in about its share of the pool."""
    inputs = MergeInputs(pool, (), (), (), (), heldout, iteration=0)
    with merge_sources(inputs.as_sources(), config, random_seed, indexes) as merged:
        return _as_records(merged)


def merge_round(
    inputs: MergeInputs,
    config: MergeConfig,
    random_seed: int,
    indexes: Sequence[BenchmarkIndex] = (),
) -> MergeOutcome:
    """D_{j+1}; the size rule stands at the head of `looptool.merge.places`.

    Raises DataError if a held-out sample is among the inputs.
    """
    with merge_sources(inputs.as_sources(), config, random_seed, indexes) as merged:
        return _as_records(merged)


def _as_records(merged: Merged) -> MergeOutcome:
    dataset = [row for table in merged.samples for row in from_table("samples", table)]
    waiting = [row for table in merged.waiting for row in from_table("samples", table)]
    fates = [row for table in merged.fates for row in from_table("fates", table)]
    return MergeOutcome(
        dataset=tuple(records_of(dataset, Sample)),
        fates=tuple(records_of(fates, Fate)),
        report=merged.report,
        contaminated=merged.contaminated,
        waiting=tuple(records_of(waiting, Sample)),
    )


@contextmanager
def merge_sources(
    inputs: MergeSources,
    config: MergeConfig,
    random_seed: int,
    indexes: Sequence[BenchmarkIndex] = (),
) -> Iterator[Merged]:
    """D_{j+1} from tables, or D_1 when the iteration is 0; the result is read within the context.

    Raises DataError if a held-out sample is among the inputs.
    """
    with tempfile.TemporaryDirectory(prefix="looptool-merge-") as folder:
        merge = _Merge(inputs, config, random_seed, indexes, Path(folder))
        try:
            yield merge.run()
        finally:
            merge.close()


def new_seed_rate(config: MergeConfig, makes: int) -> float:
    """Share of unused seeds in D_`makes`; after the configured rates the last one is halved."""
    if makes == 1:
        return 1.0
    rates = config.new_seed_rates
    place = makes - 2
    if not rates:
        return 0.0
    return rates[place] if place < len(rates) else rates[-1] / 2 ** (place - len(rates) + 1)


class _Merge:
    """One merge: reads the narrow columns, decides, and says what is to be written."""

    def __init__(
        self,
        inputs: MergeSources,
        config: MergeConfig,
        random_seed: int,
        indexes: Sequence[BenchmarkIndex],
        folder: Path,
    ) -> None:
        self._inputs = inputs
        self._config = config
        self._random_seed = random_seed
        self._folder = folder
        self._indexes = indexes
        self._makes = inputs.iteration + 1
        self._facts = Facts()
        self._ledger = Ledger()
        self._keeper = Gatekeeper(indexes) if indexes else None
        near = config.near_duplicate_similarity
        self._sketcher = Sketcher(near) if near is not None else None
        self._reader = Reader(self._sketcher, self._keeper)
        self._sources: dict[str, Source] = {}

    def close(self) -> None:
        """Frees what the merge keeps on disk."""
        if self._sketcher is not None:
            self._sketcher.close()

    def run(self) -> Merged:
        """Decides everything; the wide rows are read again when the result is."""
        parts = self._read_all()
        builder = self._fill(parts)
        order = shuffle_rows(
            self._facts, builder.entered(), self._random_seed, "dataset", self._makes
        )
        wide = [(name, self._sources[name]) for name in self._sources if name != "heldout"]
        return Merged(
            samples=write_parts(wide, self._facts, order, builder.origins[order]),
            waiting=write_parts(
                wide, self._facts, builder.waiting, builder.origins[builder.waiting]
            ),
            fates=self._ledger.tables(self._facts.ids()),
            contaminated=tuple(self._keeper.matches) if self._keeper else (),
            report=self._report(builder, order),
        )

    def _read_all(self) -> Parts:
        """The facts of every row, and D_j sorted out."""
        inputs = self._inputs
        earlier = chain_sources("samples", inputs.earlier)
        self._read("heldout", inputs.heldout, train_only=False)
        self._read("earlier", inputs.standing(earlier))
        self._read("current", inputs.members(), check=True)
        routes = find_routes(self._facts, inputs, self._config, self._random_seed)
        replaced = routes.filter(pl.col("route") == "replaced")["id"].to_numpy()
        corrected = correct_labels(
            self._sources["current"], inputs.judgements, replaced, inputs.iteration
        )
        self._read("corrected", spill(corrected, self._folder, "samples"), check=True)
        self._read("waiting", inputs.standing(inputs.waiting), check=True)
        self._read("expansions", inputs.standing(inputs.expansions), check=True)
        used = np.unique(self._facts.column("id")[self._facts.rows_of("earlier", "current")])
        self._read(
            "pool",
            inputs.standing(inputs.pool),
            wanted=lambda ids: ~np.isin(ids, used),
            check=True,
        )
        return sort_out(self._facts, routes, self._pair_corrected(replaced), self._ledger)

    def _read(
        self,
        name: str,
        source: Source,
        *,
        wanted: Callable[[U64], NDArray[np.bool_]] | None = None,
        check: bool = False,
        train_only: bool = True,
    ) -> None:
        self._sources[name] = source
        blocks = self._reader.read(source, name, wanted, check=check, train_only=train_only)
        self._facts.add(name, blocks)

    def _pair_corrected(self, replaced: U64) -> dict[int, int]:
        """The row of each corrected sample by that of the old one: both are in the order of D_j."""
        ids, current = self._facts.column("id"), self._facts.rows_of("current")
        old = current[np.isin(ids[current], replaced)]
        return dict(zip(old.tolist(), self._facts.rows_of("corrected").tolist(), strict=True))

    def _fill(self, parts: Parts) -> Builder:
        """Gives the places away by the size rule."""
        facts, config = self._facts, self._config
        new = shuffle_rows(facts, facts.rows_of("pool"), self._random_seed, "new", self._makes)
        sketches = self._sketcher.finish() if self._sketcher else None
        gate = Gate(facts, self._ledger, sketches, self._find_contaminated())
        outcomes = find_outcomes(facts, self._inputs.scouted)
        if self._makes == 1:
            builder = Builder(config, gate, facts, parts, outcomes, {"new_seeds": new})
            builder.add("new_seeds", new, config.dataset_size)
            return builder
        grown = deal_in_turn(facts, self._random_seed)
        waiting = shuffle_rows(facts, facts.rows_of("waiting"), self._random_seed, "waiting")
        offered = {
            "untouched": parts.untouched,
            "error_seeds": parts.errors,
            "mastered_or_both_correct": parts.ranked,
            "new_seeds": new,
            "expansions": grown,
            "waiting": waiting,
        }
        builder = Builder(config, gate, facts, parts, outcomes, offered)
        places = round(new_seed_rate(config, self._makes) * config.dataset_size)
        builder.fill(new, grown, waiting, places)
        builder.record_leavers(grown, waiting, self._ledger)
        return builder

    def _find_contaminated(self) -> dict[int, str]:
        """Why each row that overlaps with a benchmark may not enter."""
        if self._keeper is None or not self._keeper.dropped:
            return {}
        reasons = {hash_text(name): reason for name, reason in self._keeper.dropped.items()}
        ids = self._facts.column("id")
        rows = np.flatnonzero(np.isin(ids, np.array(list(reasons), np.uint64)))
        return {int(row): reasons[int(ids[row])] for row in rows}

    def _report(self, builder: Builder, order: Rows) -> MergeReport:
        facts, config = self._facts, self._config
        kinds = [KINDS[code].value for code in facts.column("kind")[order].tolist()]
        own, given = facts.column("origin")[order], builder.origins[order]
        origins = np.where(given == UNCHANGED, own, given)
        return MergeReport(
            makes=self._makes,
            size=len(order),
            target=config.dataset_size,
            short_by=config.dataset_size - len(order),
            by_origin=_count([ORIGINS[code].value for code in origins.tolist()]),
            by_kind=_count(kinds),
            no_call_rate=int((~facts.column("calls")[order]).sum()) / max(1, len(order)),
            rows_in={name: len(span) for name, span in facts.spans.items()},
            offered=builder.offered,
            places=builder.places,
            taken=builder.counts(),
            left_out=self._ledger.count_left(),
            selection=config.selection,
            ppl=config.ppl,
            ppl_threshold=builder.easiest("high_ppl"),
            ppl_lowest_kept=builder.easiest("high_ppl", "filled_high_ppl"),
            new_seed_rate=new_seed_rate(config, self._makes),
            near_duplicate_similarity=config.near_duplicate_similarity,
            benchmarks={index.name: self._report_benchmark(index) for index in self._indexes},
        )

    def _report_benchmark(self, index: BenchmarkIndex) -> BenchmarkReport:
        matches = [
            m for m in (self._keeper.matches if self._keeper else ()) if m.benchmark == index.name
        ]
        dropped = {match.sample_id for match in matches if match.action == "drop"}
        return BenchmarkReport(
            entries=index.entries,
            digest=index.digest,
            dropped=len(dropped),
            flagged=len({match.sample_id for match in matches} - dropped),
        )


def _count(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
