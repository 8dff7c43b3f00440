"""The rows of the new dataset in their final order, in parts of a fixed size.

The order is a shuffle, the rows are too wide to be held at once: they are dealt to one file a part on
disk, and each part is put in order when it is read back.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from looptool.merge.hygiene import Rows
from looptool.merge.keys import ORIGINS, Facts
from looptool.merge.sources import Batches, Source
from looptool.ngrams import I64
from looptool.schema import table_of

PART_ROWS = 32_768
"""Rows of one part of the dataset."""
UNCHANGED = 255
"""Marks a row that keeps its origin."""

Codes = NDArray[np.uint8]

_SPILL = pa.ipc.IpcWriteOptions(compression="zstd")


def spill(tables: Iterable[pa.Table], folder: Path, kind: str) -> Source:
    """Tables kept on disk as a source."""
    path = folder / f"{kind}.arrow"
    with pa.ipc.new_stream(path, table_of(kind).arrow, options=_SPILL) as writer:
        for table in tables:
            writer.write_table(table)

    def read() -> Batches:
        with pa.ipc.open_stream(path) as reader:
            yield from reader

    return Source(kind, read)


def write_parts(
    sources: Sequence[tuple[str, Source]], facts: Facts, order: Rows, origins: Codes
) -> Iterator[pa.Table]:
    """The rows in `order`, part by part; `origins` are their codes, UNCHANGED to leave one as it is."""
    schema = table_of("samples").arrow
    position = np.full(facts.size, -1, np.int64)
    position[order] = np.arange(len(order))
    with tempfile.TemporaryDirectory(prefix="looptool-merge-") as folder:
        files = [
            Path(folder) / f"{part}.arrow" for part in range(0, max(1, -(-len(order) // PART_ROWS)))
        ]
        with ExitStack() as open_files:
            writers = [
                open_files.enter_context(
                    pa.ipc.new_stream(file, _with_position(schema), options=_SPILL)
                )
                for file in files
            ]
            for name, source in sources:
                for batch, places in _kept(source, name, facts, position):
                    _deal(batch, places, origins, writers)
        for file in files:
            with pa.ipc.open_stream(file) as reader:
                table = reader.read_all()
            file.unlink()
            ranks = np.argsort(table["position"].to_numpy())
            yield table.drop_columns("position").take(pa.array(ranks)).combine_chunks()


def _with_position(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field("position", pa.int64()))


def _kept(
    source: Source, name: str, facts: Facts, position: I64
) -> Iterator[tuple[pa.RecordBatch, I64]]:
    """The rows of a source that go into the dataset, with their positions."""
    rows = facts.rows_of(name)
    rows = rows[position[rows] >= 0]
    places = facts.column("places")[rows]
    start = 0
    for batch in source.read():
        first, last = np.searchsorted(places, [start, start + batch.num_rows])
        if last > first:
            yield batch.take(pa.array(places[first:last] - start)), position[rows[first:last]]
        start += batch.num_rows


def _deal(
    batch: pa.RecordBatch,
    places: I64,
    origins: Codes,
    writers: Sequence[pa.ipc.RecordBatchStreamWriter],
) -> None:
    column = batch.schema.get_field_index("origin")
    old = batch["origin"].to_pylist()
    new = [
        ORIGINS[code].value if code != UNCHANGED else value
        for code, value in zip(origins[places].tolist(), old, strict=True)
    ]
    batch = batch.set_column(column, batch.schema.field(column), pa.array(new, pa.string()))
    table = pa.table(batch).append_column("position", pa.array(places, pa.int64()))
    parts = places // PART_ROWS
    for part in np.unique(parts).tolist():
        writers[part].write_table(table.take(pa.array(np.flatnonzero(parts == part))))
