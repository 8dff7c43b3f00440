"""The narrow facts that a merge decides on: about 200 bytes a row, whatever the width of the sample.

Ids, dialogues, contexts and contents are 64-bit hashes (`looptool.ngrams` says how safe that is).
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic_core import from_json

from looptool.decontaminate import Gatekeeper, Query, make_query
from looptool.errors import DataError, shorten
from looptool.merge.near import Sketcher
from looptool.merge.sources import Source
from looptool.ngrams import U64, hash_text, plain
from looptool.records import JsonObject, Kind, Origin, Split, canonical_json

KINDS = tuple(Kind)
ORIGINS = tuple(Origin)
KIND_NAMES = pa.array([kind.value for kind in KINDS], pa.string())
ORIGIN_NAMES = pa.array([origin.value for origin in ORIGINS], pa.string())


@dataclass(frozen=True, slots=True)
class Block:
    """Facts about some rows of one source; one element a row."""

    ids: pa.Array
    places: NDArray[np.int32]
    """Number of the row within its source."""
    id: U64
    parent: U64
    dialogue: U64
    context: U64
    """What was said, blind to case, punctuation, blanks and the tools on offer."""
    content: U64
    """Same tools, context and calls; other words in a label without calls are no difference."""
    decision: U64
    """Names of the called functions, or the kind of a label without calls."""
    kind: NDArray[np.uint8]
    origin: NDArray[np.uint8]
    calls: NDArray[np.bool_]
    """Whether the label calls anything."""


COLUMNS: dict[str, Any] = {
    "places": np.int32,
    "id": np.uint64,
    "parent": np.uint64,
    "dialogue": np.uint64,
    "context": np.uint64,
    "content": np.uint64,
    "decision": np.uint64,
    "kind": np.uint8,
    "origin": np.uint8,
    "calls": np.bool_,
}


@dataclass(slots=True)
class Facts:
    """The facts of all rows of all sources; rows are numbered in the order of reading."""

    spans: dict[str, range] = field(default_factory=dict)
    """The rows of each source."""
    size: int = 0
    _ids: list[pa.Array] = field(default_factory=list)
    _columns: dict[str, list[NDArray[Any]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, blocks: Iterable[Block]) -> range:
        """Reads in a source; its rows."""
        start = self.size
        for block in blocks:
            self._ids.append(block.ids)
            for column in COLUMNS:
                self._columns[column].append(getattr(block, column))
            self.size += len(block.ids)
        self.spans[name] = range(start, self.size)
        return self.spans[name]

    def column(self, name: str) -> NDArray[Any]:
        """One fact of all rows."""
        parts = self._columns[name] or [np.zeros(0, COLUMNS[name])]
        if len(parts) > 1:
            parts = self._columns[name] = [np.concatenate(parts)]
        return parts[0]

    def ids(self) -> pa.ChunkedArray:
        """The ids of all rows."""
        if len(self._ids) > 1:
            self._ids = [pa.concat_arrays(self._ids)]
        return pa.chunked_array(self._ids, pa.large_string())

    def rows_of(self, *names: str) -> NDArray[np.int64]:
        """The rows of some sources, in this order."""
        spans = [self.spans.get(name, range(0)) for name in names]
        return np.concatenate([np.arange(s.start, s.stop, dtype=np.int64) for s in spans])


@dataclass(frozen=True, slots=True)
class Reader:
    """Computes the facts of the rows of a source."""

    sketcher: Sketcher | None = None
    """Sketches contexts for near duplicates."""
    gatekeeper: Gatekeeper | None = None
    """Compares with benchmarks."""

    def read(
        self,
        source: Source,
        name: str,
        wanted: Callable[[U64], NDArray[np.bool_]] | None = None,
        *,
        check: bool = False,
        train_only: bool = True,
    ) -> Iterable[Block]:
        """The facts of the rows whose hashed id is `wanted`; DataError for a held-out sample.

        With `check` the rows are compared with the benchmarks.
        """
        place = 0
        for batch in source.read():
            if train_only:
                require_training(batch, name)
            ids = hash_texts(batch["sample_id"])
            rows = np.arange(place, place + len(ids), dtype=np.int32)
            place += len(ids)
            if wanted is not None:
                keep = wanted(ids)
                batch, ids, rows = batch.filter(pa.array(keep)), ids[keep], rows[keep]  # noqa: PLW2901
            if len(ids):
                yield self._facts(batch, ids, rows, check)

    def _facts(
        self, batch: pa.RecordBatch, ids: U64, rows: NDArray[np.int32], check: bool
    ) -> Block:
        spoken, contexts, contents, decisions, calls = [], [], [], [], []
        queries: list[Query] = []
        columns = [
            batch[c].to_pylist() for c in ("sample_id", "kind", "tools", "messages", "label")
        ]
        for sample_id, kind, tools, text, label_text in zip(*columns, strict=True):
            messages, label = _parse(text, sample_id), _parse(label_text, sample_id)
            context, words = read_context(messages)
            contexts.append(context)
            spoken.append(words)
            label_calls = _sorted_calls(label["calls"])
            contents.append(hash_text(f"{hash_tools(tools)}\n{text}\n{label_calls}"))
            names = sorted(call["name"] for call in label["calls"])
            decisions.append(hash_text(canonical_json(names or kind)))
            calls.append(bool(names))
            if check and self.gatekeeper is not None:
                queries.append(make_query(sample_id, tools, messages, label))
        if self.sketcher is not None:
            self.sketcher.add(spoken)
        if queries and self.gatekeeper is not None:
            self.gatekeeper.check(queries)
        return Block(
            ids=batch["sample_id"].cast(pa.large_string()),
            places=rows,
            id=ids,
            parent=hash_texts(batch["parent_id"]),
            dialogue=hash_texts(batch["dialogue_id"]),
            context=np.array(contexts, np.uint64),
            content=np.array(contents, np.uint64),
            decision=np.array(decisions, np.uint64),
            kind=_codes(batch["kind"], KIND_NAMES),
            origin=_codes(batch["origin"], ORIGIN_NAMES),
            calls=np.array(calls, bool),
        )


def require_training(batch: pa.RecordBatch, what: str) -> None:
    """Raises DataError if a held-out sample is among the rows: these are never trained on."""
    if pc.all(pc.equal(batch["split"], Split.TRAIN.value)).as_py() is not False:
        return
    for number, split in enumerate(batch["split"].to_pylist()):
        if split != Split.TRAIN:
            raise DataError(
                f"{what}: sample {batch['sample_id'][number].as_py()} belongs to {split}; "
                "only training samples may be merged, so check the split of the seed stage"
            )


def hash_texts(column: pa.Array) -> U64:
    """64 bits of each text of a column."""
    return np.fromiter(map(hash_text, column.to_pylist()), np.uint64, len(column))


def read_context(messages: Sequence[JsonObject]) -> tuple[int, list[str]]:
    """Hash of what was said, and its words; blind to case, punctuation, blanks and the tools."""
    parts: list[Any] = []
    words: list[str] = []
    for message in messages:
        said = plain(message["content"])
        words += said.split()
        parts.append([message["role"], said])
        if message["role"] == "assistant":
            calls = _sorted_calls(message["calls"])
            parts.append(calls)
            words += plain(" ".join(calls)).split()
        elif message["role"] == "tool":
            parts.append(message["name"])
    return hash_text(canonical_json(parts)), words


def _sorted_calls(calls: Sequence[JsonObject]) -> list[str]:
    return sorted(canonical_json([call["name"], call["arguments"]]) for call in calls)


@lru_cache(maxsize=4096)
def hash_tools(tools: str) -> str:
    """Digest of the tools of a sample in any order, given as JSON text."""
    ids = sorted(tool["tool_id"] for tool in from_json(tools))
    return hashlib.sha256(canonical_json(ids).encode()).hexdigest()


def _codes(column: pa.Array, names: pa.Array) -> NDArray[np.uint8]:
    numbers = pc.index_in(column, value_set=names)
    if numbers.null_count:
        unknown = column.filter(pc.is_null(numbers))[0].as_py()
        raise DataError(f"unknown value {shorten(unknown)}; expected one of {names.to_pylist()}")
    found: NDArray[np.uint8] = numbers.to_numpy(zero_copy_only=False).astype(np.uint8)
    return found


def _parse(text: str, sample_id: str) -> Any:
    try:
        return from_json(text)
    except ValueError as exc:
        raise DataError(f"sample {sample_id} holds no JSON: {shorten(exc, 200)}") from exc
