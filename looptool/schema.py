"""One explicit Arrow schema per artifact kind, and the way from record to row and back.

Parquet's schema inference merges the keys of different argument objects and fills nulls, so nothing is
inferred: scalars have their column type, and everything free-form (tools, messages, labels, arguments)
is canonical JSON text. `docs/artifacts.md` is generated from this module.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa
from pydantic import TypeAdapter

from looptool.errors import DataError, shorten
from looptool.records import (
    BenchmarkItem,
    BenchmarkScore,
    Cast,
    Coverage,
    Judgement,
    Planted,
    Play,
    ProbeResult,
    Record,
    Rejection,
    RolloutStat,
    Sample,
    Score,
    StepMetrics,
    ToolSpec,
    canonical_json,
)

R = TypeVar("R", bound=Record)

TEXT = pa.string()
JSON = pa.large_string()
"""Columns of this type hold canonical JSON text."""
FLOAT = pa.float64()
INT = pa.int64()
FLAG = pa.bool_()


class Fate(Record):
    """What became of one sample when the next dataset was made, and why."""

    sample_id: str
    fate: str
    """`kept`, `replaced`, `waiting`, `dropped`, `quarantined`, `duplicate` or `retracted`."""
    reason: str


MASTERED = ("low_ppl", "always_solved")
"""Reasons for which a sample is dropped that the policy answers as its label says."""


class Contamination(Record):
    """One overlap of a sample with a benchmark."""

    sample_id: str
    benchmark: str
    entry: str
    """Id of the benchmark's entry."""
    rule: Literal["prompt", "gram8", "short", "gram3", "tool", "call", "name"]
    """`prompt`, `gram8`, `short` (a whole prompt of 4 to 7 words), `gram3` (similarity), `tool` (name and
    properties), `call` (the expected answer) or `name` (of a function, alone)."""
    action: Literal["drop", "flag"]
    score: float
    """Jaccard similarity for `gram3`, number of shared runs for `gram8`, else 1."""
    evidence: str
    """What is shared, in the sample's own words."""


@dataclass(frozen=True, slots=True)
class Table:
    """The Parquet form of one record type."""

    kind: str
    record: type[Record]
    columns: dict[str, pa.DataType]
    about: str

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, columns in the order of the record's fields."""
        return pa.schema([pa.field(name, kind) for name, kind in self.columns.items()])


def _table(kind: str, record: type[Record], about: str, /, **columns: pa.DataType) -> Table:
    missing = set(record.model_fields) ^ set(columns)
    if missing:
        raise AssertionError(f"schema of {kind} and {record.__name__} differ in {sorted(missing)}")
    return Table(kind, record, {name: columns[name] for name in record.model_fields}, about)


TABLES: dict[str, Table] = {
    table.kind: table
    for table in (
        _table(
            "tools",
            ToolSpec,
            "Tools, normalised to JSON Schema 2020-12.",
            tool_id=TEXT,
            name=TEXT,
            description=TEXT,
            parameters=JSON,
            output=JSON,
            domain=TEXT,
            source=TEXT,
            original_name=TEXT,
        ),
        _table(
            "samples",
            Sample,
            "Decisions of the assistant: Dseed, the held-out set, every D_j and all expansions.",
            sample_id=TEXT,
            kind=TEXT,
            split=TEXT,
            origin=TEXT,
            tools=JSON,
            messages=JSON,
            label=JSON,
            ordered=FLAG,
            date=TEXT,
            persona=TEXT,
            style=TEXT,
            language=TEXT,
            difficulty=TEXT,
            dialogue_id=TEXT,
            parent_id=TEXT,
            root_id=TEXT,
            born_in=INT,
        ),
        _table(
            "casts",
            Cast,
            "The dialogues that a round is to play, in order.",
            split=TEXT,
            kind=TEXT,
            tools=TEXT,
            difficulty=TEXT,
            number=INT,
        ),
        _table(
            "plays",
            Play,
            "What became of each dialogue of a round.",
            split=TEXT,
            kind=TEXT,
            tools=TEXT,
            difficulty=TEXT,
            number=INT,
            dialogue_id=TEXT,
            samples=INT,
            marked_turns=INT,
            rule=TEXT,
        ),
        _table(
            "coverage",
            Coverage,
            "How often each tool occurs in the pool, by kind and split.",
            tool=TEXT,
            kind=TEXT,
            split=TEXT,
            called=INT,
            offered=INT,
        ),
        _table(
            "rejections",
            Rejection,
            "Rows that were not accepted, whole, with the rule that they broke.",
            stage=TEXT,
            row_id=TEXT,
            rule=TEXT,
            detail=TEXT,
            row=JSON,
        ),
        _table(
            "probes",
            ProbeResult,
            "Greedy answers of M_j, graded, with perplexities (GCP).",
            sample_id=TEXT,
            output=TEXT,
            matched=FLAG,
            relaxed=FLAG,
            called=FLAG,
            parse_error=TEXT,
            mismatch=TEXT,
            tokens=INT,
            truncated=FLAG,
            ppl_output=FLOAT,
            ppl_call=FLOAT,
            ppl_label=FLOAT,
            pass_rate=FLOAT,
            failure=TEXT,
        ),
        _table(
            "judgements",
            Judgement,
            "Verdicts on mismatches with every vote (JGLV).",
            sample_id=TEXT,
            verdict=TEXT,
            votes=JSON,
            predicted=JSON,
            error_type=TEXT,
            error_analysis=TEXT,
            right_approach=TEXT,
            new_label=JSON,
            proposed_label=JSON,
            marked=FLAG,
            sound=FLAG,
            note=TEXT,
        ),
        _table(
            "planted",
            Planted,
            "Pairs with known verdicts, judged among the mismatches: they measure the judge.",
            sample_id=TEXT,
            source_id=TEXT,
            truth=TEXT,
            label_change=TEXT,
            predicted_change=TEXT,
            label=JSON,
            predicted=JSON,
            verdict=TEXT,
            votes=JSON,
            note=TEXT,
        ),
        _table(
            "steps",
            StepMetrics,
            "GRPO steps of one iteration.",
            step=INT,
            loss=FLOAT,
            reward_mean=FLOAT,
            reward_std=FLOAT,
            zero_variance_rate=FLOAT,
            response_tokens_mean=FLOAT,
            truncated_rate=FLOAT,
            entropy=FLOAT,
            seconds=FLOAT,
            clip_rate=FLOAT,
            parse_error_rate=FLOAT,
            pass_any_rate=FLOAT,
            masked=INT,
        ),
        _table(
            "rollouts",
            RolloutStat,
            "Pass counts of the rollouts per sample, last epoch.",
            sample_id=TEXT,
            rollouts=INT,
            passed=INT,
            parse_errors=INT,
        ),
        _table(
            "scores",
            Score,
            "Held-out accuracy of one checkpoint, by slice, with 95% Wilson intervals.",
            iteration=INT,
            slice=TEXT,
            n=INT,
            correct=INT,
            accuracy=FLOAT,
            low=FLOAT,
            high=FLOAT,
        ),
        _table(
            "benchmark_items",
            BenchmarkItem,
            "Answers to a published benchmark, each by the benchmark's rule and by ours.",
            benchmark=TEXT,
            category=TEXT,
            item_id=TEXT,
            official=FLAG,
            strict=FLAG,
            called=FLAG,
            error=TEXT,
            official_note=TEXT,
            strict_note=TEXT,
            answer=TEXT,
        ),
        _table(
            "benchmark_scores",
            BenchmarkScore,
            "Accuracy on a published benchmark by category, with 95% Wilson intervals.",
            benchmark=TEXT,
            version=TEXT,
            category=TEXT,
            n=INT,
            available=INT,
            errors=INT,
            official=FLOAT,
            official_low=FLOAT,
            official_high=FLOAT,
            reported=FLOAT,
            decided=INT,
            strict=FLOAT,
            strict_low=FLOAT,
            strict_high=FLOAT,
            only_official=INT,
            only_strict=INT,
        ),
        _table(
            "fates",
            Fate,
            "What became of each sample of D_j and of each expansion when D_{j+1} was made.",
            sample_id=TEXT,
            fate=TEXT,
            reason=TEXT,
        ),
        _table(
            "contaminated",
            Contamination,
            "Overlaps of the rows that were merged with benchmarks; what was dropped, what only flagged.",
            sample_id=TEXT,
            benchmark=TEXT,
            entry=TEXT,
            rule=TEXT,
            action=TEXT,
            score=FLOAT,
            evidence=TEXT,
        ),
    )
}


def table_of(kind: str) -> Table:
    """The table of an artifact kind; DataError for an unknown one."""
    try:
        return TABLES[kind]
    except KeyError:
        raise DataError(
            f"unknown artifact kind {shorten(kind)}; kinds: {', '.join(TABLES)}"
        ) from None


def to_table(kind: str, records: Iterable[Record]) -> pa.Table:
    """Records as an Arrow table of exactly the declared schema."""
    table = table_of(kind)
    columns: dict[str, list[Any]] = {name: [] for name in table.columns}
    for record in records:
        row = record.model_dump(mode="json")
        for name, kind_ in table.columns.items():
            value = row[name]
            columns[name].append(
                canonical_json(value) if kind_ is JSON and value is not None else value
            )
    return pa.table(columns, schema=table.arrow)


def check_columns(kind: str, schema: pa.Schema, where: str = "table") -> None:
    """Raises DataError unless the columns are those of the kind."""
    expected = list(table_of(kind).columns)
    if list(schema.names) != expected:
        raise DataError(
            f"{where}: columns {schema.names}, expected {expected}; "
            "it was written by another version of looptool"
        )


def from_table(kind: str, data: pa.Table, where: str = "table") -> Iterator[Record]:
    """Records of an Arrow table; DataError names the row that does not fit."""
    table = table_of(kind)
    check_columns(kind, data.schema, where)
    validate = _row_validator(table)
    for number, row in enumerate(data.to_pylist()):
        try:
            yield validate(row)
        except ValueError as exc:
            raise DataError(f"{where} row {number}: {shorten(exc, 300)}") from exc


def _row_validator(table: Table) -> Callable[[dict[str, Any]], Record]:
    adapters = {
        name: TypeAdapter(table.record.model_fields[name].rebuild_annotation())
        for name, kind in table.columns.items()
        if kind is JSON
    }

    def validate(row: dict[str, Any]) -> Record:
        for name, adapter in adapters.items():
            if row[name] is not None:
                row[name] = adapter.validate_json(row[name])
        return table.record.model_validate(row)

    return validate


def render_docs() -> str:
    """docs/artifacts.md: every kind with its columns and their meaning."""
    lines = [
        "# Artifacts",
        "",
        "Generated from `looptool/schema.py` by `make docs`; do not edit.",
        "",
        "An artifact is a folder with Parquet parts (or, for a checkpoint, files) and a `manifest.json`",
        "that is written last. Free-form JSON is canonical JSON text.",
        "",
    ]
    for table in TABLES.values():
        lines += [
            f"## {table.kind}",
            "",
            table.about,
            "",
            "| column | type | meaning |",
            "|---|---|---|",
        ]
        for name, kind in table.columns.items():
            about = table.record.model_fields[name].description or ""
            shown = "JSON text" if kind is JSON else str(kind)
            lines.append(f"| `{name}` | {shown} | {' '.join(about.split()).replace('|', '/')} |")
        lines.append("")
    return "\n".join(lines)


def records_of(rows: Sequence[Record], record: type[R]) -> list[R]:
    """The rows as a typed list; DataError if one is of another type."""
    wrong = next((row for row in rows if not isinstance(row, record)), None)
    if wrong is not None:
        raise DataError(f"expected {record.__name__}, got {type(wrong).__name__}")
    return [row for row in rows if isinstance(row, record)]
