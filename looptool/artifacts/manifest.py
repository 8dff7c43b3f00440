"""What an artifact says of itself: parts, manifest, references, and the names and digests they use."""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import field_validator

from looptool.errors import ConfigError, shorten
from looptool.records import JsonObject, Record, canonical_json

T = TypeVar("T")

MANIFEST = "manifest.json"
RECEIPTS = "receipts"
"""Folder of an artifact that says which parts are finished."""
RESUMED = "resumed.json"
"""When a later run last took parts over."""
AHEAD = "-ahead"
"""Ending of the folder beside a stage's for work that is done before the stage begins. What lies there never
gets a manifest."""
EXPIRED = "expired.json"
"""Beside a manifest: the parts that garbage collection removed on purpose."""
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
"""What campaigns, stages and tables may be called: safe in a path and in a URL."""
DIGITS = 16
"""Hex digits of a content digest in the name of an object."""


class Part(Record):
    """One object of an artifact."""

    name: str
    """What it is: `samples-00003.parquet`, or a path of a file group, `checkpoint/config.json`."""
    table: str
    """Name of the table it belongs to; for files, of the file group."""
    kind: str
    """Kind of `looptool.schema`, or `file`."""
    rows: int
    bytes: int
    sha256: str
    stored_as: str = ""
    """Path below the artifact's folder, if it is not the name."""

    @field_validator("name", "stored_as")
    @classmethod
    def _stays_below(cls, path: str) -> str:
        """A manifest is data: what it names is read, copied and collected only below its folder."""
        steps = path.split("/") if path else []
        if "\0" in path or {"", ".", ".."} & set(steps):
            raise ValueError("expected a path below the artifact's folder")
        return path

    @property
    def path(self) -> str:
        """Where it is, below the artifact's folder."""
        return self.stored_as or self.name


class Receipt(Record):
    """A finished part of an artifact that is not committed yet."""

    part: Part
    run: str
    """The writer that made it: tables of one part are taken over only from one and the same run."""


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
    sources: tuple[str, ...] | None = None
    """Digests of all artifacts among the inputs, those of lists one by one; None: not known."""
    config: JsonObject
    """The configuration section that the stage was given."""
    stats: JsonObject
    """Counts and timings of the stage."""
    software: dict[str, str]
    aside: tuple[str, ...] = ()
    """Tables and file groups that tell how the artifact was made, such as times and logs."""

    def digest(self) -> str:
        """Digest of the content alone: two runs that make the same rows have the same digest."""
        content = (part for part in self.parts if part.table not in self.aside)
        rows = sorted((p.name, p.kind, p.rows, p.sha256) for p in content)
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


def file_sha256(file: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def part_name(table: str, number: int) -> str:
    """The name of one part of a table."""
    return f"{check_name(table, 'table')}-{number:05d}.parquet"


def content_name(name: str, sha256: str) -> str:
    """The name with its content in it: no two contents share one, so nothing is ever overwritten."""
    stem, suffix = posixpath.splitext(name)
    return f"{stem}.{sha256[:DIGITS]}{suffix}"


def software() -> dict[str, str]:
    """Versions that an artifact was made with."""
    return {name: version(name) for name in ("looptool", "pyarrow", "pydantic")}


def folder_digest(folder: Path) -> str:
    """Digest over names and contents of all files below a folder, read in blocks."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    lines: list[Any] = [[p.relative_to(folder).as_posix(), file_sha256(p)] for p in files]
    return sha256_of(canonical_json(lines).encode())


def shards(rows: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """Numbered slices of at most `size` rows."""
    for number, start in enumerate(range(0, len(rows), size)):
        yield number, rows[start : start + size]
