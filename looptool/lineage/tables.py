"""Single rows out of large tables: only the columns asked for, only the rows that fit.

Nothing becomes a record before it is filtered, so a family is found in a campaign of any size without
reading it. What is read here is shown, never computed with: the sums of the parts are not checked.
"""

import io
import posixpath
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import polars as pl
from polars.exceptions import PolarsError

from looptool.artifacts import ArtifactRef, Store
from looptool.errors import ArtifactCorrupt, ArtifactMissing, shorten
from looptool.records import Record
from looptool.schema import from_table, records_of, table_of

R = TypeVar("R", bound=Record)


def read_columns(
    store: Store,
    ref: ArtifactRef,
    table: str,
    columns: Sequence[str],
    where: pl.Expr | None = None,
) -> pl.DataFrame:
    """Some columns of the rows that fit, in order of the parts; empty if there is no such table."""
    kinds = {part.kind for part in store.manifest_of(ref).parts if part.table == table}
    if not kinds:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    frames = [
        _scan(store, posixpath.join(ref.uri, part.path), columns, where)
        for part in store.manifest_of(ref).parts
        if part.table == table
    ]
    return pl.concat(frames)


def read_rows(
    store: Store, ref: ArtifactRef, table: str, where: pl.Expr, record: type[R]
) -> list[R]:
    """The rows that fit, as records; none if the artifact has no such table."""
    kinds = {part.kind for part in store.manifest_of(ref).parts if part.table == table}
    if not kinds:
        return []
    (kind,) = kinds
    form = table_of(kind)
    frame = read_columns(store, ref, table, list(form.columns), where)
    rows = from_table(kind, frame.to_arrow().cast(form.arrow), ref.uri)
    return records_of(list(rows), record)


def among(column: str, values: Collection[str]) -> pl.Expr:
    """Whether the column holds one of the values."""
    return pl.col(column).is_in(sorted(values))


def _scan(store: Store, where: str, columns: Sequence[str], fits: pl.Expr | None) -> pl.DataFrame:
    source: Any = store.local_path(where)
    if source is None:
        data = store.get(store.strip(where))
        source = io.BytesIO(data) if data is not None else None
    elif not source.is_file():
        source = None
    if source is None:
        raise ArtifactMissing(
            f"part {where} is gone; run its iteration again to rebuild the artifact"
        )
    try:
        lazy = pl.scan_parquet(source)
        return (lazy if fits is None else lazy.filter(fits)).select(columns).collect()
    except PolarsError as exc:
        raise ArtifactCorrupt(
            f"part {where} cannot be read: {shorten(exc, 200)}; it is damaged or was written by another "
            "version of looptool"
        ) from exc
