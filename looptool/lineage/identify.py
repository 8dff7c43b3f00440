"""From what a person types to the id of one sample."""

import difflib
from collections.abc import Iterable, Iterator

import polars as pl

from looptool.artifacts import ArtifactRef
from looptool.errors import DataError, shorten
from looptool.lineage.rounds import Timeline
from looptool.lineage.tables import read_columns

SHOWN = 5
"""Most ids that an error names."""
PREFIX = "s-"


def identify(timeline: Timeline, typed: str) -> str:
    """The id that this is, or begins; with or without `s-`.

    Raises DataError that names the candidates, or for an unknown one the nearest ids.
    """
    wanted = typed if typed.startswith(PREFIX) else PREFIX + typed
    found = _read_ids(timeline, wanted)
    if wanted in found:
        return wanted
    if len(found) == 1 and wanted != PREFIX:
        return found.pop()
    if found:
        raise DataError(
            f"{shorten(typed)!r} begins {len(found)} ids ({_list(found)}); give more of it"
        )
    near = _nearest(wanted, _similar(timeline, wanted))
    known = f"the nearest ids: {_list(near)}" if near else "no id is like it"
    raise DataError(f"no sample {shorten(typed)!r} in campaign {timeline.campaign}; {known}")


def _tables(timeline: Timeline) -> Iterator[tuple[ArtifactRef | None, str, str]]:
    """Every table that names samples, with the column."""
    yield timeline.pool, "samples", "sample_id"
    yield timeline.pool, "surplus", "sample_id"
    for ref in timeline.accepted:
        yield ref, "rejections", "row_id"
    for one in timeline.rounds:
        yield one.grown, "samples", "sample_id"
        yield one.grown, "rejections", "row_id"
        yield one.checked, "samples", "sample_id"
        yield one.checked, "rejections", "row_id"
    for ref in timeline.datasets().values():
        yield ref, "samples", "sample_id"
        yield ref, "fates", "sample_id"


def _read_ids(timeline: Timeline, prefix: str) -> set[str]:
    found: set[str] = set()
    for ref, table, column in _tables(timeline):
        if ref is not None:
            fits = pl.col(column).str.starts_with(prefix)
            found |= set(read_columns(timeline.store, ref, table, [column], fits)[column])
    return found


def _similar(timeline: Timeline, wanted: str) -> set[str]:
    """Ids that share the beginning or the end: few enough to be compared letter by letter."""
    found: set[str] = set()
    for length in (8, 6, 4, 3):
        for ref, table, column in _tables(timeline):
            if ref is not None:
                name = pl.col(column)
                begins = name.str.starts_with(wanted[: length + len(PREFIX)])
                fits = begins | name.str.ends_with(wanted[-length:])
                ids = read_columns(timeline.store, ref, table, [column], fits)[column]
                found |= {row for row in ids if row.startswith(PREFIX)}
        if found:
            break
    return found


def _nearest(wanted: str, ids: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(wanted, sorted(ids), n=SHOWN, cutoff=0.3)


def _list(ids: Iterable[str]) -> str:
    ordered = list(ids) if isinstance(ids, list) else sorted(ids)
    return ", ".join(ordered[:SHOWN]) + (", …" if len(ordered) > SHOWN else "")
