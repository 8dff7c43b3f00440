"""vLLM answers as transformers does, and comes back when it is killed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from looptool.artifacts import ArtifactWriter, Store
from looptool.config import ProbeConfig
from looptool.engines import EngineOptions, Generation, Limits, client
from looptool.engines.client import ChildEngine, borrow_engine, close_engines
from looptool.engines.grading import build_prompt, grade
from looptool.errors import EngineError
from looptool.probe import probe_parts
from looptool.records import ProbeResult, Sample

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

BASE = Path(__file__).parents[2] / "models" / "nano-base"
NEW_TOKENS, PROMPT_TOKENS = 48, 380  # as in conftest.py
SMALL: dict[str, Any] = {"threads": 2, "cache_gib": 0.25, "context_tokens": 1024}
Answers = Callable[..., list[Generation]]


@pytest.fixture(scope="module")
def engine(engines_python: Path) -> Iterator[ChildEngine]:
    options = EngineOptions(python=str(engines_python), restarts=1, timeout_s=300, **SMALL)
    found = ChildEngine("vllm", BASE, options)
    yield found
    found.close()


def test_text_and_perplexities_are_those_of_transformers(
    engine: ChildEngine,
    samples: list[Sample],
    reference: list[Generation],
    ask: Answers,
    check_equal: Callable[[list[Generation]], None],
) -> None:
    seen: list[tuple[int, int]] = []
    found = ask(engine, samples, on_progress=lambda *at: seen.append(at), batch_size=8)
    check_equal(found)
    assert seen[-1] == (len(samples), len(samples))
    assert len(seen) > 1
    # The comparison means something: calls, plain text and prompts that do not fit are among them.
    assert any("<tool_call>" in g.text for g in reference)
    assert any(g.text and "<tool_call>" not in g.text for g in reference)
    assert {g.failure for g in reference} == {"", "prompt_too_long"}


def test_answers_are_drawn_from_the_seed(
    engine: ChildEngine, check_drawn: Callable[..., None]
) -> None:
    check_drawn(engine)


def test_the_engine_says_what_it_is(engine: ChildEngine) -> None:
    info = engine.info()
    assert info.name == "vllm"
    assert set(info.versions) == {"vllm", "torch", "transformers"}
    assert info.parameters > 1_000_000


def test_an_answer_at_the_token_limit_is_truncated(
    engine: ChildEngine, samples: list[Sample]
) -> None:
    found = engine.generate([build_prompt(s) for s in samples[:3]], Limits(2, 900))
    assert [g.truncated for g in found] == [True] * 3
    assert [len(g.token_ids) for g in found] == [2] * 3
    assert [g.label_logprobs for g in found] == [None] * 3


def test_a_killed_engine_is_started_again_a_bounded_number_of_times(
    engine: ChildEngine,
    samples: list[Sample],
    ask: Answers,
    check_equal: Callable[[list[Generation]], None],
) -> None:
    killed: list[int] = []

    def kill(times: int) -> Callable[[int, int], None]:
        def on_progress(done: int, total: int) -> None:
            if len(killed) < times:
                killed.append(engine.pid)
                os.kill(engine.pid, signal.SIGKILL)

        return on_progress

    check_equal(ask(engine, samples, on_progress=kill(1), batch_size=4))
    assert engine.pid != killed[0]
    with pytest.raises(EngineError, match="SIGKILL"):
        ask(engine, samples, on_progress=kill(3), batch_size=4)
    assert len(killed) == 3


class Probing:
    """A probe stage of four parts, as the task runs it."""

    def __init__(self, folder: Path, python: Path, samples: list[Sample]) -> None:
        self.folder = folder
        self.python = python
        self.samples = samples

    def run(self, restarts: int) -> list[ProbeResult]:
        options = EngineOptions(python=str(self.python), restarts=restarts, timeout_s=300, **SMALL)
        limits = {"max_new_tokens": NEW_TOKENS, "max_prompt_tokens": PROMPT_TOKENS}
        results, report = probe_parts(
            self.samples,
            ProbeConfig(shard_size=8, batch_size=2, **limits),
            ArtifactWriter(Store(str(self.folder)), "campaign", "probe", "key"),
            lambda: borrow_engine("vllm", BASE, options),
        )
        assert report.samples == len(results) == len(self.samples)
        return results

    def parts(self) -> dict[str, int]:
        """Committed parts, and when each was written."""
        return {p.name: p.stat().st_mtime_ns for p in self.folder.rglob("*.parquet")}

    def kill_after(self, parts: int) -> threading.Thread:
        """Kill the engine as soon as so many parts are committed."""

        def work() -> None:
            while len(self.parts()) < parts:
                time.sleep(0.005)
            (place,) = client._PLACES
            assert place.engine is not None
            os.kill(place.engine.pid, signal.SIGKILL)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread


def test_finished_parts_stay_and_a_killed_engine_goes_on_at_the_first_missing_one(
    engines_python: Path,
    tmp_path: Path,
    samples: list[Sample],
    reference: list[Generation],
) -> None:
    probing = Probing(tmp_path, engines_python, samples)
    killer = probing.kill_after(1)
    with pytest.raises(EngineError, match="SIGKILL") as caught:
        probing.run(restarts=0)
    killer.join()
    assert caught.value.retryable
    before = probing.parts()
    assert 1 <= len(before) < 4

    killer = probing.kill_after(len(before) + 1)
    results = probing.run(restarts=2)
    killer.join()
    close_engines()
    after = probing.parts()
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    expected = [grade(s, g) for s, g in zip(samples, reference, strict=True)]
    assert [(r.sample_id, r.output, r.matched, r.failure) for r in results] == [
        (r.sample_id, r.output, r.matched, r.failure) for r in expected
    ]
