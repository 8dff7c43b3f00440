"""Compare a store with what its manifests and iteration records say, and mend what does not fit.

Faults are what a reader would stumble over: a part that is missing or corrupt, a manifest or record that
cannot be read, a record of an iteration that refers to an artifact that is not there. What no manifest
knows is listed too, but is no fault: it may be the work of a stage that runs just now.

Nothing is made up: `requeue` removes the manifest, so that the stage is made again from the parts that are
whole; `quarantine` moves the artifact aside. A record that refers to either goes aside as well, so that its
iteration runs again.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeVar

from pydantic import ValidationError

from looptool.artifacts import (
    AHEAD,
    MANIFEST,
    ArtifactRef,
    CheckpointRef,
    Manifest,
    Part,
    Store,
    Stored,
)
from looptool.artifacts.manifest import EXPIRED, RECEIPTS
from looptool.campaign import CampaignFile, IterationRecord, Spending
from looptool.errors import ArtifactCorrupt, ArtifactMissing, shorten
from looptool.records import JsonObject, Record

M = TypeVar("M", bound=Record)
Kind = Literal["missing", "corrupt", "broken_reference", "orphan", "uncommitted"]
Repair = Literal["requeue", "quarantine"]
FAULTS = ("missing", "corrupt", "broken_reference")
QUARANTINE = "quarantine"
ARTIFACT = re.compile(r"(campaigns/[^/]+/iterations/\d+/[^/]+/[^/]+)/(.+)")
RECORD = re.compile(r"campaigns/[^/]+/iterations/\d+/iteration\.json")
NOTE = re.compile(r"[^/]+\.json")
"""Beside the parts: what a stage noted about its making."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the manifests say."""

    kind: Kind
    path: str
    """Below the store's root."""
    detail: str
    artifact: str = ""
    """Folder of the artifact that it belongs to; empty for records."""


@dataclass
class Folder:
    """One artifact's objects, committed or not."""

    path: str
    """Below the store's root."""
    objects: dict[str, Stored] = field(default_factory=dict)
    """By path below the folder."""
    manifest: Manifest | None = None
    expired: frozenset[str] = frozenset()
    """Parts that garbage collection removed."""

    @property
    def changed_at(self) -> float:
        """When its youngest object was written, seconds since 1970."""
        return max((item.changed_at for item in self.objects.values()), default=0.0)

    def strays(self) -> Iterator[str]:
        """Objects of a committed artifact that neither its manifest nor the next run needs."""
        if self.manifest is None:
            return
        known = {part.path for part in self.manifest.parts} | {MANIFEST, EXPIRED}
        for name in self.objects:
            if name not in known and not name.startswith(RECEIPTS) and not NOTE.fullmatch(name):
                yield name


class ExpiredFile(Record):
    """expired.json: written before the parts that it names are deleted."""

    parts: tuple[str, ...]
    removed_at: str
    """UTC, ISO 8601."""


@dataclass
class Survey:
    """Everything below a root."""

    folders: dict[str, Folder] = field(default_factory=dict)
    """By path below the root."""
    records: dict[str, IterationRecord] = field(default_factory=dict)
    loose: dict[str, Stored] = field(default_factory=dict)
    """Objects that belong to nothing: left-overs of a write that was killed, probes."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """The findings that a reader would stumble over."""
        return [finding for finding in self.findings if finding.kind in FAULTS]

    def as_json(self) -> JsonObject:
        """For a program."""
        return {
            "artifacts": sum(folder.manifest is not None for folder in self.folders.values()),
            "objects": sum(len(folder.objects) for folder in self.folders.values()),
            "iterations": len(self.records),
            "faults": len(self.faults),
            "findings": [
                {"kind": f.kind, "path": f.path, "detail": f.detail, "artifact": f.artifact}
                for f in self.findings
            ],
        }


def survey(store: Store, *, contents: bool = True) -> Survey:
    """Look at every object; with `contents` every part is read and compared with its sha256."""
    found = Survey()
    for item in store.objects(store.path()):
        _sort(store, found, item, posixpath.relpath(item.path, store.path()))
    for path in found.loose:
        found.findings.append(Finding("orphan", path, "left over from a write that did not end"))
    for folder in found.folders.values():
        found.findings += _check_folder(store, folder, contents)
    for path, record in found.records.items():
        found.findings += _check_references(store, found, path, record)
    return found


def _sort(store: Store, found: Survey, item: Stored, below: str) -> None:
    if below.startswith(".probe-"):
        found.loose[below] = item
    elif not below.startswith("campaigns/"):
        return  # what was moved aside, a lease, what others keep here
    elif below.endswith(".tmp"):
        found.loose[below] = item
    elif inside := ARTIFACT.fullmatch(below):
        folder = found.folders.setdefault(inside[1], Folder(inside[1]))
        folder.objects[inside[2]] = item
    elif RECORD.fullmatch(below):
        if (record := _read(store, found, below, IterationRecord)) is not None:
            found.records[below] = record
    elif below.endswith("/campaign.json"):
        _read(store, found, below, CampaignFile)
    elif "/spending/" in below:
        _read(store, found, below, Spending)


def _read(store: Store, found: Survey, below: str, model: type[M]) -> M | None:
    try:
        return model.model_validate_json(store.get(store.path(below)) or b"")
    except ValidationError as exc:
        found.findings.append(Finding("corrupt", below, f"not readable: {shorten(exc, 160)}"))
        return None


def _check_folder(store: Store, folder: Folder, contents: bool) -> Iterator[Finding]:
    if MANIFEST not in folder.objects:
        if folder.path.split("/")[-2].endswith(AHEAD):
            return  # never an artifact; each piece is checked when a stage takes it
        yield Finding(
            "uncommitted", folder.path, f"{len(folder.objects)} objects, no manifest", folder.path
        )
        return
    where = f"{folder.path}/{MANIFEST}"
    try:
        folder.manifest = store.read_manifest(store.uri(folder.path))
    except ArtifactCorrupt as exc:
        yield Finding("corrupt", where, str(exc), folder.path)
        return
    manifest = folder.manifest
    if manifest is None:
        return  # deleted while we looked
    stage, key = folder.path.split("/")[-2:]
    if (manifest.stage, manifest.key) != (stage, key):
        says = f"it is of {shorten(manifest.stage)}/{shorten(manifest.key)}"
        yield Finding("corrupt", where, says, folder.path)
    folder.expired = _expired(store, folder)
    for part in manifest.parts:
        if part.path not in folder.expired:
            yield from _check_part(store, folder, part, contents)
    for name in folder.strays():
        yield Finding("orphan", f"{folder.path}/{name}", "no manifest knows it", folder.path)


def _expired(store: Store, folder: Folder) -> frozenset[str]:
    if EXPIRED not in folder.objects:
        return frozenset()
    try:
        data = store.get(store.path(folder.path, EXPIRED)) or b""
        return frozenset(ExpiredFile.model_validate_json(data).parts)
    except ValidationError:
        return frozenset()


def _check_part(store: Store, folder: Folder, part: Part, contents: bool) -> Iterator[Finding]:
    where = f"{folder.path}/{part.path}"
    stored = folder.objects.get(part.path)
    if stored is None:
        yield Finding("missing", where, "the manifest names it", folder.path)
    elif stored.size != part.bytes:
        says = f"{stored.size} bytes, {part.bytes} expected"
        yield Finding("corrupt", where, says, folder.path)
    elif contents:
        try:
            store.read_part(store.uri(folder.path), part)
        except ArtifactMissing:
            yield Finding("missing", where, "the manifest names it", folder.path)
        except ArtifactCorrupt:
            yield Finding("corrupt", where, "another sha256 than expected", folder.path)


def references(record: IterationRecord) -> dict[str, ArtifactRef | CheckpointRef]:
    """What an iteration ended with, by name."""
    return {
        "dataset": record.dataset,
        "checkpoint": record.checkpoint,
        "next_dataset": record.next_dataset,
        "scores": record.scores,
        "verdicts": record.verdicts,
        "start_scores": record.start.scores,
        "best_checkpoint": record.best.checkpoint,
        "best_scores": record.best.scores,
    }


def folder_of(store: Store, uri: str) -> str:
    """An artifact's folder below the root; its full path if it is elsewhere."""
    path = store.strip(uri)
    root = store.path()
    return posixpath.relpath(path, root) if path.startswith(root.rstrip("/") + "/") else path


def _check_references(
    store: Store, found: Survey, path: str, record: IterationRecord
) -> Iterator[Finding]:
    for name, ref in references(record).items():
        where = folder_of(store, ref.uri)
        if not ARTIFACT.fullmatch(where + "/x"):
            continue  # a model of the outside, or a store that was moved
        folder = found.folders.get(where)
        if folder is None or folder.manifest is None:
            yield Finding("broken_reference", path, f"{name}: {where} is not there")
        elif folder.manifest.digest() != ref.digest:
            yield Finding("broken_reference", path, f"{name}: {where} has other content")


def repair(store: Store, found: Survey, how: Repair, now: datetime | None = None) -> list[str]:
    """Mend every fault; the actions taken, one a line."""
    stamp = f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    bad = sorted({fault.artifact for fault in found.faults if fault.artifact})
    done = [_mend(store, found.folders[path], how, stamp) for path in bad]
    broken = {fault.path for fault in found.faults if not fault.artifact}
    for path, record in found.records.items():
        if any(folder_of(store, ref.uri) in bad for ref in references(record).values()):
            broken.add(path)
    for path in sorted(broken):
        _aside(store, [path], stamp)
        done.append(f"moved {path} aside: its iteration runs again")
    return done


def _mend(store: Store, folder: Folder, how: Repair, stamp: str) -> str:
    if how == "requeue":
        # Parts that are whole are taken over by the next run: their receipts are checked against them.
        store.remove(store.path(folder.path, MANIFEST))
        return f"removed the manifest of {folder.path}: its stage runs again"
    _aside(store, (f"{folder.path}/{name}" for name in _manifest_first(folder)), stamp)
    return f"moved {folder.path} to {QUARANTINE}/{stamp}"


def _manifest_first(folder: Folder) -> list[str]:
    return sorted(folder.objects, key=lambda name: (name != MANIFEST, name))


def _aside(store: Store, paths: Iterable[str], stamp: str) -> None:
    for path in paths:
        store.move(store.path(path), store.path(QUARANTINE, stamp, path))
