"""What every task is given, and how it opens the artifact that it will write."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pydantic_core import to_jsonable_python

from looptool.artifacts import (
    ArtifactRef,
    ArtifactWriter,
    CheckpointRef,
    Store,
    Stored,
    artifact_key,
    open_store,
)
from looptool.campaign import Campaign, computed_settings
from looptool.config import LoopConfig
from looptool.decontaminate import load_index
from looptool.errors import DataError, shorten
from looptool.fingerprint import code_digest
from looptool.prompts import digest as prompt_digest
from looptool.records import BENCHMARKS, JsonObject, Record, Retracted, canonical_json
from tasks.progress import logger
from tasks.stages import STAGES

R = TypeVar("R", bound=Record)
T = TypeVar("T")

Input = ArtifactRef | CheckpointRef | Retracted | Sequence[ArtifactRef] | str
"""What a stage may be made from: references, or a digest given as text."""


class Scope(Record):
    """Where a task works: campaign, iteration (0 is the seed phase) and configuration."""

    campaign: str
    iteration: int
    round: int = 0
    """Round of the seed phase, from 1; 0 outside of rounds."""
    config: LoopConfig

    @property
    def label(self) -> str:
        """The iteration, with the round where there is one: `0.2`."""
        return f"{self.iteration}.{self.round}" if self.round else str(self.iteration)

    def store(self) -> Store:
        """The campaign's store."""
        return open_store(self.config.store)

    def cache(self) -> Path:
        """Local folder for copies of remote files and for work in progress."""
        return Path(os.environ.get("LOOPTOOL_CACHE", ".looptool/cache")).resolve()


class Stage:
    """One artifact in the making."""

    def __init__(self, name: str, scope: Scope, inputs: Mapping[str, Input]) -> None:
        self.scope = scope
        self.store = scope.store()
        self.inputs = {key: input_digest(value) for key, value in inputs.items()}
        self.sources = [digest for value in inputs.values() for digest in source_digests(value)]
        self.key = stage_key(name, scope, inputs)
        folder = Campaign(self.store, scope.campaign).folder(scope.iteration)
        self.writer = ArtifactWriter(self.store, folder, name, self.key)
        self.settings = stage_settings(name, scope.config)

    def committed(self) -> ArtifactRef | None:
        """The finished artifact, if an earlier run committed it."""
        return self.writer.committed()

    def commit(self, stats: Mapping[str, Any], aside: Sequence[str] = ()) -> ArtifactRef:
        """Commit what was written; tables and groups in `aside` are no part of the artifact's digest."""
        return self.writer.commit(
            self.inputs, self.settings, to_jsonable_python(dict(stats)), self.sources, aside
        )

    def load_part(self, table: str, number: int, record: type[R]) -> list[R] | None:
        """Rows of a part that an earlier run finished; None if it is not there or cannot be read."""
        return self._readable(number, partial(self.writer.load_part, table, table, number, record))

    def _readable(self, number: int, read: Callable[[], list[R] | None]) -> list[R] | None:
        try:
            return read()
        except (pa.ArrowException, DataError, OSError) as exc:
            logger().warning(
                "part %d of %s is made again: %s", number, self.writer.uri, shorten(exc, 200)
            )
            return None

    def read_finished(self, table: str, number: int, record: type[R]) -> list[R] | None:
        """Rows of a part that another task has finished; None as in `load_part`."""
        return self._readable(
            number, partial(self.writer.read_finished, table, table, number, record)
        )

    def objects(self) -> list[Stored]:
        """What is stored of it, committed or not."""
        return self.store.objects(self.store.strip(self.writer.uri))

    def save_note(self, name: str, value: JsonObject) -> None:
        """Keep something about the making of the artifact that is no part of its content."""
        path = self.store.strip(f"{self.writer.uri}/{name}.json")
        self.store.put(path, canonical_json(value).encode())

    def load_note(self, name: str) -> JsonObject | None:
        """A note of this or an earlier run; None if it is not there or cannot be read."""
        data = self.store.get(self.store.strip(f"{self.writer.uri}/{name}.json"))
        try:
            note = json.loads(data or b"")
        except ValueError:
            return None
        return note if isinstance(note, dict) else None

    def drop_work_folder(self) -> None:
        """Remove this artifact's work in progress."""
        shutil.rmtree(self.scope.cache() / "work" / self.key, ignore_errors=True)

    def work_folder(self, name: str) -> Path:
        """A local folder for this artifact's work in progress; the same one when it is resumed."""
        folder = self.scope.cache() / "work" / self.key / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def input_digest(value: Input) -> str:
    """Content digest of an input."""
    if isinstance(value, str):
        return value
    if isinstance(value, ArtifactRef | CheckpointRef | Retracted):
        return value.digest
    return artifact_key("list", [item.digest for item in value])


def source_digests(value: Input) -> list[str]:
    """Content digests of the artifacts in an input, one by one."""
    if isinstance(value, str | Retracted):
        return []
    if isinstance(value, ArtifactRef | CheckpointRef):
        return [value.digest]
    return [item.digest for item in value]


def stage_settings(name: str, config: LoopConfig) -> JsonObject:
    """The settings that a stage's result depends on, flat."""
    prefixes = STAGES[name].settings
    settings = {
        key: value
        for key, value in computed_settings(config).items()
        if any(key == p or key.startswith(p + ".") for p in prefixes)
    }
    if name in BENCHMARKS:
        section = getattr(config.benchmarks, name)
        settings[f"benchmarks.{name}"] = section.model_dump(
            mode="json", exclude={"python", "clone"}
        )
        settings["benchmarks.tool_parser"] = config.benchmarks.tool_parser
    if "merge" in prefixes and config.merge.decontaminate:
        # What an index holds counts, not where it lies.
        indexes = [load_index(Path(path)) for path in config.merge.decontaminate]
        settings["merge.decontaminate"] = sorted(index.digest for index in indexes)
    return settings


def stage_key(name: str, scope: Scope, inputs: Mapping[str, Input]) -> str:
    """Digest of everything that a stage's result depends on."""
    stage = STAGES[name]
    modules = [stage.module, *stage.others]
    if stage.prompts and scope.config.teacher.base_url == "simulator":
        modules.append("looptool.simulator")
    return artifact_key(
        name,
        scope.iteration,
        stage_settings(name, scope.config),
        {key: input_digest(value) for key, value in sorted(inputs.items())},
        [code_digest(module) for module in modules],
        [prompt_digest(prompt) for prompt in stage.prompts],
    )


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a stage's coroutine to its end from a synchronous task."""
    return asyncio.run(work)
