"""Writes the parts of one artifact and commits it."""

import io
import logging
import posixpath
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from looptool.artifacts.manifest import (
    DIGITS,
    MANIFEST,
    RECEIPTS,
    RESUMED,
    ArtifactRef,
    Manifest,
    Part,
    Receipt,
    check_name,
    content_name,
    file_sha256,
    folder_digest,
    part_name,
    sha256_of,
    software,
)
from looptool.artifacts.store import Store
from looptool.errors import ArtifactCorrupt, ArtifactMissing, StoreError
from looptool.records import JsonObject, Record, canonical_json
from looptool.schema import check_columns, from_table, records_of, to_table

R = TypeVar("R", bound=Record)

ROW_GROUP_ROWS = 4096
"""Rows that a reader of a long part has to hold at once."""
log = logging.getLogger("looptool")


class ArtifactWriter:
    """Writes the parts of one artifact and commits it.

    Parts may be written in several runs: `load_part` takes over what an earlier, killed run finished.
    """

    def __init__(self, store: Store, folder: str, stage: str, key: str) -> None:
        self.store = store
        self.uri = store.uri(folder, check_name(stage, "stage"), key)
        self.stage = stage
        self.key = key
        self._run = uuid.uuid4().hex
        self._parts: dict[str, Part] = {}
        self._runs: dict[int, str] = {}
        """By number: the run that the tables of a part were taken over from."""

    def committed(self) -> ArtifactRef | None:
        """The artifact if some run has committed it."""
        return self.store.ref(self.uri)

    def _path(self, name: str) -> str:
        return posixpath.join(self.store.strip(self.uri), name)

    def load_part(self, table: str, kind: str, number: int, record: type[R]) -> list[R] | None:
        """Rows of a part that an earlier run finished, now counted in; None if it is not there.

        A part that was damaged since, or whose other tables are another run's, counts as not there.
        """
        name = part_name(table, number)
        receipt = self._receipt(name)
        if receipt is None or self._runs.setdefault(number, receipt.run) != receipt.run:
            return None
        rows = self._read(receipt.part, kind, record)
        if rows is None:
            return None
        if not self._parts:
            # However old the parts are: they are in use again, and garbage collection sees it.
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self.store.put(self._path(RESUMED), canonical_json({"at": now}).encode())
        self._parts[name] = receipt.part
        return rows

    def read_finished(self, table: str, kind: str, number: int, record: type[R]) -> list[R] | None:
        """Rows of a part that some run has finished, for a reader beside it; None as in `load_part`."""
        receipt = self._receipt(part_name(table, number))
        return None if receipt is None else self._read(receipt.part, kind, record)

    def _read(self, part: Part, kind: str, record: type[R]) -> list[R] | None:
        try:
            data = self.store.read_part(self.uri, part)
        except (ArtifactMissing, ArtifactCorrupt) as exc:
            log.warning("part %s of %s is made again: %s", part.name, self.uri, exc)
            return None
        return records_of(
            list(from_table(kind, pq.read_table(io.BytesIO(data)), part.name)), record
        )

    def _receipt(self, name: str) -> Receipt | None:
        data = self.store.get(self._path(f"{RECEIPTS}/{posixpath.splitext(name)[0]}.json"))
        try:
            return None if data is None else Receipt.model_validate_json(data)
        except ValidationError:
            log.warning("part %s of %s is made again: its receipt is torn", name, self.uri)
            return None

    def write(self, table: str, kind: str, records: Iterable[Record], number: int = 0) -> None:
        """Write one part of a table."""
        self.write_table(table, kind, to_table(kind, records), number)

    def write_table(self, table: str, kind: str, arrow: pa.Table, number: int = 0) -> None:
        """Write one part of a table that has the columns of its kind."""
        check_columns(kind, arrow.schema, part_name(table, number))
        buffer = io.BytesIO()
        pq.write_table(arrow, buffer, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        data = buffer.getvalue()
        name, sha256 = part_name(table, number), sha256_of(data)
        part = Part(
            name=name,
            table=table,
            kind=kind,
            rows=arrow.num_rows,
            bytes=len(data),
            sha256=sha256,
            stored_as=content_name(name, sha256),
        )
        self.store.put(self._path(part.path), data)
        receipt = Receipt(part=part, run=self._run)
        self.store.put(
            self._path(f"{RECEIPTS}/{posixpath.splitext(name)[0]}.json"),
            receipt.model_dump_json().encode(),
        )
        self._runs[number] = self._run
        self._parts[name] = part

    def write_parts(
        self, table: str, kind: str, records: Sequence[Record], rows_per_part: int
    ) -> None:
        """Write a whole table in parts of so many rows, at least one."""
        for number, start in enumerate(range(0, max(1, len(records)), rows_per_part)):
            self.write(table, kind, records[start : start + rows_per_part], number)

    def write_files(self, group: str, folder: Path) -> None:
        """Store every file below a local folder as one group, in a folder named by their content."""
        stored = f"{check_name(group, 'group')}.{folder_digest(folder)[:DIGITS]}"
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            below = file.relative_to(folder).as_posix()
            part = Part(
                name=posixpath.join(group, below),
                table=group,
                kind="file",
                rows=0,
                bytes=file.stat().st_size,
                sha256=file_sha256(file),
                stored_as=posixpath.join(stored, below),
            )
            self.store.upload(file, self._path(part.path))
            self._parts[part.name] = part

    def commit(
        self,
        inputs: dict[str, str],
        config: JsonObject,
        stats: JsonObject,
        sources: Sequence[str] | None = None,
        aside: Sequence[str] = (),
    ) -> ArtifactRef:
        """Create the manifest. If another writer was first, its artifact is returned.

        `sources` are the digests of all artifacts among the inputs, those of lists one by one; the tables
        and groups in `aside` are kept, and are no part of the artifact's digest.
        """
        manifest = Manifest(
            stage=self.stage,
            key=self.key,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            parts=tuple(self._parts[name] for name in sorted(self._parts)),
            inputs=inputs,
            sources=None if sources is None else tuple(sources),
            config=config,
            stats=stats,
            software=software(),
            aside=tuple(aside),
        )
        self.store.create(self._path(MANIFEST), manifest.model_dump_json(indent=1).encode())
        ref = self.committed()
        if ref is None:
            raise StoreError(f"{self.uri}/{MANIFEST} vanished after it was written")
        if ref.digest != manifest.digest():
            log.warning("%s was committed by another writer first; its content is used", self.uri)
        return ref
