"""The gate against benchmarks: which samples overlap with which entry, and by what.

In order: the same prompt, a shared run of eight words (or the whole of a shorter prompt), three-word
runs with a Jaccard similarity of 0.4 and more, a function of the same name and properties, the same
expected answer: dropped. A similarity from 0.25, or a function of the same name alone: flagged. The
rates that were measured on two independent benchmarks (8-gram 0.7%, nothing above 0.25 in Jaccard) are
what to expect of data that is clean. Paraphrases pass: that takes embeddings and a judge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic_core import from_json

from looptool.decontaminate.entries import Call
from looptool.decontaminate.index import (
    LONG_WORDS,
    SHORT_WORDS,
    SIMILAR_WORDS,
    BenchmarkIndex,
    canonical_name,
    hash_answer,
    hash_tool,
)
from looptool.ngrams import Grams, distinct, find_grams, hash_text, hash_words, plain
from looptool.records import as_mapping
from looptool.schema import Contamination

Rule = Literal["prompt", "gram8", "short", "gram3", "tool", "call", "name"]
DROP_SIMILARITY = 0.4
FLAG_SIMILARITY = 0.25
SHOWN = 3
"""Entries a sample and rule, and evidence an entry, that are shown at most."""
GENERIC_NAMES = frozenset(
    canonical_name(name)
    for name in (
        "add add_event add_to_cart authenticate book_flight book_hotel calculate calculator "
        "cancel_booking cancel_order close convert_currency convert_units create_event create_task "
        "delete_file echo find get get_current_time get_current_weather get_directions get_news "
        "get_order_status get_stock_price get_time get_user get_weather list_files login logout open "
        "order_food place_order play_music play_song read_file remind search send send_email "
        "send_message send_sms set_alarm set_reminder set_timer sort translate update weather "
        "web_search write_file"
    ).split()
)
"""Names that say nothing about where a function comes from: alone they are not even flagged."""


@dataclass(frozen=True, slots=True)
class Query:
    """What the gate looks at in a sample."""

    sample_id: str
    words: tuple[str, ...]
    """The user's turns, normalised."""
    tools: str
    """JSON text of the tools."""
    calls: tuple[Call, ...]


def make_query(
    sample_id: str, tools: str, messages: Sequence[Mapping[str, Any]], label: Mapping[str, Any]
) -> Query:
    """What the gate looks at, from the columns of a sample: tools as JSON text, the rest parsed."""
    said = (plain(message["content"]) for message in messages if message["role"] == "user")
    return Query(
        sample_id=sample_id,
        words=tuple(" ".join(said).split()),
        tools=tools,
        calls=tuple((call["name"], call["arguments"]) for call in label["calls"]),
    )


@dataclass(slots=True)
class Gatekeeper:
    """Checks samples against indexes and remembers what it found."""

    indexes: Sequence[BenchmarkIndex]
    matches: list[Contamination] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    """The first reason for each sample that is to go: `BENCHMARK ENTRY (RULE)`."""

    def check(self, queries: Sequence[Query]) -> list[Contamination]:
        """The overlaps of some samples, each sample's worst first."""
        found: list[Contamination] = []
        asked = _Asked(queries)
        for index in self.indexes:
            found += asked.compare(index)
        found.sort(key=lambda m: (m.sample_id, m.action, _ORDER[m.rule], -m.score, m.entry))
        for match in found:
            if match.action == "drop":
                reason = f"{match.benchmark} {match.entry} ({match.rule})"
                self.dropped.setdefault(match.sample_id, reason)
        self.matches += found
        return found

    def check_rows(self, rows: pa.RecordBatch) -> list[Contamination]:
        """The overlaps of rows of a table of kind `samples`."""
        names = ("sample_id", "tools", "messages", "label")
        columns = zip(*(rows[name].to_pylist() for name in names), strict=True)
        return self.check(
            [
                make_query(key, tools, from_json(said), from_json(label))
                for key, tools, said, label in columns
            ]
        )


_ORDER: dict[str, int] = {
    rule: place
    for place, rule in enumerate(("prompt", "gram8", "short", "gram3", "tool", "call", "name"))
}


@dataclass(frozen=True, slots=True)
class _Hit:
    row: int
    place: int
    entry: str
    size: int


class _Asked:
    """A batch of samples, hashed once for all indexes."""

    def __init__(self, queries: Sequence[Query]) -> None:
        self._queries = queries
        self._words = hash_words([query.words for query in queries])
        self._similar = distinct(find_grams(self._words, SIMILAR_WORDS))
        sizes = range(SHORT_WORDS, LONG_WORDS + 1)
        self._runs = {size: find_grams(self._words, size) for size in sizes}
        self._prompts = _by_row(
            [[hash_text(" ".join(q.words))] if q.words else [] for q in queries]
        )
        self._answers = _by_row([_answer_of(query) for query in queries])
        self._tools = _by_row([read_tools(query.tools).exact for query in queries])
        self._names = _by_row([read_tools(query.tools).named for query in queries])

    def compare(self, index: BenchmarkIndex) -> list[Contamination]:
        """Every overlap with one benchmark."""
        return [
            *self._whole(index, "prompt", self._prompts),
            *self._long(index),
            *self._short(index),
            *self._similarity(index),
            *self._whole(index, "tool", self._tools),
            *self._whole(index, "call", self._answers),
            *self._whole(index, "name", self._names),
        ]

    def _whole(self, index: BenchmarkIndex, rule: Rule, grams: Grams) -> list[Contamination]:
        found = _join(index, rule, grams)
        shown = found.unique(["row", "entry"], keep="first", maintain_order=True)
        if rule == "name":  # a name is shared by many entries and proves nothing: one is enough
            exact = _join(index, "tool", self._tools).select("row", "place")
            shown = shown.join(exact, on=["row", "place"], how="anti").unique(
                ["row", "place"], keep="first", maintain_order=True
            )
        return [
            self._match(index, hit, rule, 1.0, self._evidence(hit, rule)) for hit in _hits(shown)
        ]

    def _evidence(self, hit: _Hit, rule: Rule) -> str:
        query = self._queries[hit.row]
        if rule in ("tool", "name"):
            return read_tools(query.tools).shown[hit.place]
        if rule == "call":
            return ", ".join(name for name, _ in query.calls)
        return " ".join(query.words)

    def _long(self, index: BenchmarkIndex) -> list[Contamination]:
        found = _join(index, "gram8", self._runs[LONG_WORDS])
        counts = found.group_by("row", "entry", maintain_order=True).agg(
            pl.col("place").unique().sort(), pl.col("size").first()
        )
        return [
            self._match(index, _Hit(row, places[0], entry, size), "gram8", float(len(places)),
                        self._quote(row, places, LONG_WORDS))
            for row, entry, places, size in _best(counts.with_columns(n=pl.col("place").list.len()))
        ]  # fmt: skip

    def _short(self, index: BenchmarkIndex) -> list[Contamination]:
        matches: list[Contamination] = []
        for size in range(SHORT_WORDS, LONG_WORDS):
            found = _join(index, "short", self._runs[size]).filter(pl.col("size") == size)
            first = found.unique(["row", "entry"], keep="first", maintain_order=True)
            for hit in _hits(first):
                quote = self._quote(hit.row, [hit.place], size)
                matches.append(self._match(index, hit, "short", 1.0, quote))
        return matches

    def _similarity(self, index: BenchmarkIndex) -> list[Contamination]:
        found = _join(index, "gram3", self._similar)
        own = np.bincount(self._similar.rows, minlength=len(self._queries))
        shared = found.group_by("row", "entry", maintain_order=True).agg(
            pl.col("place").sort(), pl.col("size").first(), both=pl.len()
        )
        rows = shared["row"].to_numpy().astype(np.int64)
        scored = shared.with_columns(
            n=pl.col("both") / (pl.Series(own[rows]) + pl.col("size") - pl.col("both"))
        ).filter(pl.col("n") >= FLAG_SIMILARITY)
        return [
            self._match(index, _Hit(row, places[0], entry, size), "gram3", score,
                        self._quote(row, places, SIMILAR_WORDS),
                        "drop" if score >= DROP_SIMILARITY else "flag")
            for row, entry, places, size, score in _best(scored, with_score=True)
        ]  # fmt: skip

    def _quote(self, row: int, places: Sequence[int], size: int) -> str:
        words = self._queries[row].words
        return " | ".join(" ".join(words[at : at + size]) for at in places[:SHOWN])

    def _match(
        self,
        index: BenchmarkIndex,
        hit: _Hit,
        rule: Rule,
        score: float,
        evidence: str,
        action: Literal["drop", "flag"] | None = None,
    ) -> Contamination:
        return Contamination(
            sample_id=self._queries[hit.row].sample_id,
            benchmark=index.name,
            entry=hit.entry,
            rule=rule,
            action=action or ("flag" if rule == "name" else "drop"),
            score=round(score, 4),
            evidence=evidence,
        )


def _join(index: BenchmarkIndex, rule: str, grams: Grams) -> pl.DataFrame:
    """Columns row, place, hash, entry, size: the runs that an index knows."""
    known = index.of(rule)
    inside = np.isin(grams.hashes, known["hash"].unique().to_numpy())
    asked = pl.DataFrame(
        {
            "row": grams.rows[inside],
            "place": grams.places[inside],
            "hash": grams.hashes[inside],
        }
    )
    found = asked.join(known, on="hash", how="inner")
    return found.sort("row", "place", "entry")


def _hits(found: pl.DataFrame) -> list[_Hit]:
    few = found.filter(pl.int_range(pl.len()).over("row") < SHOWN)
    return [_Hit(*row) for row in few.select("row", "place", "entry", "size").iter_rows()]


def _best(found: pl.DataFrame, *, with_score: bool = False) -> list[tuple[Any, ...]]:
    ranked = found.sort(["row", "n", "entry"], descending=[False, True, False])
    few = ranked.filter(pl.int_range(pl.len()).over("row") < SHOWN)
    columns = ["row", "entry", "place", "size", *(["n"] if with_score else [])]
    return list(few.select(columns).iter_rows())


def _by_row(hashes: Sequence[Sequence[int]]) -> Grams:
    counts = [len(row) for row in hashes]
    flat = np.array([value for row in hashes for value in row], np.uint64)
    rows = np.repeat(np.arange(len(hashes)), counts)
    places = np.concatenate([np.arange(count) for count in counts] or [np.zeros(0, np.int64)])
    return Grams(rows, places.astype(np.int64), flat)


def _answer_of(query: Query) -> list[int]:
    value = hash_answer(query.calls)
    return [] if value is None else [value]


@dataclass(frozen=True, slots=True)
class _Tools:
    exact: tuple[int, ...]
    named: tuple[int, ...]
    shown: tuple[str, ...]


@lru_cache(maxsize=4096)
def read_tools(tools: str) -> _Tools:
    """The functions of a sample by what they are known by, in their order."""
    exact, named, shown = [], [], []
    for tool in from_json(tools):
        properties = sorted(as_mapping(tool["parameters"].get("properties")))
        name = canonical_name(tool["name"])
        exact.append(hash_tool(tool["name"], properties))
        # A generic name is hashed as nothing that an index holds.
        named.append(0 if name in GENERIC_NAMES else hash_text(name))
        shown.append(f"{tool['name']}({', '.join(properties)})")
    return _Tools(tuple(exact), tuple(named), tuple(shown))
