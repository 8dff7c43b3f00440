"""Near duplicates: contexts that say almost the same and ask for the same decision.

Two samples are near duplicates when their labels call the same functions (or, without calls, are of the
same kind), they are not of one dialogue, and the runs of three words of their contexts have a Jaccard
similarity of at least the configured one. MinHash finds the candidates (64 permutations, in bands that
miss a pair at the threshold once in a hundred); each candidate is then measured exactly.
"""

import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from numpy.typing import NDArray

from looptool.ngrams import U64, distinct, hash_words, mix, shingle

SHINGLE_WORDS = 3
PERMUTATIONS = 64
RECALL = 0.99
BUCKET_MAX = 64
"""Rows of one bucket that a row is compared with, at most; keeps the work linear."""

_SEED = 20_511


def choose_bands(similarity: float) -> tuple[int, int]:
    """Bands and rows a band: the longest bands that still find a pair at the threshold."""
    for rows in range(PERMUTATIONS, 1, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - similarity**rows) ** bands >= RECALL:
            return bands, rows
    return PERMUTATIONS, 1


@dataclass(slots=True)
class Sketcher:
    """Hashes the contexts of many rows, in the order of reading; the runs themselves go to disk."""

    similarity: float
    _file: IO[bytes] = field(default_factory=lambda: tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
    _bands: list[NDArray[np.uint32]] = field(default_factory=list)
    _counts: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, contexts: Sequence[Sequence[str]]) -> None:
        """The next rows, as words."""
        found = distinct(shingle(hash_words(contexts), SHINGLE_WORDS))
        counts = np.bincount(found.rows, minlength=len(contexts)).astype(np.int64)
        self._file.write((found.hashes >> np.uint64(32)).astype(np.uint32).tobytes())
        self._counts.append(counts)
        self._bands.append(self._hash_bands(found.hashes, counts))

    def close(self) -> None:
        """Lets go of the runs on disk; nothing can be compared any more."""
        self._file.close()

    def _hash_bands(self, hashes: U64, counts: NDArray[np.int64]) -> NDArray[np.uint32]:
        """(rows, bands): one hash a band."""
        from rensa import RMinHash

        starts = np.zeros(len(counts) + 1, np.uint64)
        np.cumsum(counts, out=starts[1:], dtype=np.uint64)
        digests = RMinHash.digest_matrix_from_flat_token_hashes(hashes, starts, PERMUTATIONS, _SEED)
        matrix = np.array(digests.to_rows(), np.uint64).reshape(len(counts), PERMUTATIONS)
        bands, rows = choose_bands(self.similarity)
        hashed = np.empty((len(counts), bands), np.uint32)
        for band in range(bands):
            value = np.full(len(counts), band, np.uint64)
            for place in range(band * rows, (band + 1) * rows):
                value = mix(value) + matrix[:, place]
            hashed[:, band] = mix(value) >> np.uint64(32)
        return hashed

    def finish(self) -> "Sketches":
        """What the rows can be compared by."""
        bands, _ = choose_bands(self.similarity)
        starts = np.zeros(sum(map(len, self._counts)) + 1, np.int64)
        if self._counts:
            np.cumsum(np.concatenate(self._counts), out=starts[1:])
        buckets = np.empty((len(starts) - 1, bands), np.int32)
        for band in range(bands):
            column = [block[:, band] for block in self._bands]
            buckets[:, band] = _number_buckets(np.concatenate(column)) if column else 0
        self._bands.clear()
        company: NDArray[np.bool_] = np.any(buckets >= 0, axis=1)
        return Sketches(self.similarity, self._file, starts, buckets, company)


def _number_buckets(hashes: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Number of the bucket of each row, -1 for a row that is alone in its own."""
    order = np.argsort(hashes)
    ordered = hashes[order]
    new = np.ones(len(order), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    groups = np.cumsum(new, dtype=np.int32) - 1
    sizes = np.bincount(groups)
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.where(sizes[groups] > 1, groups, -1)
    return numbers


@dataclass(frozen=True, slots=True)
class Sketches:
    """Buckets and runs of all rows."""

    similarity: float
    _file: IO[bytes]
    _starts: NDArray[np.int64]
    _buckets: NDArray[np.int32]
    company: NDArray[np.bool_]
    """Whether a row shares a bucket with another one."""

    def buckets_of(self, row: int) -> list[tuple[int, int]]:
        """The buckets that the row shares with others: (band, number)."""
        return [
            (band, number) for band, number in enumerate(self._buckets[row].tolist()) if number >= 0
        ]

    def compare(self, left: int, right: int) -> float:
        """Jaccard similarity of two rows, 0..1."""
        first, second = self._runs(left), self._runs(right)
        shared = len(np.intersect1d(first, second, assume_unique=True))
        total = len(first) + len(second) - shared
        return shared / total if total else 1.0

    def _runs(self, row: int) -> NDArray[np.uint32]:
        start, end = int(self._starts[row]), int(self._starts[row + 1])
        self._file.seek(4 * start)
        return np.frombuffer(self._file.read(4 * (end - start)), np.uint32)

    def may_be_near(self, left: int, right: int) -> bool:
        """Whether two rows are of such lengths that they can be near."""
        sizes = [int(self._starts[row + 1] - self._starts[row]) for row in (left, right)]
        return min(sizes) >= math.floor(self.similarity * max(sizes))


@dataclass(slots=True)
class NearIndex:
    """Rows that others are compared with: those let in so far, and those of earlier rounds."""

    sketches: Sketches
    _rows: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: int) -> None:
        """From now on, others are compared with the row."""
        for bucket in self.sketches.buckets_of(row):
            rows = self._rows[bucket]
            if len(rows) < BUCKET_MAX:
                rows.append(row)

    def candidates(self, row: int) -> list[int]:
        """Rows that may be near, in the order in which they were added."""
        buckets = self.sketches.buckets_of(row)
        return sorted({other for bucket in buckets for other in self._rows.get(bucket, ())})
