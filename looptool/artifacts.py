"""Artifacts: Parquet tables and checkpoint files on any fsspec URL, committed by their manifest.

    <root>/campaigns/<name>/iterations/0003/<stage>/<key>/<table>-00000.parquet … manifest.json

The key names what made the artifact (stage, configuration, digests of inputs, code and prompts), the
digest what is in it. A part appears under its final name only when whole; `manifest.json` is created
last and at most once, so an artifact without one does not exist, and of two writers one wins. The state
of a campaign is what its manifests and iteration records say; Prefect's database may be lost.
"""

import hashlib
import io
import os
import posixpath
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from looptool.errors import ArtifactCorrupt, ArtifactMissing, ConfigError, StoreError, shorten
from looptool.records import JsonObject, Record, canonical_json
from looptool.schema import check_columns, from_table, records_of, to_table

R = TypeVar("R", bound=Record)
T = TypeVar("T")

MANIFEST = "manifest.json"
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
"""What campaigns, stages and tables may be called: safe in a path and in a URL."""


class Part(Record):
    """One object of an artifact."""

    name: str
    """Path below the artifact's folder."""
    table: str
    """Name of the table it belongs to; for files, of the file group."""
    kind: str
    """Kind of `looptool.schema`, or `file`."""
    rows: int
    bytes: int
    sha256: str


class ArtifactRef(Record):
    """What tasks hand to each other instead of data."""

    stage: str
    uri: str
    """Folder of the artifact."""
    key: str
    """Digest of everything that it was made from."""
    digest: str
    """Digest of its content."""
    rows: dict[str, int]
    """Rows per table."""


class CheckpointRef(Record):
    """A policy checkpoint in Hugging Face format."""

    uri: str
    digest: str
    """Digest over names and contents of its files."""


class Manifest(Record):
    """What an artifact holds and where it came from; the commit point."""

    format: int = 1
    stage: str
    key: str
    created_at: str
    """UTC, ISO 8601."""
    parts: tuple[Part, ...]
    inputs: dict[str, str]
    """Digest of every input by name."""
    config: JsonObject
    """The configuration section that the stage was given."""
    stats: JsonObject
    """Counts and timings of the stage."""
    software: dict[str, str]

    def digest(self) -> str:
        """Digest of the content alone: two runs that make the same rows have the same digest."""
        rows = sorted((p.name, p.kind, p.rows, p.sha256) for p in self.parts)
        return sha256_of(canonical_json([list(row) for row in rows]).encode())

    def rows(self) -> dict[str, int]:
        """Rows per table."""
        counts: dict[str, int] = {}
        for part in self.parts:
            counts[part.table] = counts.get(part.table, 0) + part.rows
        return counts


def sha256_of(data: bytes) -> str:
    """Hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def artifact_key(stage: str, *facts: object) -> str:
    """The key of an artifact: 24 hex digits over the stage and JSON-compatible facts."""
    return sha256_of(canonical_json([stage, *facts]).encode("utf-8", "surrogatepass"))[:24]


def check_name(name: str, what: str) -> str:
    """The name if it is safe in a path; ConfigError otherwise."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {shorten(name)!r} is not usable: take 1-64 of a-z, A-Z, 0-9, '.', '_' and '-', "
            "the first a letter or digit"
        )
    return name


class Store:
    """A folder on any fsspec file system, with whole-object writes and create-once."""

    def __init__(self, root: str) -> None:
        try:
            self.fs, path = fsspec.core.url_to_fs(root)
        except (ValueError, ImportError, TypeError) as exc:
            raise ConfigError(
                f"store root {shorten(root)} cannot be opened ({shorten(exc)}); give a folder or an "
                "fsspec URL such as s3://bucket/prefix (pip install 'looptool[s3]')"
            ) from exc
        self.root = root
        self._local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )
        self._path = path.rstrip("/")

    def path(self, *names: str) -> str:
        """The full path of something below the root."""
        return posixpath.join(self._path, *names)

    def uri(self, *names: str) -> str:
        """The address of something below the root, as it is kept in references."""
        return str(self.fs.unstrip_protocol(self.path(*names)))

    def strip(self, uri: str) -> str:
        """The path of an address on this file system."""
        return str(self.fs._strip_protocol(uri))

    def local_path(self, uri: str) -> Path | None:
        """The address as a local path, or None on a remote store."""
        return Path(self.strip(uri)) if self._local else None

    def check(self) -> None:
        """Write, read and delete a small object; StoreError says what is wrong."""
        name = self.path(f".probe-{uuid.uuid4().hex}")
        try:
            self.put(name, b"looptool")
            if self.fs.cat_file(name) != b"looptool":
                raise StoreError(f"store {self.root} does not return what was written")
            self.fs.rm_file(name)
        except (OSError, ValueError) as exc:
            raise StoreError(
                f"store {self.root} cannot be written ({shorten(exc)}); check the path or bucket, its "
                "permissions and free space, or set [store] root to another place"
            ) from exc

    def put(self, path: str, data: bytes) -> None:
        """Write an object so that it is either whole or absent, replacing an older one."""
        if not self._local:
            self.fs.pipe_file(path, data)
            return
        temporary = self._write_beside(path, data)
        os.replace(temporary, path)

    def create(self, path: str, data: bytes) -> bool:
        """Write an object that must not exist yet; False if another writer was first."""
        try:
            if not self._local:
                self.fs.pipe_file(path, data, mode="create")
                return True
            temporary = self._write_beside(path, data)
            try:
                os.link(temporary, path)
            finally:
                os.unlink(temporary)
        except FileExistsError:
            return False
        return True

    def get(self, path: str) -> bytes | None:
        """The object's bytes, or None if there is none."""
        try:
            return bytes(self.fs.cat_file(path))
        except FileNotFoundError:
            return None

    @staticmethod
    def _write_beside(path: str, data: bytes) -> str:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return temporary

    def read_manifest(self, uri: str) -> Manifest | None:
        """The manifest of an artifact, or None if it was never committed."""
        data = self.get(posixpath.join(self.strip(uri), MANIFEST))
        if data is None:
            return None
        try:
            return Manifest.model_validate_json(data)
        except ValidationError as exc:
            raise ArtifactCorrupt(
                f"{uri}/{MANIFEST} is not a manifest: {shorten(exc, 200)}; delete the folder and re-run"
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
        rows: list[R] = []
        for part, data in self._read_parts(ref, table):
            where = posixpath.join(ref.uri, part.name)
            read = from_table(part.kind, pq.read_table(io.BytesIO(data)), where)
            rows += records_of(list(read), record)
        return rows

    def scan(
        self, ref: ArtifactRef, table: str, batch_rows: int = 8192
    ) -> Iterator[pa.RecordBatch]:
        """The same rows as Arrow batches: one part, as it is stored, is in memory at a time."""
        for part, data in self._read_parts(ref, table):
            file = pq.ParquetFile(io.BytesIO(data))
            check_columns(part.kind, file.schema_arrow, posixpath.join(ref.uri, part.name))
            yield from file.iter_batches(batch_rows)

    def _read_parts(self, ref: ArtifactRef, table: str) -> Iterator[tuple[Part, bytes]]:
        for part in self.manifest_of(ref).parts:
            if part.table == table:
                where = posixpath.join(ref.uri, part.name)
                data = self.get(self.strip(where))
                if data is None:
                    raise ArtifactMissing(f"part {where} is gone; delete {ref.uri} and re-run")
                if sha256_of(data) != part.sha256:
                    raise ArtifactCorrupt(f"part {where} was changed; delete {ref.uri} and re-run")
                yield part, data

    def fetch_files(self, ref: ArtifactRef, group: str, cache: Path) -> Path:
        """The files of a group as a local folder: in place if local, else copied below `cache`."""
        here = self.local_path(posixpath.join(ref.uri, group))
        if here is not None:
            return here
        target = cache / ref.digest[:24] / group
        if not target.is_dir():
            temporary = target.with_name(f"{group}.{uuid.uuid4().hex}.tmp")
            for part in self.manifest_of(ref).parts:
                if part.table == group:
                    file = temporary / posixpath.relpath(part.name, group)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    self.fs.get_file(posixpath.join(self.strip(ref.uri), part.name), str(file))
            temporary.replace(target)
        return target


class ArtifactWriter:
    """Writes the parts of one artifact and commits it.

    Parts may be written in several runs: `has_part` says what an earlier, killed run already finished.
    """

    def __init__(self, store: Store, folder: str, stage: str, key: str) -> None:
        self.store = store
        self.uri = store.uri(folder, check_name(stage, "stage"), key)
        self.stage = stage
        self.key = key
        self._parts: dict[str, Part] = {}

    def committed(self) -> ArtifactRef | None:
        """The artifact if some run has committed it."""
        return self.store.ref(self.uri)

    def _path(self, name: str) -> str:
        return posixpath.join(self.store.strip(self.uri), name)

    @staticmethod
    def _part_name(table: str, number: int) -> str:
        return f"{check_name(table, 'table')}-{number:05d}.parquet"

    def load_part(self, table: str, kind: str, number: int, record: type[R]) -> list[R] | None:
        """Rows of a part that an earlier run finished, now counted in; None if it is not there."""
        name = self._part_name(table, number)
        data = self.store.get(self._path(name))
        if data is None:
            return None
        rows = records_of(list(from_table(kind, pq.read_table(io.BytesIO(data)), name)), record)
        self._parts[name] = Part(
            name=name,
            table=table,
            kind=kind,
            rows=len(rows),
            bytes=len(data),
            sha256=sha256_of(data),
        )
        return rows

    def write(self, table: str, kind: str, records: Iterable[Record], number: int = 0) -> None:
        """Write one part of a table."""
        self.write_table(table, kind, to_table(kind, records), number)

    def write_table(self, table: str, kind: str, arrow: pa.Table, number: int = 0) -> None:
        """Write one part of a table that has the columns of its kind."""
        name = self._part_name(table, number)
        check_columns(kind, arrow.schema, name)
        buffer = io.BytesIO()
        pq.write_table(arrow, buffer, compression="zstd")
        data = buffer.getvalue()
        self._put(name, data)
        self._parts[name] = Part(
            name=name,
            table=table,
            kind=kind,
            rows=arrow.num_rows,
            bytes=len(data),
            sha256=sha256_of(data),
        )

    def write_files(self, group: str, folder: Path) -> None:
        """Store every file below a local folder as one group."""
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = posixpath.join(check_name(group, "group"), file.relative_to(folder).as_posix())
            data = file.read_bytes()
            self._put(name, data)
            self._parts[name] = Part(
                name=name, table=group, kind="file", rows=0, bytes=len(data), sha256=sha256_of(data)
            )

    def _put(self, name: str, data: bytes) -> None:
        try:
            self.store.put(self._path(name), data)
        except OSError as exc:
            raise StoreError(
                f"cannot write {self.uri}/{name} ({shorten(exc)}); free space or check permissions, "
                "then run again: finished parts are kept"
            ) from exc

    def commit(self, inputs: dict[str, str], config: JsonObject, stats: JsonObject) -> ArtifactRef:
        """Create the manifest. If another writer was first, its artifact is returned."""
        manifest = Manifest(
            stage=self.stage,
            key=self.key,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            parts=tuple(self._parts[name] for name in sorted(self._parts)),
            inputs=inputs,
            config=config,
            stats=stats,
            software=software(),
        )
        data = manifest.model_dump_json(indent=1).encode()
        try:
            self.store.create(self._path(MANIFEST), data)
        except OSError as exc:
            raise StoreError(f"cannot commit {self.uri} ({shorten(exc)})") from exc
        ref = self.committed()
        if ref is None:
            raise StoreError(f"{self.uri}/{MANIFEST} vanished after it was written")
        return ref


def software() -> dict[str, str]:
    """Versions that an artifact was made with."""
    return {name: version(name) for name in ("looptool", "pyarrow", "pydantic")}


def folder_digest(folder: Path) -> str:
    """Digest over names and contents of all files below a folder, read in blocks."""
    lines: list[Any] = []
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        with file.open("rb") as stream:
            lines.append(
                [
                    file.relative_to(folder).as_posix(),
                    hashlib.file_digest(stream, "sha256").hexdigest(),
                ]
            )
    return sha256_of(canonical_json(lines).encode())


def shards(rows: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """Numbered slices of at most `size` rows."""
    for number, start in enumerate(range(0, len(rows), size)):
        yield number, rows[start : start + size]
