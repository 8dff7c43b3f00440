"""An engine in its own process answers like the one in this process, and is shared."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from looptool.engines import EngineOptions, Limits, Prompt, open_engine
from looptool.engines.client import ChildEngine, borrow_engine, close_engines
from looptool.errors import ConfigError, EngineError

PROMPTS = [Prompt(messages=[{"role": "user", "content": text}]) for text in ("Hello", "Bye now")]


def test_importing_the_engines_loads_no_torch() -> None:
    script = (
        "import sys, looptool.engines, looptool.engines.client, looptool.train, looptool.probe,"
        "looptool.evaluate\n"
        "print([m for m in ('torch', 'transformers', 'trl', 'prefect') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]", found.stderr


def test_an_unknown_engine_and_a_missing_folder_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown engine 'vlm'; known: transformers"):
        open_engine("vlm", tmp_path)
    with pytest.raises(ConfigError, match="does not exist; set policy"):
        open_engine("transformers", tmp_path / "none")
    with pytest.raises(ConfigError, match=r"missing: config\.json.*safetensors"):
        open_engine("transformers", tmp_path)


@pytest.mark.engines
def test_borrowers_share_one_process_until_it_is_closed_or_dies(tiny_model: Path) -> None:
    def borrow() -> tuple[int, list[str]]:
        with borrow_engine("transformers", tiny_model, EngineOptions(threads=1)) as engine:
            assert isinstance(engine, ChildEngine)
            found = engine.generate(PROMPTS, Limits(4, 64))
            return engine.pid, [g.text for g in found]

    first, again = borrow(), borrow()
    assert first == again
    os.kill(first[0], signal.SIGKILL)
    with pytest.raises(EngineError, match="SIGKILL"):
        borrow()
    other = borrow()
    assert other[0] != first[0]
    assert other[1] == first[1]
    close_engines()


@pytest.mark.engines
def test_as_many_borrowers_as_allowed_have_an_engine_each_and_a_further_one_waits(
    tiny_model: Path,
) -> None:
    options = EngineOptions(threads=1)
    got = threading.Event()

    def third() -> None:
        with borrow_engine("transformers", tiny_model, options, at_once=2):
            got.set()

    waiting = threading.Thread(target=third)
    with borrow_engine("transformers", tiny_model, options, at_once=2) as first:
        with borrow_engine("transformers", tiny_model, options, at_once=2) as second:
            assert isinstance(first, ChildEngine)
            assert isinstance(second, ChildEngine)
            assert first.pid != second.pid
            answers = [one.generate(PROMPTS, Limits(4, 64)) for one in (first, second)]
            assert answers[0] == answers[1]
            waiting.start()
            assert not got.wait(0.5)
        assert got.wait(30)
        close_engines()  # the free one alone
        assert first.alive
        assert not second.alive
    waiting.join()
    close_engines()
    assert not first.alive


@pytest.mark.engines
def test_a_checkpoint_that_does_not_load_is_a_clear_error(tiny_model: Path, tmp_path: Path) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises((ConfigError, EngineError), match=r"cannot be loaded|Safetensor"):
        open_engine("transformers", tmp_path)
