"""Decisions that the committed policy is asked for, and what transformers answers to them."""

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from looptool.engines import Engine, EngineOptions, Generation, open_engine
from looptool.engines.grading import build_prompt, grade, render_label
from looptool.engines.interpreter import find_python
from looptool.errors import ConfigError
from looptool.records import (
    Kind,
    Label,
    ProbeResult,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)

BASE = Path(__file__).parents[2] / "models" / "nano-base"
NEW_TOKENS = 48
PROMPT_TOKENS = 380


def _tool(name: str, about: str, *required: str, **properties: dict[str, Any]) -> Any:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return make_tool(name, about, schema)


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
WEATHER = _tool("get_weather", "Get the weather of a city", "city", city=TEXT, days=NUMBER)
TIMER = _tool("set_timer", "Start a timer", "minutes", minutes=NUMBER, label=TEXT)
MAIL = _tool("send_mail", "Send a message", "to", "text", to=TEXT, text=TEXT)
CITIES = ("Rome", "Oslo", "Zürich", "São Paulo", "Lima", "Quito", "Bern", "Łódź")
ASKED: tuple[tuple[str, str, Callable[[str, int], dict[str, Any]]], ...] = (
    (
        "What is the weather in {c} for {n} days?",
        "get_weather",
        lambda c, n: {"city": c, "days": n},
    ),
    (
        "Set a timer of {n} minutes called {c}.",
        "set_timer",
        lambda c, n: {"minutes": n, "label": c},
    ),
    (
        "Write to {c}: see you at {n}.",
        "send_mail",
        lambda c, n: {"to": c, "text": f"see you at {n}"},
    ),
    ("Who won the match in {c} {n} years ago?", "", lambda c, n: {}),
)


@pytest.fixture(scope="session")
def engines_python() -> Path:
    """The interpreter that has vLLM and Ray."""
    try:
        return find_python("vllm")
    except ConfigError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Decisions of every length; some prompts are longer than `PROMPT_TOKENS`."""
    found = []
    for n, (city, (text, name, arguments)) in enumerate(itertools.product(CITIES, ASKED)):
        calls = [ToolCall(name=name, arguments=arguments(city, n))] if name else []
        asked = (
            text.format(c=city, n=n) + " Please be quick." * (n % 5) + " Now." * (90 * (n % 7 == 6))
        )
        sample = make_sample(
            kind=Kind.SINGLE if calls else Kind.NO_TOOL,
            split=Split.TRAIN,
            tools=(WEATHER, TIMER, MAIL)[: 1 + n % 3] if not calls else (WEATHER, TIMER, MAIL),
            messages=(UserMessage(content=asked),),
            label=Label(calls=tuple(calls), text="" if calls else "No tool can do that."),
            dialogue_id=str(n),
        )
        found.append(sample)
    return found


def answer(engine: Engine, samples: list[Sample], **options: Any) -> list[Generation]:
    """Greedy answers with label probabilities."""
    return engine.generate(
        [build_prompt(s) for s in samples],
        max_new_tokens=NEW_TOKENS,
        max_prompt_tokens=PROMPT_TOKENS,
        label_texts=[render_label(s) for s in samples],
        **options,
    )


@pytest.fixture(scope="session")
def ask() -> Callable[..., list[Generation]]:
    return answer


@pytest.fixture(scope="session")
def reference(samples: list[Sample]) -> list[Generation]:
    """What transformers answers in fp32."""
    engine = open_engine("transformers", BASE, EngineOptions(threads=2))
    try:
        return answer(engine, samples)
    finally:
        engine.close()


@pytest.fixture(scope="session")
def check_equal(
    samples: list[Sample], reference: list[Generation]
) -> Callable[[list[Generation]], None]:
    """Asserts that answers are those of transformers: text, failures, perplexities to 1e-4."""

    def results(generations: list[Generation]) -> list[ProbeResult]:
        return [grade(s, g) for s, g in zip(samples, generations, strict=True)]

    def check(found: list[Generation]) -> None:
        assert [g.text for g in found] == [g.text for g in reference]
        for name in ("token_ids", "token_ends", "truncated", "prompt_tokens", "failure"):
            theirs = [getattr(g, name) for g in found]
            assert theirs == [getattr(g, name) for g in reference], name
        for mine, theirs in zip(results(found), results(reference), strict=True):
            for name in ("ppl_output", "ppl_call", "ppl_label"):
                value, expected = getattr(mine, name), getattr(theirs, name)
                assert (value is None) == (expected is None), name
                assert value is None or value == pytest.approx(expected, rel=1e-4), name
            assert mine.matched == theirs.matched

    return check


def child_pids(pid: int) -> set[int]:
    """All processes of a process group."""
    found = subprocess.run(["ps", "-eo", "pid=,pgid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in found.stdout.splitlines()]
    return {one for one, group in pairs if group == pid}
