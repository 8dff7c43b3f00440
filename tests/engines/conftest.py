"""Decisions that the committed policy is asked for, what transformers answers, and a vLLM server."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from looptool.engines import (
    Engine,
    EngineOptions,
    Generation,
    Limits,
    Sampling,
    open_engine,
)
from looptool.engines.grading import build_prompt, grade, render_label
from looptool.engines.interpreter import find_python
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
SERVER_FLAGS = (
    "--host",
    "127.0.0.1",
    "--dtype",
    "float32",
    "--max-model-len",
    "8192",
    "--enforce-eager",
    "--max-num-batched-tokens",
    "8192",
    "--no-enable-chunked-prefill",
    "--structured-outputs-config",
    '{"backend": "xgrammar", "disable_any_whitespace": true}',
)
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
    """The interpreter that has vLLM and Ray; `make engines` makes it."""
    return find_python("vllm")


class VllmServer:
    """`vllm serve` of the committed policy, with the flags of docs/teacher.md, on one port."""

    def __init__(self, python: Path, log: Path) -> None:
        self._python = python
        self._log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Returns at once; see `wait`."""
        environment = {
            **os.environ,
            "PATH": f"{self._python.parent}{os.pathsep}{os.environ['PATH']}",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": "2",
        }
        command = [self._python.parent / "vllm", "serve", BASE, "--port", str(self._port)]
        with self._log.open("ab") as file:
            self._process = subprocess.Popen(
                [*command, *SERVER_FLAGS],
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it answers."""
        assert self._process is not None
        deadline = time.monotonic() + 400
        while True:
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{self.url[:-3]}/health", timeout=2).status_code == 200:
                    return
            time.sleep(0.5)

    def kill(self) -> None:
        """As when memory is out: server and engine at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def server(engines_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    found = VllmServer(engines_python, tmp_path_factory.mktemp("server") / "log")
    found.start()
    try:
        found.wait()
        yield found
    finally:
        found.kill()


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


def answer(
    engine: Engine, samples: list[Sample], batch_size: int = 64, **options: Any
) -> list[Generation]:
    """Greedy answers with label probabilities."""
    return engine.generate(
        [build_prompt(s) for s in samples],
        Limits(NEW_TOKENS, PROMPT_TOKENS, batch_size),
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


@pytest.fixture(scope="session")
def check_drawn(samples: list[Sample], reference: list[Generation]) -> Callable[..., None]:
    """Asserts that an engine draws several answers, and greedy ones when it is cold; by seed if `seeded`."""
    prompts = [build_prompt(sample) for sample in samples]
    limits = Limits(NEW_TOKENS, PROMPT_TOKENS, 8)
    failures = [g.failure for g in reference]

    def check(engine: Engine, *, seeded: bool = True) -> None:
        def draw(temperature: float, seed: int = 3) -> list[list[str]]:
            drawn = engine.sample(prompts, limits, Sampling(4, temperature, seed))
            assert [answers[0].failure for answers in drawn] == failures
            assert [len(answers) for answers in drawn] == [1 if f else 4 for f in failures]
            return [[one.text for one in answers if not one.failure] for answers in drawn]

        # vLLM draws at 0.01 or more: where two tokens are as good as equal, either may come, and of
        # one prompt four times in a row.
        cold = zip(draw(0.01), reference, strict=True)
        same = [[text == greedy.text for text in texts] for texts, greedy in cold if texts]
        assert sum(map(any, same)) >= len(same) - 1
        assert sum(map(sum, same)) >= 0.95 * sum(map(len, same))
        hot = draw(1.5)
        assert not seeded or draw(1.5) == hot
        assert draw(1.5, seed=99) != hot
        assert any(len(set(texts)) > 1 for texts in hot)
        assert len({texts[0] for texts in hot if texts}) > len(hot) // 2

    return check


def child_pids(pid: int) -> set[int]:
    """All processes of a process group."""
    found = subprocess.run(["ps", "-eo", "pid=,pgid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in found.stdout.splitlines()]
    return {one for one, group in pairs if group == pid}
