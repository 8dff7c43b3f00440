"""Objects below a folder on any fsspec file system: written whole, or created once."""

import contextlib
import os
import posixpath
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from looptool.artifacts.filesystem import http_status, open_filesystem, redact, shown
from looptool.artifacts.lease import Lease, hold_lease
from looptool.errors import ConfigError, LoopToolError, StoreError, shorten

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


class Objects:
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


def _changed_at(info: dict[str, Any]) -> float:
    when = info.get("mtime", info.get("LastModified", info.get("created")))
    if isinstance(when, datetime):
        return when.timestamp()
    return float(when) if isinstance(when, int | float) else 0.0
