"""A folder on any fsspec file system: whole objects, create-once, and parts that are checked when read."""

import contextlib
import io
import os
import posixpath
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from looptool.artifacts.filesystem import http_status, open_filesystem, redact, shown
from looptool.artifacts.lease import Lease, hold_lease
from looptool.artifacts.manifest import (
    EXPIRED,
    MANIFEST,
    ArtifactRef,
    Manifest,
    Part,
    file_sha256,
    sha256_of,
)
from looptool.config import StoreConfig
from looptool.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    ConfigError,
    LoopToolError,
    StoreError,
    shorten,
)
from looptool.records import Record
from looptool.schema import check_columns, from_table, records_of

R = TypeVar("R", bound=Record)

CONFLICT, PRECONDITION_FAILED = 409, 412
CONFLICTS_MAX = 8
"""Tries of a create that the store calls in conflict with another one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of a store."""

    path: str
    size: int
    changed_at: float
    """Seconds since 1970; 0 where the file system does not say."""


def open_store(config: StoreConfig) -> "Store":
    """The store of a profile."""
    return Store(
        config.root,
        timeout_s=config.timeout_s,
        attempts=config.attempts,
        single_writer=config.single_writer,
        lease_s=config.lease_s,
    )


class Store:
    """A folder on any fsspec file system, with whole-object writes and create-once.

    With `single_writer` a process takes the store's lease before its first write and keeps it.
    """

    def __init__(
        self,
        root: str,
        *,
        timeout_s: float = 60.0,
        attempts: int = 8,
        single_writer: bool = False,
        lease_s: float = 300.0,
    ) -> None:
        self.fs, self._path = open_filesystem(root, timeout_s, attempts)
        self.root = root
        self._local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )
        self._single_writer = single_writer
        self._lease_s = lease_s

    def path(self, *names: str) -> str:
        """The full path of something below the root."""
        return posixpath.join(self._path, *names)

    def uri(self, *names: str) -> str:
        """The address of something below the root, as it is kept in references."""
        return str(self.fs.unstrip_protocol(self.path(*names)))

    def strip(self, uri: str) -> str:
        """The path of an address on this file system; of `file://`, the local path."""
        fs = LocalFileSystem if uri.startswith("file://") else self.fs
        return str(fs._strip_protocol(uri))

    def local_path(self, uri: str) -> Path | None:
        """The address as a local path, or None on a remote store."""
        return Path(self.strip(uri)) if self._local else None

    def check(self) -> None:
        """Write, read and delete small objects, and create one twice.

        Raises StoreError when the store cannot be used, and ConfigError when it lets two writers create
        the same object and no single writer was agreed on.
        """
        name = self.path(f".probe-{uuid.uuid4().hex}")
        try:
            if self._single_writer:
                self._lease()
            self._put(name, b"looptool")
            if self.get(name) != b"looptool":
                raise StoreError(f"store {self.root} does not return what was written")
            if not self._single_writer and not self._creates_once(f"{name}-once"):
                raise ConfigError(
                    f"store {self.root} does not keep a second writer from creating an object that "
                    "exists (If-None-Match: * is ignored or refused), so two runs could mix their "
                    "results; take a store that does (AWS S3, MinIO, R2, Ceph), or set [store] "
                    "single_writer = true and let one run write at a time"
                )
            self.remove(name)
        except (StoreError, OSError) as exc:
            cause = exc.__cause__ or exc
            raise StoreError(
                f"store {self.root} cannot be written ({shorten(redact(cause), 300)}); check the path or "
                "bucket, its permissions and free space, or set [store] root to another place"
            ) from shown(exc)

    def _creates_once(self, name: str) -> bool:
        """Whether the second of two conditional creates is refused, and leaves the first one alone."""
        try:
            first, second = self.create(name, b"first"), self.create(name, b"second")
        except StoreError:
            return (
                False  # a plain write went through just before: it is the condition that is refused
            )
        kept = self.get(name)
        self.remove(name)
        return first and not second and kept == b"first"

    @contextlib.contextmanager
    def _errors(self, doing: str, path: str) -> Iterator[None]:
        """Whatever a file system raises becomes a StoreError; what is or is not there stays itself."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, LoopToolError):
            raise
        except Exception as exc:
            raise self._refused(doing, path, exc) from shown(exc)

    @staticmethod
    def _refused(doing: str, path: str, exc: BaseException) -> StoreError:
        kind = "" if isinstance(exc, OSError) else f"{type(exc).__name__}: "
        return StoreError(
            f"cannot {doing} {path} ({kind}{shorten(redact(exc) or type(exc).__name__, 200)}); check "
            "free space, permissions and the connection to the store, then run again: finished parts "
            "are kept"
        )

    def _lease(self) -> Lease:
        return hold_lease(
            self.path("writer.json"), self.get, self._put, self.remove, self.root, self._lease_s
        )

    def put(self, path: str, data: bytes) -> None:
        """Write an object so that it is either whole or absent, replacing an older one."""
        if self._single_writer:
            self._lease().ensure()
        self._put(path, data)

    def _put(self, path: str, data: bytes) -> None:
        try:
            with self._errors("write", path):
                if self._local:
                    with self._beside(path, data) as temporary:
                        os.replace(temporary, path)
                else:
                    self.fs.pipe_file(path, data)
        except (FileNotFoundError, FileExistsError) as exc:  # no such bucket; a file for a folder
            raise self._refused("write", path, exc) from shown(exc)

    def create(self, path: str, data: bytes) -> bool:
        """Write an object that must not exist yet; False if there is one.

        After a broken connection that may be this writer's own: compare what is there where it matters.
        """
        if self._single_writer:
            self._lease().ensure()
            if self.get(path) is not None:
                return False
            self._put(path, data)
            return True
        try:
            with self._errors("create", path):
                if self._local:
                    with self._beside(path, data) as temporary:
                        os.link(temporary, path)
                else:
                    self._create_remote(path, data)
        except FileExistsError:
            return False
        except FileNotFoundError as exc:
            raise self._refused("create", path, exc) from shown(exc)
        return True

    def _create_remote(self, path: str, data: bytes) -> None:
        """One conditional PUT. An open(…, "xb") would not do: it empties what exists."""
        for attempt in range(CONFLICTS_MAX):
            try:
                self.fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                raise
            except Exception as exc:
                status = http_status(exc)
                if status == PRECONDITION_FAILED:  # not every server says which condition it was
                    raise FileExistsError(path) from exc
                if status != CONFLICT or attempt == CONFLICTS_MAX - 1:
                    raise
                time.sleep(0.05 * 2**attempt)
            else:
                return

    def get(self, path: str) -> bytes | None:
        """The object's bytes, or None if there is none."""
        with self._errors("read", path):
            try:
                return bytes(self.fs.cat_file(path))
            except (FileNotFoundError, NotADirectoryError):
                return None
        raise AssertionError("unreachable")

    def objects(self, folder: str) -> list[Stored]:
        """Every object below a folder, by path."""
        with self._errors("list", folder):
            try:
                found = self.fs.find(folder, detail=True)
            except FileNotFoundError:
                return []
            return [
                Stored(str(path), int(info.get("size") or 0), _changed_at(info))
                for path, info in sorted(found.items())
            ]
        raise AssertionError("unreachable")

    def remove(self, path: str) -> None:
        """Delete an object; one that is gone already is no error."""
        with self._errors("delete", path), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(path)

    def move(self, path: str, to: str) -> None:
        """Move an object: there twice for a moment, never absent."""
        with self._errors("move", path):
            if self._local:
                os.makedirs(os.path.dirname(to), exist_ok=True)
                os.replace(path, to)
                return
            self.fs.cp_file(path, to)
            self.fs.rm_file(path)

    def upload(self, file: Path, path: str) -> None:
        """Store a local file, however large, so that it is either whole or absent."""
        if self._single_writer:
            self._lease().ensure()
        try:
            with self._errors("write", path):
                if not self._local:
                    self.fs.put_file(str(file), path)
                    return
                with self._beside(path) as temporary:
                    shutil.copyfile(file, temporary)
                    os.replace(temporary, path)
        except (FileNotFoundError, FileExistsError) as exc:
            raise self._refused("write", path, exc) from shown(exc)

    @staticmethod
    @contextlib.contextmanager
    def _beside(path: str, data: bytes = b"") -> Iterator[str]:
        """A temporary file beside a path, with the data on disk; never left behind."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

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


def _changed_at(info: dict[str, Any]) -> float:
    when = info.get("mtime", info.get("LastModified", info.get("created")))
    if isinstance(when, datetime):
        return when.timestamp()
    return float(when) if isinstance(when, int | float) else 0.0
