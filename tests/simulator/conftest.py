"""The scripted teacher as an endpoint: prompts of ours in, replies out, through the ASGI app."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from looptool.config import NoiseConfig, SimulatorConfig
from looptool.prompts import render
from looptool.simulator import create_app
from tests.simulator.sample_tools import EVERYDAY

Json = dict[str, Any]
VOICE = {"persona": "a student", "style": "plain", "language": "en", "date": "2031-03-05"}


def pick(*names: str) -> list[Json]:
    """Everyday tools by name, as the assistant sees them."""
    found = {spec["function"]["name"]: spec for spec in EVERYDAY}
    return [hide_returns(found[name]) for name in names]


def hide_returns(spec: Json) -> Json:
    """The specification without the schema of its result."""
    function = {k: v for k, v in spec["function"].items() if k != "returns"}
    return {"type": "function", "function": function}


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def said(text: str) -> Json:
    return {"role": "assistant", "content": text}


def called(*calls: tuple[str, Json]) -> Json:
    rows = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return {"role": "assistant", "content": "", "tool_calls": rows}


def result(name: str, value: Any) -> Json:
    return {"role": "tool", "name": name, "content": json.dumps(value)}


@dataclass
class Endpoint:
    """The app of one configuration."""

    noise: NoiseConfig = field(default_factory=NoiseConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        self.app = create_app(SimulatorConfig(seed=self.seed, noise=self.noise))

    def post(self, body: Any, path: str = "/v1/chat/completions") -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.post(path, json=body)

        return asyncio.run(send())

    def ask_raw(
        self, prompt: str, model: str = "scripted", seed: int = 0, **variables: Any
    ) -> httpx.Response:
        messages = render(prompt, **variables)
        return self.post({"model": model, "messages": messages, "seed": seed})

    def ask(self, prompt: str, **variables: Any) -> Json:
        """The parsed reply to a rendered prompt."""
        response = self.ask_raw(prompt, **variables)
        assert response.status_code == 200, response.text
        reply = json.loads(response.json()["choices"][0]["message"]["content"])
        assert isinstance(reply, dict)
        return reply

    def assist(self, tools: list[Json], *conversation: Json, **options: Any) -> Json:
        """The assistant's answer."""
        return self.ask(
            "seed_assistant", tools=tools, conversation=list(conversation), date="", **options
        )


@pytest.fixture(scope="session")
def quiet() -> Endpoint:
    """The teacher without noise."""
    return Endpoint()
