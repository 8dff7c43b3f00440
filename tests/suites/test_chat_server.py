"""The policy's own chat server: tools in by the template, `tool_calls` out, failures as errors."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from looptool.calls import parse_reply
from looptool.engines import Engine, EngineInfo, Generation, Limits, Prompt, open_engine
from looptool.engines.chat_server import create_chat_app
from looptool.errors import EngineError
from looptool.suites.serving import serve_on_socket

LIMITS = Limits(64, 512)
BASE = Path(__file__).parents[2] / "models" / "nano-base"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Łódź"}}\n</tool_call>'


class Speaker:
    """An engine that says what the last message asks it to say."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Prompt]] = []
        self.hold = threading.Event()
        self.hold.set()

    def generate(self, prompts: Sequence[Prompt], limits: Limits, **_: Any) -> list[Generation]:
        self.hold.wait(30)
        self.batches.append(prompts)
        return [self._answer(str(prompt.messages[-1]["content"])) for prompt in prompts]

    def _answer(self, text: str) -> Generation:
        if text == "die":
            raise EngineError("the engine died")
        if text == "long":
            return Generation(failure="prompt_too_long", prompt_tokens=9000)
        return Generation(text=text, token_ids=(1, 2), prompt_tokens=7)

    def info(self) -> EngineInfo:
        return EngineInfo(name="speaker", checkpoint="/models/speaker")

    def close(self) -> None:
        """Nothing to give back."""


@contextlib.contextmanager
def connected(engine: Engine, limits: Limits = LIMITS) -> Iterator[openai.OpenAI]:
    """The OpenAI client on the server, over its socket."""
    with (
        serve_on_socket(create_chat_app(engine, limits)) as path,
        httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path))) as http,
    ):
        url = "http://policy/v1"
        yield openai.OpenAI(base_url=url, api_key="none", http_client=http, max_retries=0)


def ask(client: openai.OpenAI, text: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="any", messages=messages, **more).choices[0]


def test_calls_come_back_as_tool_calls_and_words_as_content() -> None:
    with connected(Speaker()) as client:
        choice = ask(client, f"<think>hm</think>Here: {CALL}", tools=[TOOL])
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == "Here:"
        ((call,),) = (choice.message.tool_calls,)
        assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Łódź"}')
        assert ask(client, "Sunny.", tools=[TOOL]).message.content == "Sunny."
        assert client.models.list().data[0].model_dump()["root"] == "/models/speaker"


def test_an_unreadable_call_and_a_request_without_tools_are_text_as_it_is() -> None:
    broken = CALL.replace("}}", "}")
    with connected(Speaker()) as client:
        found = [ask(client, broken, tools=[TOOL]).message, ask(client, CALL).message]
    assert [message.content for message in found] == [broken, CALL]
    assert [message.tool_calls for message in found] == [None, None]


def test_what_cannot_be_answered_is_an_error_and_never_an_empty_answer() -> None:
    robot: Any = [{"role": "robot", "content": "x"}]
    with connected(Speaker()) as client:
        with pytest.raises(openai.BadRequestError, match="prompt_too_long: 9000 tokens"):
            ask(client, "long")
        with pytest.raises(openai.InternalServerError, match="the engine died"):
            ask(client, "die")
        assert ask(client, "and on").message.content == "and on"
        for wrong in ({"stream": True}, {"tools": ["get_weather"]}):
            with pytest.raises(openai.BadRequestError):
                ask(client, "x", **wrong)
        with pytest.raises(openai.BadRequestError, match="roles"):
            client.chat.completions.create(model="any", messages=robot)


def test_requests_that_wait_go_to_the_engine_as_one_batch() -> None:
    speaker = Speaker()
    with (
        connected(speaker, Limits(64, 512, batch_size=4)) as client,
        ThreadPoolExecutor(10) as pool,
    ):
        speaker.hold.clear()
        waiting = [pool.submit(ask, client, f"text {n}") for n in range(9)]
        pool.submit(lambda: threading.Event().wait(0.5) or speaker.hold.set())
        texts = [future.result().message.content for future in waiting]
    assert texts == [f"text {n}" for n in range(9)]
    assert max(map(len, speaker.batches)) == 4


def test_a_dialogue_reaches_the_template_with_its_calls_and_results() -> None:
    speaker = Speaker()
    with connected(speaker) as client:
        first = ask(client, CALL, tools=[TOOL]).message
        messages: Any = [
            {"role": "user", "content": "Weather?"},
            first,
            {"role": "tool", "tool_call_id": "call_0", "content": "rain"},
        ]
        client.chat.completions.create(model="any", messages=messages, tools=[TOOL])  # type: ignore[list-item]
    (prompt,) = speaker.batches[-1]
    assert prompt.messages[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Łódź"}}}
        ],
    }
    assert prompt.messages[2] == {"role": "tool", "content": "rain", "tool_call_id": "call_0"}
    assert list(prompt.tools) == [TOOL]


@pytest.mark.engines
def test_the_small_policy_answers_over_the_api_as_it_does_in_a_probe() -> None:
    engine = open_engine("transformers", BASE)
    limits = Limits(48, 1024, 4)
    asked: list[Any] = [{"role": "user", "content": f"Weather in {c}?"} for c in ("Oslo", "Rome")]
    try:
        probed = engine.generate([Prompt([message], [TOOL]) for message in asked], limits)
        with connected(engine, limits) as client:
            found = [
                client.chat.completions.create(model="m", messages=[m], tools=[TOOL])  # type: ignore[list-item]
                for m in asked
            ]
    finally:
        engine.close()
    for completion, generation in zip(found, probed, strict=True):
        message, reply = completion.choices[0].message, parse_reply(generation.text)
        said = generation.text if reply.error else reply.text
        assert (message.content or "").strip() == said.strip()
        named = [call.function.name for call in message.tool_calls or () if call.type == "function"]
        assert named == [call["name"] for call in reply.calls]
    assert [c.usage.prompt_tokens for c in found if c.usage] == [g.prompt_tokens for g in probed]
