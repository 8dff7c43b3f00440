"""Work done ahead of its stage: rows that were judged or expanded while the probe was still at work.

    <root>/campaigns/<name>/iterations/0003/judge-ahead/<key>/
        judgements-730215566.<content>.parquet, receipts/   rows of one piece, stored as a stage's parts
        piece-730215566.json                                the questions that they answer, and their cost

The key is that of everything that the rows of a round depend on before its probe ends: dataset, settings,
code and prompts. Within it each row has the key of its own question (a pair, an error seed), so a stage
finds what it needs however the work was cut, and a probe that answers otherwise the second time finds
nothing that is not its own. There is no manifest: this is work in progress, never an artifact.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from looptool.artifacts import AHEAD, ArtifactRef
from looptool.records import JsonObject, Judgement, Record, Rejection, Sample
from looptool.schema import from_table, to_table
from tasks.parts import Tables, combine
from tasks.scope import Scope, Stage

TABLES: Mapping[str, Mapping[str, type[Record]]] = {
    "judge": {"judgements": Judgement},
    "expand": {"samples": Sample, "rejections": Rejection},
}
"""What a piece of each stage holds."""
Rows = dict[str, list[Record]]
"""The rows about one sample, by table."""
PIECE = re.compile(r"piece-(\d+)\.json")


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that were made together."""

    keys: Mapping[str, str]
    """The sample that rows are about -> key of the question."""
    tables: Tables
    usage: JsonObject
    """What the teacher cost, by stage."""


class Ahead:
    """The pieces of one stage in one round: those of earlier runs, and those that are added."""

    def __init__(self, name: str, scope: Scope, dataset: ArtifactRef) -> None:
        self._tables = TABLES[name]
        self._stage = Stage(name + AHEAD, scope, {"dataset": dataset})
        self._rows: dict[str, tuple[int, Rows]] = {}
        """Key of the question -> number of its piece, and its rows."""
        self._usage: dict[int, JsonObject] = {}
        self._used: set[int] = set()
        for number in self._list():
            if (piece := self._load(number)) is not None:
                self._keep(number, piece)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, key: str) -> Rows:
        """The rows that answer a question, by table; its piece now counts as used."""
        number, rows = self._rows[key]
        self._used.add(number)
        return rows

    def usage(self) -> JsonObject:
        """What the used pieces cost, as wholes: what a single row cost is not known."""
        total: JsonObject = {}
        for number in sorted(self._used):
            total = combine(total, self._usage[number])
        return total

    def add(self, piece: Piece) -> None:
        """Store a piece; its note is written last, and without it there is no piece."""
        number = secrets.randbelow(10**9)  # another run beside this one has other numbers
        for table in self._tables:
            self._stage.writer.write(table, table, piece.tables[table], number)
        self._stage.save_note(f"piece-{number}", {"keys": piece.keys, "usage": piece.usage})
        self._keep(number, replace(piece, tables=self._as_read(piece.tables)))

    def _as_read(self, tables: Tables) -> Tables:
        """The rows as the stages read them: arguments are in another order then, and so are prompts."""
        return {
            table: list(from_table(table, to_table(table, rows), table))
            for table, rows in tables.items()
        }

    def _keep(self, number: int, piece: Piece) -> None:
        self._usage[number] = piece.usage
        for key in piece.keys.values():
            self._rows[key] = (number, {table: [] for table in self._tables})
        for table, rows in piece.tables.items():
            for row in rows:
                self._rows[piece.keys[_sample_of(row)]][1][table].append(row)

    def _list(self) -> list[int]:
        names = (item.path.rpartition("/")[2] for item in self._stage.objects())
        return sorted(int(found[1]) for name in names if (found := PIECE.fullmatch(name)))

    def _load(self, number: int) -> Piece | None:
        """A piece of an earlier run; None if it cannot be read any more."""
        note = self._stage.load_note(f"piece-{number}")
        if note is None:
            return None
        tables: dict[str, list[Record]] = {}
        for table, record in self._tables.items():
            rows = self._stage.load_part(table, number, record)
            if rows is None:
                return None
            tables[table] = list(rows)
        return Piece(note["keys"], tables, note["usage"])


def _sample_of(row: Record) -> str:
    """The judged sample, or the error seed that a row was grown from."""
    if isinstance(row, Rejection):
        return str(row.row["parent_id"])
    return str(row.parent_id if isinstance(row, Sample) else vars(row)["sample_id"])
