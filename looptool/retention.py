"""Which artifacts of a store may go: planned first, deleted only when asked for.

Kept are all artifacts that a complete iteration refers to, with everything that they were made from; all
of a campaign's iterations after its last complete one, for they are under way; all of a campaign that has
no complete iteration yet; the results of benchmarks; and whatever is younger than the age limit, so that a
stage that runs just now loses nothing. Checkpoints are kept of the last iterations alone, and the one that
the next iteration starts from: of older ones the files go and the manifest stays, with a note that says so.
"""

import math
import posixpath
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from looptool.artifacts import MANIFEST, Manifest, Store
from looptool.artifacts.manifest import EXPIRED, RECEIPTS
from looptool.campaign import Campaign
from looptool.errors import ConfigError
from looptool.fsck import ExpiredFile, Folder, Survey, folder_of, references, survey
from looptool.records import BENCHMARKS, JsonObject

Why = Literal["unreachable", "checkpoint", "uncommitted", "left_over"]


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects that may go, in the order in which they do."""

    why: Why
    path: str
    """Artifact folder or object, below the root."""
    objects: tuple[str, ...]
    """Below the root; a manifest first, so that what is half deleted is no artifact."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What garbage collection would delete."""

    removals: tuple[Removal, ...]
    kept: int
    """Committed artifacts that stay."""
    notes: tuple[str, ...] = field(default=())
    """What was kept out of caution, and why."""
    before: float = math.inf
    """Seconds since 1970: what was written later is in use."""

    def as_json(self) -> JsonObject:
        """For a program."""
        return {
            "kept": self.kept,
            "bytes": sum(removal.bytes for removal in self.removals),
            "notes": list(self.notes),
            "removals": [
                {"why": r.why, "path": r.path, "objects": len(r.objects), "bytes": r.bytes}
                for r in self.removals
            ],
        }


def plan_removals(
    store: Store, *, keep_checkpoints: int, age_s: float, now: float | None = None
) -> Plan:
    """What may go by the rule; `keep_checkpoints` counts complete iterations of each campaign."""
    if keep_checkpoints < 1:
        raise ConfigError(
            "keep_checkpoints must be at least 1: the next iteration starts from the last"
        )
    found = survey(store, contents=False)
    before = (time.time() if now is None else now) - age_s
    reach = _Reach(store, found)
    removals = [
        *_dead_artifacts(found, reach, before),
        *_old_checkpoints(store, found, keep_checkpoints, before),
        *_left_overs(found, before),
    ]
    gone = {removal.path for removal in removals if removal.why == "unreachable"}
    committed = [path for path, folder in found.folders.items() if folder.manifest]
    notes = tuple(sorted(reach.notes))
    return Plan(tuple(removals), len(committed) - len(gone), notes, before)


def remove(store: Store, plan: Plan) -> int:
    """Carry a plan out; the number of objects deleted.

    What a run has begun to use again since the plan was made stays.
    """
    count = 0
    for removal in plan.removals:
        if removal.why == "uncommitted" and any(
            item.changed_at >= plan.before for item in store.objects(store.path(removal.path))
        ):
            continue
        if removal.why == "checkpoint":
            _note_expired(store, removal)
        for path in removal.objects:
            store.remove(store.path(path))
            count += 1
    return count


def _note_expired(store: Store, removal: Removal) -> None:
    path = store.path(removal.path, EXPIRED)
    names = {posixpath.relpath(name, removal.path) for name in removal.objects}
    if (earlier := store.get(path)) is not None:
        names.update(ExpiredFile.model_validate_json(earlier).parts)
    note = ExpiredFile(
        parts=tuple(sorted(names)), removed_at=datetime.now(UTC).isoformat(timespec="seconds")
    )
    store.put(path, note.model_dump_json().encode())


class _Reach:
    """What the complete iterations of all campaigns need."""

    def __init__(self, store: Store, found: Survey) -> None:
        self.folders: set[str] = set()
        self.notes: set[str] = set()
        self._found = found
        self._by_digest: dict[str, list[str]] = {}
        for path, folder in found.folders.items():
            if folder.manifest:
                self._by_digest.setdefault(folder.manifest.digest(), []).append(path)
        for name in _campaigns(found):
            records = Campaign(store, name).complete()
            for record in records:
                for ref in references(record).values():
                    self._add(folder_of(store, ref.uri))
            for path in found.folders:
                under_way = not records or _iteration(path) > len(records)
                if _campaign(path) == name and (under_way or _stage(path) in BENCHMARKS):
                    self._add(path)

    def _add(self, path: str) -> None:
        """An artifact and what it was made from."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            folder = self._found.folders.get(path)
            if path in self.folders or folder is None:
                continue
            self.folders.add(path)
            if folder.manifest is not None:
                waiting += self._inputs(path, folder.manifest)

    def _inputs(self, path: str, manifest: Manifest) -> Iterable[str]:
        known = manifest.sources is not None
        digests = manifest.sources or () if known else manifest.inputs.values()
        if known or all(digest in self._by_digest for digest in digests):
            return [found for digest in digests for found in self._by_digest.get(digest, [])]
        name = _campaign(path)
        self.notes.add(f"{path} does not say all it was made from: everything of {name} is kept")
        return [other for other in self._found.folders if _campaign(other) == name]


def _campaigns(found: Survey) -> list[str]:
    return sorted({_campaign(path) for path in [*found.folders, *found.records]})


def _campaign(path: str) -> str:
    return path.split("/")[1]


def _stage(path: str) -> str:
    return path.split("/")[4]


def _iteration(path: str) -> int:
    return int(path.split("/")[3])


def _removal(why: Why, folder: Folder, names: Iterable[str]) -> Removal:
    order = sorted(names, key=lambda name: (name != MANIFEST, name))
    size = sum(folder.objects[name].size for name in order)
    return Removal(why, folder.path, tuple(f"{folder.path}/{name}" for name in order), size)


def _dead_artifacts(found: Survey, reach: _Reach, before: float) -> Iterator[Removal]:
    for path, folder in found.folders.items():
        if folder.changed_at >= before:
            continue
        if folder.manifest is None:
            if MANIFEST not in folder.objects:  # one that cannot be read is for fsck
                yield _removal("uncommitted", folder, folder.objects)
        elif path not in reach.folders:
            yield _removal("unreachable", folder, folder.objects)
        elif names := [*folder.strays(), *(n for n in folder.objects if n.startswith(RECEIPTS))]:
            yield _removal("left_over", folder, names)


def _old_checkpoints(store: Store, found: Survey, keep: int, before: float) -> Iterator[Removal]:
    kept: set[str] = set()
    old: set[str] = set()
    for name in _campaigns(found):
        records = Campaign(store, name).complete()
        folders = [folder_of(store, record.checkpoint.uri) for record in records]
        kept.update(folders[-keep:])
        kept.update(folder_of(store, record.best.checkpoint.uri) for record in records[-1:])
        old.update(folders[:-keep])
    for path in sorted(old - kept):
        folder = found.folders.get(path)
        if folder is None or folder.manifest is None or folder.changed_at >= before:
            continue
        files = [part.path for part in folder.manifest.parts if part.kind == "file"]
        if here := [name for name in files if name in folder.objects]:
            yield _removal("checkpoint", folder, here)


def _left_overs(found: Survey, before: float) -> Iterator[Removal]:
    for path, item in found.loose.items():
        if item.changed_at < before:
            yield Removal("left_over", path, (path,), item.size)
