"""The caller's side of an engine that runs in a child process, and the one that is kept open.

Loading torch and a model costs seconds, so evaluation and probe of one iteration borrow the same
engine: `borrow_engine` keeps it open until another checkpoint is asked for, `close_engines` is
called, or this process ends.
"""

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from looptool.engines import (
    STANDARD,
    Engine,
    EngineInfo,
    EngineOptions,
    Generation,
    LabelTexts,
    Limits,
    OnProgress,
    Prompt,
    Sampling,
    check_model_folder,
    check_options,
)
from looptool.engines.interpreter import find_python
from looptool.engines.process import Child, thread_env
from looptool.errors import EngineError, shorten

JsonObject = dict[str, Any]

logger = logging.getLogger(__name__)

VLLM_ENV = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
"""Environment of every engine's process: vLLM says little, and nothing to the outside."""


class ChildEngine:
    """`looptool.engines.Engine` whose work is done in a process of its own."""

    def __init__(self, name: str, checkpoint_dir: Path, options: EngineOptions = STANDARD) -> None:
        self._options = options
        self._request = {
            "op": "open",
            "name": name,
            "checkpoint": str(checkpoint_dir),
            "options": dataclasses.asdict(options),
        }
        self._python = find_python("vllm" if name == "vllm" else "transformers", options.python)
        self._child, self._info = self._start()

    def _start(self) -> tuple[Child, EngineInfo]:
        env = {**VLLM_ENV, **thread_env(self._options.threads)}
        child = Child("looptool.engines.job", env=env, error=EngineError, python=self._python)
        return child, EngineInfo(**child.request(self._request, timeout_s=self._options.timeout_s))

    @property
    def alive(self) -> bool:
        """Whether the process can still be asked."""
        return self._child.alive

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def info(self) -> EngineInfo:
        """Name, versions and size."""
        return self._info

    def close(self) -> None:
        """End the process; may be called twice."""
        self._child.kill()

    def generate(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        *,
        label_texts: LabelTexts = None,
        on_progress: OnProgress = None,
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`.

        Raises EngineError when the process died and starting it again did not help.
        """
        labels = None if label_texts is None else list(label_texts)
        rows = self._answer("generate", prompts, limits, on_progress, label_texts=labels)
        return [_read_generation(row) for row in rows]

    def sample(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        sampling: Sampling,
        *,
        on_progress: OnProgress = None,
    ) -> list[tuple[Generation, ...]]:
        """See `looptool.engines.Engine.sample`; raises what `generate` raises."""
        drawn = dataclasses.asdict(sampling)
        rows = self._answer("sample", prompts, limits, on_progress, sampling=drawn)
        return [tuple(map(_read_generation, answers)) for answers in rows]

    def _answer(
        self,
        operation: str,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_progress: OnProgress,
        **more: Any,
    ) -> list[Any]:
        """What the process answers, an element for each prompt."""
        if not prompts:
            return []
        request = {
            "op": operation,
            "prompts": [[list(p.messages), list(p.tools)] for p in prompts],
            "limits": dataclasses.asdict(limits),
            **more,
        }

        def report(line: JsonObject) -> None:
            if on_progress is not None:
                on_progress(line["done"], line["total"])

        answers: list[Any] = self._ask(request, report)["answers"]
        return answers

    def _ask(self, request: JsonObject, report: Callable[[JsonObject], None]) -> JsonObject:
        for left in reversed(range(self._options.restarts + 1)):
            try:
                if not self._child.alive and left < self._options.restarts:
                    self._child, self._info = self._start()
                return self._child.request(
                    request, timeout_s=self._options.timeout_s, on_line=report
                )
            except EngineError as exc:
                if not left:
                    raise
                logger.warning("the engine failed and is started again: %s", shorten(exc, 400))
        raise AssertionError("unreachable")


def _read_generation(row: JsonObject) -> Generation:
    label = row.pop("label_logprobs")
    for name in ("token_ids", "token_logprobs", "token_ends"):
        row[name] = tuple(row[name])
    return Generation(**row, label_logprobs=None if label is None else tuple(label))


@dataclasses.dataclass(eq=False)
class _Place:
    """An engine that is borrowed, or that stays open for the next borrower."""

    key: tuple[object, ...]
    """What it was opened for."""
    engine: ChildEngine | None = None
    """None while it is being opened."""
    lent: bool = True


_PLACES: list[_Place] = []
_CHANGED = threading.Condition()


@contextlib.contextmanager
def borrow_engine(
    name: str, checkpoint_dir: str | Path, options: EngineOptions = STANDARD, *, at_once: int = 1
) -> Iterator[Engine]:
    """An engine on this checkpoint, left open for the next borrower.

    `at_once` borrowers at a time have one each; a further one waits.
    """
    check_options(name, options)
    folder = check_model_folder(checkpoint_dir)
    weights = tuple(sorted((p.name, p.stat().st_mtime_ns) for p in folder.glob("*.safetensors")))
    place = _take((name, str(folder), weights, options), at_once)
    try:
        if place.engine is None:
            place.engine = ChildEngine(name, folder, options)
        yield place.engine
    finally:
        _give_back(place)


def close_engines() -> None:
    """End the engines that nobody has borrowed; call before something else needs the memory."""
    with _CHANGED:
        _drop(place for place in list(_PLACES) if not place.lent)


def _take(key: tuple[object, ...], at_once: int) -> _Place:
    """A place for a borrower, as soon as there may be one more; engines for anything else are ended."""
    with _CHANGED:
        _CHANGED.wait_for(lambda: sum(place.lent for place in _PLACES) < at_once)
        free = [place for place in _PLACES if not place.lent]
        usable = [p for p in free if p.key == key and p.engine is not None and p.engine.alive]
        _drop(place for place in free if place not in usable)
        if not usable:
            usable.append(_Place(key))
            _PLACES.append(usable[0])
        usable[0].lent = True
        return usable[0]


def _give_back(place: _Place) -> None:
    with _CHANGED:
        place.lent = False
        if place.engine is None:
            _PLACES.remove(place)
        _CHANGED.notify_all()


def _drop(places: Iterable[_Place]) -> None:
    for place in places:
        if place.engine is not None:
            place.engine.close()
        _PLACES.remove(place)
