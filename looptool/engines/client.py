"""The caller's side of an engine that runs in a child process, and the one that is kept open.

Loading torch and a model costs seconds, so evaluation and probe of one iteration borrow the same
engine: `borrow_engine` keeps the last one open until another checkpoint is asked for,
`close_engines` is called, or this process ends.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from looptool.engines import Engine, EngineInfo, Generation, Prompt, check_model_folder
from looptool.engines.process import Child, thread_env
from looptool.errors import EngineError

JsonObject = dict[str, Any]


class ChildEngine:
    """`looptool.engines.Engine` whose work is done in a process of its own."""

    def __init__(
        self,
        name: str,
        checkpoint_dir: Path,
        *,
        threads: int | None = None,
        dtype: str = "float32",
        timeout_s: float = 3600.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._child = Child("looptool.engines.job", env=thread_env(threads), error=EngineError)
        request = {
            "op": "open",
            "name": name,
            "checkpoint": str(checkpoint_dir),
            "threads": threads,
            "dtype": dtype,
        }
        self._info = EngineInfo(**self._child.request(request, timeout_s=timeout_s))

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
        *,
        max_new_tokens: int,
        max_prompt_tokens: int,
        batch_size: int = 64,
        label_texts: Sequence[str | None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`; raises EngineError when the process dies."""
        if not prompts:
            return []
        request = {
            "op": "generate",
            "prompts": [[list(p.messages), list(p.tools)] for p in prompts],
            "max_new_tokens": max_new_tokens,
            "max_prompt_tokens": max_prompt_tokens,
            "batch_size": batch_size,
            "label_texts": None if label_texts is None else list(label_texts),
        }

        def report(line: JsonObject) -> None:
            if on_progress is not None:
                on_progress(line["done"], line["total"])

        result = self._child.request(request, timeout_s=self._timeout_s, on_line=report)
        return [_read_generation(row) for row in result["generations"]]


def _read_generation(row: JsonObject) -> Generation:
    label = row.pop("label_logprobs")
    for name in ("token_ids", "token_logprobs", "token_ends"):
        row[name] = tuple(row[name])
    return Generation(**row, label_logprobs=None if label is None else tuple(label))


class _Kept:
    """The engine that stays open between borrowers, and what it was opened for."""

    lock = threading.Lock()
    key: tuple[object, ...] = ()
    engine: ChildEngine | None = None


@contextlib.contextmanager
def borrow_engine(
    name: str,
    checkpoint_dir: str | Path,
    *,
    threads: int | None = None,
    dtype: str = "float32",
    timeout_s: float = 3600.0,
) -> Iterator[Engine]:
    """An engine on this checkpoint, left open for the next borrower; one borrower at a time."""
    folder = check_model_folder(checkpoint_dir)
    weights = tuple(sorted((p.name, p.stat().st_mtime_ns) for p in folder.glob("*.safetensors")))
    key = (name, str(folder), weights, threads, dtype, timeout_s)
    with _Kept.lock:
        if _Kept.engine is None or _Kept.key != key or not _Kept.engine.alive:
            _drop()
            options: dict[str, Any] = {"threads": threads, "dtype": dtype, "timeout_s": timeout_s}
            _Kept.engine = ChildEngine(name, folder, **options)
            _Kept.key = key
        yield _Kept.engine


def close_engines() -> None:
    """End the engine that is kept open, if any; call before something else needs the memory."""
    with _Kept.lock:
        _drop()


def _drop() -> None:
    if _Kept.engine is not None:
        _Kept.engine.close()
    _Kept.engine, _Kept.key = None, ()
