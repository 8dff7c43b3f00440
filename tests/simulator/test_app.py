"""The OpenAI-compatible face: shapes, errors, and faults of transport."""

import asyncio
import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from looptool.chat import AsgiTransport, Teacher
from looptool.config import NoiseConfig, SimulatorConfig, TeacherConfig
from looptool.prompts import render
from looptool.simulator import create_app
from tests.simulator.conftest import Endpoint, pick, user

TOOLS = pick("get_weather_forecast", "create_event", "cancelBooking")
MESSAGES = render(
    "seed_assistant", tools=TOOLS, conversation=[user("Get weather forecast: city Rome.")], date=""
)


class Answer(BaseModel):
    """The assistant's reply."""

    content: str
    tool_calls: list[dict[str, Any]]


def test_a_completion_has_the_shape_that_clients_expect(quiet: Endpoint) -> None:
    body = quiet.post({"model": "scripted", "messages": MESSAGES}).json()
    assert body["model"] == "scripted"
    assert body["object"] == "chat.completion"
    choice = body["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert json.loads(choice["message"]["content"])["tool_calls"]
    usage = body["usage"]
    assert usage["prompt_tokens"] > 100
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_openai_client_reads_models_and_completions() -> None:
    async def talk() -> tuple[list[str], str]:
        transport = AsgiTransport(create_app(SimulatorConfig()))
        import httpx2

        async with (
            httpx2.AsyncClient(transport=transport) as http,
            openai.AsyncOpenAI(base_url="http://t/v1", api_key="-", http_client=http) as client,
        ):
            models = [model.id for model in (await client.models.list()).data]
            reply = await client.chat.completions.create(model="scripted", messages=MESSAGES)
            return models, str(reply.choices[0].message.content)

    models, content = asyncio.run(talk())
    assert models == ["scripted", "scripted-expert"]
    assert json.loads(content)["tool_calls"][0]["arguments"] == {"city": "Rome"}


@pytest.mark.parametrize(
    ("messages", "hint"),
    [
        ([], "Role"),
        ("hello", "list"),
        ([{"role": "user", "content": "hi"}], "Role"),
        ([{"role": "system", "content": "Role: poet"}, user("<tools>[]</tools>")], "poet"),
        ([{"role": "system", "content": "Role: assistant"}, user("nothing")], "<tools>"),
        ([{"role": "system", "content": "Role: assistant"}, user("<tools>{</tools>")], "<tools>"),
        ([{"role": "system", "content": "Role: assistant"}, user("<tools>[{}]</tools>")], "name"),
        (
            [
                {"role": "system", "content": "Role: assistant"},
                user("<tools>[]</tools><conversation>[]</conversation>"),
            ],
            "user message",
        ),
    ],
)
def test_an_unreadable_prompt_is_a_clear_400(quiet: Endpoint, messages: Any, hint: str) -> None:
    response = quiet.post({"model": "scripted", "messages": messages})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert hint in error["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({"model": "gpt", "messages": MESSAGES}, 404),
        ({"model": "scripted", "messages": MESSAGES, "stream": True}, 400),
    ],
)
def test_other_bad_requests_are_openai_errors(quiet: Endpoint, body: Any, status: int) -> None:
    response = quiet.post(body)
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_the_same_request_has_the_same_reply_and_another_seed_another_draw() -> None:
    voice = {"persona": "", "style": "plain", "language": "en", "date": ""}

    def plan(seed: int, endpoint: Endpoint) -> str:
        variables = {"tools": TOOLS, "kind": "single", "turns": 1, "nonce": "0", **voice}
        return endpoint.ask_raw("seed_plan", seed=seed, **variables).text

    assert plan(1, Endpoint()) == plan(1, Endpoint())
    assert plan(1, Endpoint()) != plan(2, Endpoint())
    assert plan(1, Endpoint()) != plan(1, Endpoint(seed=9))


def ask_through_teacher(noise: NoiseConfig) -> tuple[Answer, dict[str, int]]:
    async def ask() -> tuple[Answer, dict[str, int]]:
        app = create_app(SimulatorConfig(noise=noise))
        config = TeacherConfig(attempts=12)
        async with Teacher(config, AsgiTransport(app)) as teacher:
            for seed in range(5):
                answer = await teacher.ask(MESSAGES, reply=Answer, stage="seed", seed=seed)
            return answer, dict(teacher.usage["seed"].failures)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "noise", [NoiseConfig(malformed_rate=0.4), NoiseConfig(cut_rate=0.4), NoiseConfig()]
)
def test_the_teacher_client_gets_its_answer_through_faults(noise: NoiseConfig) -> None:
    answer, failures = ask_through_teacher(noise)
    assert answer.tool_calls[0]["arguments"] == {"city": "Rome"}
    assert bool(failures) == (noise != NoiseConfig())


def test_refused_service_says_when_to_come_back() -> None:
    endpoint = Endpoint(NoiseConfig(http_error_rate=1.0))
    seen = set()
    for seed in range(12):
        response = endpoint.ask_raw(
            "seed_assistant", tools=TOOLS, conversation=[user("Hi")], date="", seed=seed
        )
        seen.add(response.status_code)
        assert 0 <= float(response.headers["retry-after"]) <= 1
        assert response.json()["error"]["message"]
    assert seen == {429, 503}


def test_a_cut_connection_is_an_error_of_transport() -> None:
    with pytest.raises(OSError, match="cut"):
        Endpoint(NoiseConfig(cut_rate=1.0)).post({"model": "scripted", "messages": MESSAGES})


def test_slow_answers_take_their_time() -> None:
    noise = NoiseConfig(slow_rate=1.0, slow_s=0.05)
    response = Endpoint(noise).post({"model": "scripted", "messages": MESSAGES})
    assert response.status_code == 200
