"""The artifacts of a store: manifests, and parts that are checked whenever they are read."""

import contextlib
import io
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from looptool.artifacts.manifest import (
    EXPIRED,
    MANIFEST,
    ArtifactRef,
    Manifest,
    Part,
    file_sha256,
    sha256_of,
)
from looptool.artifacts.objects import Objects
from looptool.config import StoreConfig
from looptool.errors import ArtifactCorrupt, ArtifactMissing, shorten
from looptool.records import Record
from looptool.schema import check_columns, from_table, records_of

R = TypeVar("R", bound=Record)


def open_store(config: StoreConfig) -> "Store":
    """The store of a profile."""
    return Store(
        config.root,
        timeout_s=config.timeout_s,
        attempts=config.attempts,
        single_writer=config.single_writer,
        lease_s=config.lease_s,
    )


class Store(Objects):
    """The objects of a store, and what manifests make of them."""

    def read_manifest(self, uri: str) -> Manifest | None:
        """The manifest of an artifact, or None if it was never committed.

        What is on another file system, such as a local base model, is no artifact of this store.
        """
        if uri.startswith("file://") and not self._local:
            return None
        data = self.get(posixpath.join(self.strip(uri), MANIFEST))
        if data is None:
            return None
        try:
            return Manifest.model_validate_json(data)
        except ValidationError as exc:
            raise ArtifactCorrupt(
                f"{uri}/{MANIFEST} is not a manifest: {shorten(exc, 200)}; run looptool fsck --repair"
            ) from exc

    def ref(self, uri: str) -> ArtifactRef | None:
        """A reference to a committed artifact, or None."""
        manifest = self.read_manifest(uri)
        if manifest is None:
            return None
        return ArtifactRef(
            stage=manifest.stage,
            uri=uri,
            key=manifest.key,
            digest=manifest.digest(),
            rows=manifest.rows(),
        )

    def manifest_of(self, ref: ArtifactRef) -> Manifest:
        """The manifest behind a reference; ArtifactMissing if it is gone."""
        manifest = self.read_manifest(ref.uri)
        if manifest is None:
            raise ArtifactMissing(
                f"artifact {ref.uri} is gone; run the iteration again with the same parameters to "
                f"rebuild stage {ref.stage}"
            )
        return manifest

    def read(self, ref: ArtifactRef, table: str, record: type[R]) -> list[R]:
        """All rows of one table, in order of its parts; every part is checked against its sha256."""
        return [row for rows in self.read_parts(ref, table, record) for row in rows]

    def read_parts(self, ref: ArtifactRef, table: str, record: type[R]) -> Iterator[list[R]]:
        """The rows of one table part by part, so that no more than one part is in memory."""
        for part in self._parts_of(ref, table):
            where = posixpath.join(ref.uri, part.path)
            data = self.read_part(ref.uri, part)
            yield records_of(
                list(from_table(part.kind, pq.read_table(io.BytesIO(data)), where)), record
            )

    def scan(
        self, ref: ArtifactRef, table: str, batch_rows: int = 8192
    ) -> Iterator[pa.RecordBatch]:
        """The same rows as Arrow batches: one part, as it is stored, is in memory at a time."""
        for part in self._parts_of(ref, table):
            file = pq.ParquetFile(io.BytesIO(self.read_part(ref.uri, part)))
            check_columns(part.kind, file.schema_arrow, posixpath.join(ref.uri, part.path))
            yield from file.iter_batches(batch_rows)

    def _parts_of(self, ref: ArtifactRef, table: str) -> Iterator[Part]:
        return (part for part in self.manifest_of(ref).parts if part.table == table)

    def read_part(self, uri: str, part: Part) -> bytes:
        """The bytes of a part, of the length and sha256 that its manifest says.

        What does not fit is read once more: a connection may have ended early.
        """
        where = posixpath.join(uri, part.path)
        data = b""
        for _ in range(2):
            found = self.get(self.strip(where))
            if found is None:
                raise ArtifactMissing(self._gone(uri, where))
            data = found
            if len(data) == part.bytes and sha256_of(data) == part.sha256:
                return data
        raise ArtifactCorrupt(
            f"part {where} was changed ({len(data)} bytes, {part.bytes} expected); run looptool fsck "
            "--repair, then the iteration again"
        )

    def _gone(self, uri: str, where: str) -> str:
        if self.get(posixpath.join(self.strip(uri), EXPIRED)) is not None:
            return (
                f"part {where} was removed by looptool gc; to make it again, delete {uri} and run its "
                "iteration again"
            )
        return f"part {where} is gone; run looptool fsck --repair, then the iteration again"

    def fetch_files(self, ref: ArtifactRef, group: str, cache: Path) -> Path:
        """The files of a group as a local folder: in place if local, else copied below `cache`.

        Every file is checked against the manifest; a copy once, when it is made.
        """
        parts = [part for part in self.manifest_of(ref).parts if part.table == group]
        if not parts:
            raise ArtifactMissing(f"artifact {ref.uri} has no files {group}")
        above = parts[0].path[: len(parts[0].path) - len(posixpath.relpath(parts[0].name, group))]
        here = self.local_path(posixpath.join(ref.uri, above.rstrip("/")))
        if here is not None:
            for part in parts:
                self._check_file(Path(self.strip(ref.uri)) / part.path, ref.uri, part)
            return here
        target = cache / ref.digest[:24] / group
        if not target.is_dir():
            temporary = target.with_name(f"{group}.{uuid.uuid4().hex}.tmp")
            try:
                for part in parts:
                    self._download(ref.uri, part, temporary / posixpath.relpath(part.name, group))
                with contextlib.suppress(OSError):  # another process was first, with the same files
                    temporary.replace(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return target

    def _download(self, uri: str, part: Part, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        where = posixpath.join(self.strip(uri), part.path)
        try:
            with self._errors("read", where):
                self.fs.get_file(where, str(file))
        except FileNotFoundError as exc:
            raise ArtifactMissing(self._gone(uri, where)) from exc
        self._check_file(file, uri, part)

    def _check_file(self, file: Path, uri: str, part: Part) -> None:
        if not file.is_file():
            raise ArtifactMissing(self._gone(uri, str(file)))
        if file.stat().st_size != part.bytes or file_sha256(file) != part.sha256:
            raise ArtifactCorrupt(
                f"file {part.name} of {uri} was changed; run looptool fsck --repair, then the "
                "iteration again"
            )
