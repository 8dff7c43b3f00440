"""What tests of several rooms share: an endpoint that says what a test wants, a tiny model, a browser."""

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looptool.chat import AsgiTransport, Teacher
from looptool.config import TeacherConfig
from looptool.engines.interpreter import engines_pythons

T = TypeVar("T")
NEED_ENGINES = {
    "test_vllm", "test_endpoint", "test_replicas", "test_teacher_on_vllm", "test_verl_parts", "test_verl_run",
    "test_policy_on_vllm",
}  # fmt: skip
"""Modules that start vLLM, veRL or Ray in the environment that `make engines` makes."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BASE = Path(__file__).parents[1] / "models" / "nano-base"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the engines skip, with the reason, where their environment was not made."""
    if any(python.is_file() for python in engines_pythons()):
        return
    skip = pytest.mark.skip(reason="no environment of the engines here; run `make engines` first")
    for item in items:
        if item.path.stem in NEED_ENGINES:
            item.add_marker(skip)


@dataclass(frozen=True)
class Prompt:
    """What one request asked."""

    text: str
    request: dict[str, Any]

    def text_of(self, tag: str) -> str:
        """The text between `<tag>` and `</tag>`."""
        found = re.search(rf"<{tag}>(.*?)</{tag}>", self.text, re.DOTALL)
        assert found, f"no <{tag}> in the prompt"
        return found[1]

    def json_of(self, tag: str) -> Any:
        """The JSON between `<tag>` and `</tag>`."""
        return json.loads(self.text_of(tag))


Answer = Callable[[Prompt], object]
"""A reply's text, a value to be sent as JSON, or a whole response."""


@dataclass
class Endpoint:
    """Answers each prompt by a function and remembers all of them."""

    answer: Answer
    prompts: list[Prompt] = field(default_factory=list)

    def ask(self, work: Callable[[Teacher], Awaitable[T]], **config: Any) -> T:
        """What `work` makes of a teacher that talks to this endpoint."""

        async def run() -> T:
            settings = TeacherConfig(base_url="http://endpoint/v1", **({"attempts": 1} | config))
            app = Starlette(routes=[Route("/v1/chat/completions", self._respond, methods=["POST"])])
            async with Teacher(settings, AsgiTransport(app)) as teacher:
                return await work(teacher)

        return asyncio.run(run())

    async def _respond(self, request: Request) -> Response:
        document = await request.json()
        prompt = Prompt(document["messages"][-1]["content"], document)
        self.prompts.append(prompt)
        said = self.answer(prompt)
        if isinstance(said, Response):
            return said
        content = said if isinstance(said, str) else json.dumps(said)
        choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        return JSONResponse({"choices": [{"index": 0, **choice}]})


@pytest.fixture
def endpoint() -> Callable[[Answer], Endpoint]:
    """Makes an endpoint from the function that answers its prompts."""
    return Endpoint


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with the tokenizer and the chat template of the base policy."""
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    for path in BASE.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder / path.name)
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(BASE)
    config.hidden_size, config.intermediate_size = 64, 128
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # large embeddings make clear choices, so that rounding decides nothing
        model.get_input_embeddings().weight.mul_(20)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Headless Chromium, driven by Playwright; skips where either is missing."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
