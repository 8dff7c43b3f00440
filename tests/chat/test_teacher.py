"""What a caller of the teacher can rely on, whatever the endpoint does."""

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looptool.chat import AsgiTransport, Teacher
from looptool.config import TeacherConfig
from looptool.errors import (
    BudgetExceeded,
    ConfigError,
    TeacherMalformed,
    TeacherRefused,
    TeacherUnavailable,
)

MESSAGES = [{"role": "user", "content": "Say hello."}]
URL = "http://endpoint/v1"


class Greeting(BaseModel):
    """A reply of one field."""

    model_config = ConfigDict(extra="forbid")
    content: str


class Endpoint:
    """Answers the n-th request by the n-th handler, and by the last one from then on."""

    def __init__(self, *handlers: Callable[[dict[str, Any]], Response]) -> None:
        self.handlers = handlers
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.app = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Response:
        document = await request.json()
        self.requests.append(document)
        self.headers.append(dict(request.headers))
        handler = self.handlers[min(len(self.requests), len(self.handlers)) - 1]
        return handler(document)


def says(
    content: str = '{"content": "hello"}', **choice: Any
) -> Callable[[dict[str, Any]], Response]:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    message = {"role": "assistant", "content": content, **choice.pop("message", {})}
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, **choice}],
        "usage": usage,
    }
    return lambda _: JSONResponse(document)


def fails(
    status: int, text: str = "", headers: dict[str, str] | None = None
) -> Callable[[dict[str, Any]], Response]:
    body = json.dumps({"error": {"message": text}})
    return lambda _: Response(body, status, headers, media_type="application/json")


def sends(body: bytes) -> Callable[[dict[str, Any]], Response]:
    return lambda _: Response(body, media_type="application/json")


def breaks(error: Exception) -> Callable[[dict[str, Any]], Response]:
    def handler(_: dict[str, Any]) -> Response:
        raise error

    return handler


def ask(server: Any, *, seed: int | None = None, **config: Any) -> tuple[Any, Teacher]:
    settings = TeacherConfig(**{"base_url": URL, "attempts": 3, **config})

    async def run() -> tuple[Any, Teacher]:
        async with Teacher(settings, AsgiTransport(server.app)) as teacher:
            try:
                return await teacher.ask(MESSAGES, reply=Greeting, stage="seed", seed=seed), teacher
            except Exception as error:
                return error, teacher

    return asyncio.run(run())


def test_a_good_reply_becomes_the_model_asked_for_and_is_accounted() -> None:
    reply, teacher = ask(Endpoint(says()), price_in=1.0, price_out=10.0)
    assert reply == Greeting(content="hello")
    usage = teacher.usage["seed"]
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens) == (1, 1000, 100)
    assert usage.cost_usd == pytest.approx(0.002)
    assert usage.failures == {}
    assert teacher.total().as_json()["requests"] == 1


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"content": "hello"}\n```',
        '<think>Let me see {"content": 1}</think>\n{"content": "hello"}',
        'it says so.</think>```\n{"content": "hello"}\n```',
        '  {"content": "hello"}\n',
    ],
)
def test_a_thought_and_a_fence_around_the_object_are_tolerated(content: str) -> None:
    assert ask(Endpoint(says(content)))[0] == Greeting(content="hello")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "hello",
        '{"content": "hello"',
        '{"content": 5}',
        '{"content": "a", "content": "b"}',
        '{"content": "a", "more": NaN}',
        '{"content": "a", "more": 1}',
        '{"content": "a"} I hope this helps!',
        '[{"content": "a"}]',
        '{"content": "\\ud800"}',
        "null",
        "[" * 100_000,
        '{"content": ' + "9" * 5000 + "}",
        "<think>never ends",
    ],
)
def test_anything_else_is_malformed_asked_again_and_reported(content: str) -> None:
    server = Endpoint(says(content))
    error, teacher = ask(server)
    assert isinstance(error, TeacherMalformed)
    assert len(str(error)) < 400
    assert teacher.usage["seed"].failures == {"malformed": 3}
    assert teacher.usage["seed"].prompt_tokens == 3000  # what was answered is paid


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>bad gateway</html>",
        b"{}",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": ["x"]}}]}',
        b"\xff\xfe",
        b'{"choices": 7',
    ],
)
def test_a_body_that_is_no_completion_is_malformed(body: bytes) -> None:
    assert isinstance(ask(Endpoint(sends(body)))[0], TeacherMalformed)


def test_a_malformed_reply_is_asked_again_with_another_seed() -> None:
    server = Endpoint(says("oops"), says())
    assert ask(server, seed=7)[0] == Greeting(content="hello")
    assert server.requests[0]["seed"] == 7
    assert server.requests[1]["seed"] != 7


def test_a_repeat_after_an_infrastructure_fault_keeps_the_seed() -> None:
    server = Endpoint(fails(503), says())
    assert ask(server, seed=7)[0] == Greeting(content="hello")
    assert [request["seed"] for request in server.requests] == [7, 7]


def test_the_pause_that_the_endpoint_names_is_honoured(pauses: list[float]) -> None:
    server = Endpoint(
        fails(429, headers={"Retry-After": "7"}),
        fails(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        fails(429, headers={"retry-after-ms": "2500"}),
        fails(429, headers={"Retry-After": "soon"}),
        says(),
    )
    assert ask(server, attempts=5)[0] == Greeting(content="hello")
    assert 7 <= pauses[0] <= 8.8
    assert pauses[1] == 0
    assert 2.5 <= pauses[2] <= 3.2
    assert pauses[3] < 1


def test_pauses_grow_and_are_capped(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("looptool.chat.client.BACKOFF_S", 1.0)
    error, _ = ask(Endpoint(fails(500)), attempts=9)
    assert isinstance(error, TeacherUnavailable)
    assert len(pauses) == 8
    assert 0.5 <= pauses[0] <= 1
    assert pauses[2] >= 2
    assert max(pauses) <= 30


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_overload_is_tried_again_and_then_unavailable(status: int, pauses: list[float]) -> None:
    server = Endpoint(fails(status))
    error, teacher = ask(server)
    assert isinstance(error, TeacherUnavailable)
    assert error.retryable
    assert str(status) in str(error)
    assert len(server.requests) == 3
    assert sum(teacher.usage["seed"].failures.values()) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    server = Endpoint(fails(status, "no"))
    error, teacher = ask(server)
    assert isinstance(error, TeacherRefused)
    assert len(server.requests) == 1
    assert teacher.usage["seed"].failures == {"refused": 1}


def test_an_exhausted_quota_is_a_refusal_although_it_is_a_429() -> None:
    server = Endpoint(lambda _: JSONResponse({"error": {"code": "insufficient_quota"}}, 429))
    assert isinstance(ask(server)[0], TeacherRefused)


def test_a_filtered_or_declined_answer_is_a_refusal() -> None:
    for handler in (says(finish_reason="content_filter"), says(message={"refusal": "I can't"})):
        server = Endpoint(handler)
        assert isinstance(ask(server)[0], TeacherRefused)
        assert len(server.requests) == 1


def test_an_answer_cut_at_max_tokens_is_malformed_and_says_what_to_raise() -> None:
    error, _ = ask(Endpoint(says(finish_reason="length")))
    assert isinstance(error, TeacherMalformed)
    assert "max_tokens" in str(error)


def test_a_cut_connection_is_tried_again(pauses: list[float]) -> None:
    server = Endpoint(breaks(ConnectionResetError("peer is gone")), says())
    reply, teacher = ask(server)
    assert reply == Greeting(content="hello")
    assert teacher.usage["seed"].failures == {"connection": 1}


def test_an_answer_that_stops_half_way_is_a_cut_connection(pauses: list[float]) -> None:
    class Half:
        requests = 0

        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            self.requests += 1
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b'{"cho', "more_body": True})

    server = Half()
    error, _ = ask(server)
    assert isinstance(error, TeacherUnavailable)
    assert server.requests == 3


def test_a_fault_of_the_application_itself_is_not_hidden() -> None:
    error, _ = ask(Endpoint(breaks(ZeroDivisionError("bug"))))
    assert isinstance(error, ZeroDivisionError)


def test_each_attempt_has_a_deadline(pauses: list[float]) -> None:
    class Slow:
        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            await asyncio.Event().wait()

    error, teacher = ask(Slow(), timeout_s=0.02)
    assert isinstance(error, TeacherUnavailable)
    assert "0.02 s" in str(error)
    assert teacher.usage["seed"].failures == {"timeout": 3}


def test_the_reply_is_asked_for_by_schema_strict_where_that_is_possible() -> None:
    server = Endpoint(says())
    ask(server)
    asked = server.requests[0]["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["strict"] is True
    assert asked["json_schema"]["schema"]["required"] == ["content"]
    assert asked["json_schema"]["schema"]["additionalProperties"] is False


def test_an_endpoint_without_schemas_is_asked_once_and_then_differently() -> None:
    def picky(document: dict[str, Any]) -> Any:
        form = document.get("response_format", {}).get("type")
        if form:
            return fails(400, f"response_format {form} is not supported")(document)
        return says()(document)

    server = Endpoint(picky)

    async def run() -> None:
        config = TeacherConfig(base_url=URL, attempts=1)
        async with Teacher(config, AsgiTransport(server.app)) as teacher:
            for _ in range(3):
                await teacher.ask(MESSAGES, reply=Greeting, stage="seed")
            assert teacher.usage["seed"].failures == {}

    asyncio.run(run())
    forms = [request.get("response_format", {}).get("type") for request in server.requests]
    assert forms == ["json_schema", "json_object", None, None, None]


def test_another_400_is_no_reason_to_give_up_schemas() -> None:
    server = Endpoint(fails(400, "max_tokens is too large"))
    assert isinstance(ask(server)[0], TeacherRefused)
    assert len(server.requests) == 1


def test_the_budget_stops_the_next_request() -> None:
    server = Endpoint(says())
    config = TeacherConfig(base_url=URL, price_in=1.0, budget_usd=0.0025)

    async def run() -> None:
        async with Teacher(config, AsgiTransport(server.app)) as teacher:
            for _ in range(3):
                await teacher.ask(MESSAGES, reply=Greeting, stage="seed")
            with pytest.raises(BudgetExceeded, match="budget_usd"):
                await teacher.ask(MESSAGES, reply=Greeting, stage="judge")

    asyncio.run(run())
    assert len(server.requests) == 3


def test_money_spent_before_counts_against_the_budget() -> None:
    server = Endpoint(says())
    config = TeacherConfig(base_url=URL, price_in=1.0, budget_usd=1.0)

    async def run() -> None:
        async with Teacher(config, AsgiTransport(server.app), spent_usd=1.5) as teacher:
            with pytest.raises(BudgetExceeded):
                await teacher.ask(MESSAGES, reply=Greeting, stage="seed")

    asyncio.run(run())
    assert server.requests == []


def test_missing_usage_is_estimated_and_said_so() -> None:
    body = {"choices": [{"message": {"content": '{"content": "hello"}'}}]}
    _, teacher = ask(Endpoint(sends(json.dumps(body).encode())))
    assert teacher.usage["seed"].estimated == 1
    assert teacher.usage["seed"].completion_tokens > 0


def test_the_key_goes_into_the_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-1234"
    monkeypatch.setenv("MY_KEY", key)
    server = Endpoint(fails(401, f"incorrect API key provided: {key}"))
    error, teacher = ask(server, api_key_env="MY_KEY")
    assert server.headers[0]["authorization"] == f"Bearer {key}"
    assert "MY_KEY" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    for text in (str(error), repr(error), repr(teacher), json.dumps(server.requests)):
        assert key not in text
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_no_more_requests_in_flight_than_configured() -> None:
    class Counting:
        now = most = 0

        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.002)
            self.now -= 1
            response = says()({})
            await response(scope, receive, send)

    server = Counting()

    async def run() -> None:
        config = TeacherConfig(base_url=URL, max_concurrency=4)
        async with Teacher(config, AsgiTransport(server.app)) as teacher:
            jobs = [teacher.ask(MESSAGES, reply=Greeting, stage="seed") for _ in range(30)]
            await asyncio.gather(*jobs)

    asyncio.run(run())
    assert server.most == 4


def test_a_burst_of_overload_halves_the_requests_in_flight_and_calm_restores_them(
    pauses: list[float],
) -> None:
    async def run() -> None:
        server = Endpoint(*[fails(429)] * 10, says())
        config = TeacherConfig(base_url=URL, max_concurrency=8, attempts=30)
        async with Teacher(config, AsgiTransport(server.app)) as teacher:
            await teacher.ask(MESSAGES, reply=Greeting, stage="seed")
            assert teacher.pace.limit == 2
            for _ in range(40):
                await teacher.ask(MESSAGES, reply=Greeting, stage="seed")
            assert teacher.pace.limit == 8

    asyncio.run(run())


@pytest.mark.parametrize("transport", [httpx.ASGITransport, httpx2.ASGITransport])
def test_transports_of_httpx_around_an_application_work_too(transport: Any) -> None:
    async def run() -> Any:
        config = TeacherConfig()
        async with Teacher(config, transport(app=Endpoint(says()).app)) as teacher:
            return await teacher.ask(MESSAGES, reply=Greeting, stage="seed")

    assert asyncio.run(run()) == Greeting(content="hello")


def test_the_simulator_without_a_transport_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="transport"):
        Teacher(TeacherConfig())
