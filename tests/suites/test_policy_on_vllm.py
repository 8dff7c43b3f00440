"""A benchmark asks `vllm serve` through the same socket as our own server, and it answers the same."""

from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from looptool.config import LoopConfig, parse_config
from looptool.engines.options import engine_options
from looptool.suites import open_policy_app, serve_on_socket

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]
BASE = Path(__file__).parents[2] / "models" / "nano-base"
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def ask(config: LoopConfig) -> list[Any]:
    with (
        open_policy_app(config, BASE, engine_options(config)) as app,
        serve_on_socket(app) as path,
        httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), timeout=120) as http,
    ):
        client = openai.OpenAI(base_url="http://policy/v1", api_key="none", http_client=http)
        found = []
        for text in ("What is the weather in Oslo?", "Who won the match in Rome?"):
            messages: Any = [{"role": "user", "content": text}]
            answer = client.chat.completions.create(
                model="any", messages=messages, tools=[TOOL], temperature=0.0
            )
            message = answer.choices[0].message
            calls = [(c.function.name, c.function.arguments) for c in message.tool_calls or ()]  # type: ignore[union-attr]
            found.append((calls, (message.content or "").strip()))
    return found


def test_calls_and_words_are_those_of_our_own_server() -> None:
    limits = {"max_new_tokens": 48, "max_prompt_tokens": 1024}
    settings = {"evaluate": limits, "probe": limits, "policy": {"threads": 2}}
    ours = ask(parse_config(settings))
    theirs = ask(parse_config(settings | {"policy": {"engine": "vllm", "threads": 2}}))
    assert theirs == ours
    assert ours[0][0] == [("get_weather", '{"city": "Oslo"}')]
