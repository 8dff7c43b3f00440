"""Words of a text, and hashes of runs of them: what near duplicates and benchmark overlaps are found by.

Hashes are 64 bits wide and the same on every machine. Among 10 million different texts the chance of
one collision is 3 in a million.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_NOT_WORDS = re.compile(r"[\W_]+")
_ASCII_WORDS = re.compile(r"[a-z0-9]+")


def plain(text: str) -> str:
    """The words alone: NFKC, case folded, everything else one blank."""
    if text.isascii():
        return " ".join(_ASCII_WORDS.findall(text.lower()))
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_NOT_WORDS.sub(" ", folded).split())


def hash_text(text: str) -> int:
    """64 bits of a text."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


hash_word = lru_cache(maxsize=2**18)(hash_text)
"""The same, remembered for words that come again."""


@dataclass(frozen=True, slots=True)
class Words:
    """The hashed words of many texts, one after the other."""

    flat: U64
    starts: I64
    """Where each text starts, and at last where the last one ends."""

    @property
    def counts(self) -> I64:
        """Words of each text."""
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True)
class Grams:
    """Runs of words of many texts, ordered by text."""

    rows: I64
    """The text of each run."""
    places: I64
    """Number of its first word within the text."""
    hashes: U64


def hash_words(texts: Sequence[Sequence[str]]) -> Words:
    """The words of each text as hashes."""
    flat = np.fromiter((hash_word(w) for words in texts for w in words), np.uint64)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(words) for words in texts], out=starts[1:])
    return Words(flat, starts)


def find_grams(words: Words, size: int) -> Grams:
    """Every run of `size` words; texts with fewer words have none."""
    counts = words.counts
    rows = np.repeat(np.arange(len(counts)), counts)
    at = np.arange(len(words.flat))
    fits = at + size <= words.starts[rows + 1]
    at, rows = at[fits], rows[fits]
    return Grams(rows, at - words.starts[rows], _chain(words.flat, at, size))


def shingle(words: Words, size: int) -> Grams:
    """Every run of `size` words; of a text with fewer words, all of them as one run."""
    counts = words.counts
    found = [find_grams(words, size)]
    for length in range(1, size):
        rows = np.flatnonzero(counts == length)
        hashes = _chain(words.flat, words.starts[rows], length)
        found.append(Grams(rows, np.zeros(len(rows), np.int64), hashes))
    rows, places, hashes = (
        np.concatenate([getattr(grams, name) for grams in found])
        for name in ("rows", "places", "hashes")
    )
    order = np.argsort(rows, kind="stable")
    return Grams(rows[order], places[order], hashes[order])


def distinct(grams: Grams) -> Grams:
    """Each hash once a text, in the order of the hashes within it."""
    order = np.lexsort((grams.hashes, grams.rows))
    rows, hashes = grams.rows[order], grams.hashes[order]
    first = np.ones(len(order), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (hashes[1:] != hashes[:-1])
    return Grams(rows[first], grams.places[order][first], hashes[first])


def _chain(flat: U64, at: I64, size: int) -> U64:
    hashes = np.full(len(at), size, np.uint64)
    for step in range(size):
        hashes = mix(hashes) + flat[at + step]
    return mix(hashes)


def mix(values: NDArray[Any]) -> U64:
    """Spreads 64 bits over 64 bits, reversibly (the finaliser of splitmix64)."""
    mixed = values.astype(np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
