"""A vLLM server answers as the offline engine does, when it serves the right checkpoint."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from looptool.engines import EngineOptions, Generation, open_engine
from looptool.errors import ConfigError, EngineError
from looptool.records import Sample
from tests.engines.conftest import VllmServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

BASE = Path(__file__).parents[2] / "models" / "nano-base"


def _options(url: str) -> EngineOptions:
    return EngineOptions(endpoint=url, python=sys.executable, timeout_s=300)


def test_a_server_answers_as_transformers_does(
    server: VllmServer,
    samples: list[Sample],
    ask: Callable[..., list[Generation]],
    check_equal: Callable[[list[Generation]], None],
) -> None:
    seen: list[tuple[int, int]] = []
    with contextlib.closing(open_engine("endpoint", BASE, _options(server.url))) as engine:
        check_equal(ask(engine, samples, on_progress=lambda *at: seen.append(at), batch_size=8))
    assert seen[-1] == (len(samples), len(samples))


def test_a_server_draws_several_answers(
    server: VllmServer, check_drawn: Callable[..., None]
) -> None:
    with contextlib.closing(open_engine("endpoint", BASE, _options(server.url))) as engine:
        check_drawn(engine, seeded=False)


def test_a_server_of_another_checkpoint_is_refused(server: VllmServer, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"serves .*nano-base.*not .*tiny"):
        open_engine("endpoint", tiny_model, _options(server.url))


def test_a_server_that_is_gone_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="is the server up"):
        open_engine("endpoint", BASE, _options("http://127.0.0.1:9/v1"))
