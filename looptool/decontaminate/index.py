"""The index of a benchmark: hashes by rule and entry, in one Parquet file.

`rule` says what was hashed: `prompt` the whole normalised prompt, `gram8` each run of eight words,
`short` the whole of a prompt of 4 to 7 words, `gram3` each run of three, `tool` the name and property
names of a function, `name` its name alone, `call` an accepted answer. Prompts of fewer than four words
are matched as a whole only: a longer text contains `yes please` by chance.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from looptool.artifacts import sha256_of
from looptool.decontaminate.entries import Call, Entry
from looptool.errors import ConfigError, DataError, shorten
from looptool.ngrams import distinct, find_grams, hash_text, hash_words, plain
from looptool.records import canonical_json

FORMAT = b"1"
LONG_WORDS = 8
SHORT_WORDS = 4
SIMILAR_WORDS = 3
COLUMNS = pl.Schema({"rule": pl.String, "entry": pl.String, "hash": pl.UInt64, "size": pl.Int64})


@dataclass(frozen=True)
class BenchmarkIndex:
    """The hashes of one benchmark."""

    name: str
    digest: str
    """sha256 of the file."""
    hashes: pl.DataFrame
    """Columns rule, entry, hash, and size: words of a `short` prompt, runs of a `gram3` entry."""

    def of(self, rule: str) -> pl.DataFrame:
        """The hashes of one rule."""
        return self.parts.get(rule, self.hashes.clear()).select("hash", "entry", "size")

    @cached_property
    def parts(self) -> dict[str, pl.DataFrame]:
        """The hashes by rule."""
        return {
            str(key[0]): part
            for key, part in self.hashes.partition_by("rule", as_dict=True).items()
        }

    @property
    def entries(self) -> int:
        """How many entries it covers."""
        return self.hashes["entry"].n_unique()


def build_index(entries: Sequence[Entry]) -> pl.DataFrame:
    """The hashes of entries, without repetitions, in a fixed order."""
    rows = [*_prompt_rows(entries), *_tool_rows(entries), *_answer_rows(entries)]
    return pl.DataFrame(rows, COLUMNS, orient="row").unique().sort("rule", "entry", "hash")


def _prompt_rows(entries: Sequence[Entry]) -> Iterator[tuple[str, str, int, int]]:
    texts = [plain(entry.prompt).split() for entry in entries]
    words = hash_words(texts)
    for entry, text in zip(entries, texts, strict=True):
        if text:
            yield "prompt", entry.entry_id, hash_text(" ".join(text)), len(text)
    for size in range(SHORT_WORDS, LONG_WORDS + 1):
        grams = find_grams(words, size)
        rule = "gram8" if size == LONG_WORDS else "short"
        for row, value in zip(grams.rows.tolist(), grams.hashes.tolist(), strict=True):
            if size == LONG_WORDS or len(texts[row]) == size:
                yield rule, entries[row].entry_id, value, size
    grams = distinct(find_grams(words, SIMILAR_WORDS))
    counts = np.bincount(grams.rows, minlength=len(entries)).tolist()
    for row, value in zip(grams.rows.tolist(), grams.hashes.tolist(), strict=True):
        yield "gram3", entries[row].entry_id, value, counts[row]


def _tool_rows(entries: Sequence[Entry]) -> Iterator[tuple[str, str, int, int]]:
    for entry in entries:
        for name, properties in entry.tools:
            yield "tool", entry.entry_id, hash_tool(name, properties), len(properties)
            yield "name", entry.entry_id, hash_text(canonical_name(name)), 1


def _answer_rows(entries: Sequence[Entry]) -> Iterator[tuple[str, str, int, int]]:
    for entry in entries:
        for calls in entry.answers:
            value = hash_answer(calls)
            if value is not None:
                yield "call", entry.entry_id, value, len(calls)


def canonical_name(name: str) -> str:
    """A name without case and separators: `Get.User_Id` and `getUserId` are one."""
    return "".join(plain(name).split())


def hash_tool(name: str, properties: Sequence[str]) -> int:
    """A function by its name and the names of its properties."""
    names = sorted(canonical_name(p) for p in properties)
    return hash_text(canonical_json([canonical_name(name), names]))


def hash_answer(calls: Sequence[Call]) -> int | None:
    """An expected answer by names and values; None if no call has a value to know it by."""
    if not any(arguments for _, arguments in calls):
        return None
    try:
        return hash_text(canonical_json(sorted(canonical_json(_canonical(c)) for c in calls)))
    except (ValueError, TypeError):  # infinite numbers, sets: nothing that a JSON label can hold
        return None


def _canonical(call: Call) -> list[Any]:
    name, arguments = call
    return [canonical_name(name), {canonical_name(k): _value(v) for k, v in arguments.items()}]


def _value(value: Any) -> Any:
    match value:
        case str():
            return plain(value) or value
        case bool() | None:
            return value
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {str(key): _value(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_value(item) for item in value]
    return value


def save_index(hashes: pl.DataFrame, name: str, path: Path) -> BenchmarkIndex:
    """Writes an index; the same entries give the same bytes."""
    table = hashes.to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.replace_schema_metadata({b"looptool.index": FORMAT, b"benchmark": name.encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return load_index(path)


def load_index(path: Path) -> BenchmarkIndex:
    """Reads an index; ConfigError if there is none, DataError if the file is something else."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigError(
            f"benchmark index {path} cannot be read ({exc.strerror}); build it with "
            f"`looptool decontaminate index SOURCE -o {path}`"
        ) from exc
    try:
        table = pq.read_table(io.BytesIO(data))
        facts = table.schema.metadata or {}
        if facts.get(b"looptool.index") != FORMAT:
            raise DataError(f"{path} is no benchmark index of this version; build it again")
        frame = pl.DataFrame(table).cast(COLUMNS)
    except (pa.ArrowException, pl.exceptions.PolarsError) as exc:
        raise DataError(f"{path} is no benchmark index: {shorten(exc)}") from exc
    return BenchmarkIndex(facts[b"benchmark"].decode(), sha256_of(data), frame)
