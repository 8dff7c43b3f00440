"""Long stages in parts: each is stored when it is whole, and a run that was killed goes on after it.

Two parts are under way at a time, so that the teacher has work while the last rows of one are waited
for. A killed run therefore repeats two parts at most. What the teacher cost is noted beside the parts
and not in them: two runs with the same rows then have the same digest. The calls of a part that was
cut off are made again and counted once.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from looptool.chat import Teacher, gather_bounded
from looptool.records import JsonObject, Record
from looptool.schema import records_of
from tasks.scope import Stage

R = TypeVar("R", bound=Record)

AT_ONCE = 2
"""Parts under way at a time."""
Tables = Mapping[str, Sequence[Record]]
"""Rows by table; a table is named like the kind of its rows."""


@dataclass(slots=True)
class Parts:
    """The parts of one artifact: made now, or by the run that was killed."""

    tables: list[Tables] = field(default_factory=list)
    """In the order of the parts."""
    usage: JsonObject = field(default_factory=dict)
    """What the teacher cost, by stage, in all runs; for a manifest's `teacher`."""
    fresh: int = 0
    """How many of them this run has made."""

    def rows(self, table: str, record: type[R]) -> list[R]:
        """All rows of one table."""
        return [row for part in self.tables for row in records_of(part[table], record)]

    def failures(self) -> dict[str, int]:
        """Failed requests to the teacher by type, over all stages."""
        return count_failures(self.usage)


async def make_parts(
    stage: Stage,
    tables: Mapping[str, type[Record]],
    jobs: Sequence[Callable[[], Awaitable[Tables]]],
    teacher: Teacher,
    on_stored: Callable[[Tables], None] = lambda rows: None,
) -> Parts:
    """The parts of a stage, one of each job; those that are stored are read, and told to `on_stored`."""
    made: dict[int, Tables] = {}
    notes: list[JsonObject] = []
    for number in range(len(jobs)):
        if (stored := _load(stage, tables, number)) is not None:
            made[number], note = stored
            notes.append(note)
            on_stored(made[number])
    reported: JsonObject = {}

    async def make(number: int) -> None:
        nonlocal reported
        rows = await jobs[number]()
        used = teacher.usage_report()
        note = combine(used, reported, sign=-1)
        reported = used
        stage.save_note(f"usage-{number:05d}", note)
        for table in tables:
            stage.writer.write(table, table, rows[table], number)
        notes.append(note)
        made[number] = rows

    missing = [number for number in range(len(jobs)) if number not in made]
    await gather_bounded([make(number) for number in missing], AT_ONCE)
    usage: JsonObject = {}
    for note in notes:
        usage = combine(usage, note)
    return Parts([made[number] for number in range(len(jobs))], usage, len(missing))


def _load(
    stage: Stage, tables: Mapping[str, type[Record]], number: int
) -> tuple[Tables, JsonObject] | None:
    note = stage.load_note(f"usage-{number:05d}")
    if note is None:
        return None
    rows = {table: stage.load_part(table, number, record) for table, record in tables.items()}
    whole = {table: found for table, found in rows.items() if found is not None}
    return (whole, note) if len(whole) == len(tables) else None


def combine(left: Any, right: Any, sign: int = 1) -> Any:
    """The sum (or, with sign -1, the difference) of two trees of numbers; anything else as it is."""
    if isinstance(left, dict) or isinstance(right, dict):
        keys = sorted({*(left or {}), *(right or {})})
        return {k: combine((left or {}).get(k), (right or {}).get(k), sign) for k in keys}
    if not all(isinstance(value, int | float | None) for value in (left, right)):
        return left or right
    return (left or 0) + sign * (right or 0)


def count_failures(usage: Mapping[str, Any]) -> dict[str, int]:
    """Failed requests by type of a usage report, over all stages."""
    total: JsonObject = {}
    for stage in usage.values():
        total = combine(total, stage.get("failures", {}))
    return {kind: count for kind, count in total.items() if count}
