"""What a caller of the teacher can rely on, whatever the endpoint does."""

import asyncio
import json
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
from tests.chat.clock import run_ahead

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
    """The reply or the exception, and the teacher."""
    outcome, teacher, _ = ask_timed(server, seed=seed, **config)
    return outcome, teacher


def ask_timed(server: Any, *, seed: int | None = None, **config: Any) -> tuple[Any, Teacher, float]:
    """Also how long it took on a clock that jumps."""
    settings = TeacherConfig(**{"base_url": URL, "attempts": 3, **config})

    async def run() -> tuple[Any, Teacher]:
        async with Teacher(settings, AsgiTransport(server.app)) as teacher:
            try:
                return await teacher.ask(MESSAGES, reply=Greeting, stage="seed", seed=seed), teacher
            except Exception as error:
                return error, teacher

    (outcome, teacher), seconds = run_ahead(run())
    return outcome, teacher, seconds


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


@pytest.mark.parametrize(
    ("headers", "shortest", "longest"),
    [
        ({"Retry-After": "7"}, 7, 9),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0.1),
        ({"retry-after-ms": "2500"}, 2.5, 3.2),
        ({"Retry-After": "soon"}, 0, 1),
        ({"Retry-After": "inf"}, 0, 1),
        ({}, 0, 1),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 500])
def test_the_pause_that_the_endpoint_names_is_honoured(
    status: int, headers: dict[str, str], shortest: float, longest: float
) -> None:
    server = Endpoint(fails(status, headers=headers), says())
    reply, _, seconds = ask_timed(server)
    assert reply == Greeting(content="hello")
    assert shortest <= seconds <= longest


@pytest.mark.parametrize("status", [408, 409, 425, 500, 507])
def test_an_error_of_the_request_is_tried_so_often_and_then_unavailable(status: int) -> None:
    server = Endpoint(fails(status))
    error, teacher = ask(server)
    assert isinstance(error, TeacherUnavailable)
    assert error.retryable
    assert str(status) in str(error)
    assert "3 tries" in str(error)
    assert len(server.requests) == 3
    assert teacher.usage["seed"].failures == {"server_error": 3}


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
def test_an_outage_is_waited_out_and_costs_no_attempts(status: int) -> None:
    server = Endpoint(*[fails(status)] * 20, says())
    reply, _, seconds = ask_timed(server)
    assert reply == Greeting(content="hello")
    assert 60 < seconds < 20 * 90  # pauses grow and are capped


def test_an_hour_of_429_is_survived_without_many_requests() -> None:
    class Limited(Endpoint):
        def __init__(self) -> None:
            super().__init__()
            self.until: float | None = None

        async def answer(self, request: Request) -> Response:
            now = asyncio.get_running_loop().time()
            self.until = self.until or now + 3600
            self.requests.append({})
            return (fails(429) if now < self.until else says())({})

    server = Limited()

    async def run() -> list[Greeting]:
        config = TeacherConfig(base_url=URL, max_concurrency=64)
        async with Teacher(config, AsgiTransport(server.app)) as teacher:
            jobs = [teacher.ask(MESSAGES, reply=Greeting, stage="seed") for _ in range(200)]
            return await asyncio.gather(*jobs)

    replies, seconds = run_ahead(run())
    assert len(replies) == 200
    assert 3600 <= seconds < 3800
    assert len(server.requests) < 64 + 200 + 3600 / 25


def test_patience_ends_and_says_how_long_it_was() -> None:
    error, _, seconds = ask_timed(Endpoint(fails(429, "slow down")), patience_s=600)
    assert isinstance(error, TeacherUnavailable)
    assert "slow down" in str(error)
    assert "teacher.patience_s = 600" in str(error)
    assert 500 < seconds < 600 + 60  # the last rest of the endpoint may end later


def test_a_pause_beyond_the_patience_is_not_begun() -> None:
    server = Endpoint(fails(429, headers={"Retry-After": "90000"}))
    error, _, seconds = ask_timed(server)
    assert isinstance(error, TeacherUnavailable)
    assert seconds < 1
    assert len(server.requests) == 1


def test_a_call_may_have_a_deadline_of_its_own() -> None:
    error, _, seconds = ask_timed(Endpoint(fails(503)), deadline_s=40)
    assert isinstance(error, TeacherUnavailable)
    assert "teacher.deadline_s = 40" in str(error)
    assert 5 < seconds <= 40
    error, _, seconds = ask_timed(Slow(), deadline_s=50, timeout_s=30)
    assert isinstance(error, TeacherUnavailable)
    assert 49 < seconds < 51


def test_one_attempt_means_that_nothing_is_ever_asked_twice() -> None:
    for status in (429, 500, 503):
        server = Endpoint(fails(status))
        assert isinstance(ask(server, attempts=1)[0], TeacherUnavailable)
        assert len(server.requests) == 1


def test_an_address_where_nobody_ever_answered_is_given_up_soon() -> None:
    error, teacher, seconds = ask_timed(Endpoint(breaks(ConnectionRefusedError("no one there"))))
    assert isinstance(error, TeacherUnavailable)
    assert URL in str(error)
    assert seconds < 5
    assert teacher.usage["seed"].failures == {"connection": 3}


def test_a_request_that_fails_while_others_are_answered_is_no_outage() -> None:
    class Poisoned(Endpoint):
        async def answer(self, request: Request) -> Response:
            document = await request.json()
            await asyncio.sleep(0.1)
            poison = document["messages"][0]["content"] == "poison"
            return (fails(503) if poison else says())(document)

    async def run() -> tuple[object, float]:
        server = Poisoned()
        loop = asyncio.get_running_loop()
        async with Teacher(TeacherConfig(base_url=URL), AsgiTransport(server.app)) as teacher:

            async def others() -> None:
                while True:
                    await teacher.ask(MESSAGES, reply=Greeting, stage="seed")

            background = asyncio.create_task(others())
            began = loop.time()
            poison = [{"role": "user", "content": "poison"}]
            [error] = await asyncio.gather(
                teacher.ask(poison, reply=Greeting, stage="seed"), return_exceptions=True
            )
            background.cancel()
            return error, loop.time() - began

    (error, seconds), _ = run_ahead(run())
    assert isinstance(error, TeacherUnavailable)
    assert seconds < 60


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 413])
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


def test_a_cut_connection_is_tried_again() -> None:
    server = Endpoint(breaks(ConnectionResetError("peer is gone")), says())
    reply, teacher = ask(server)
    assert reply == Greeting(content="hello")
    assert teacher.usage["seed"].failures == {"connection": 1}


def test_an_answer_that_stops_half_way_is_a_cut_connection() -> None:
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


class Slow:
    """Never answers."""

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()


def test_each_attempt_has_a_deadline() -> None:
    error, teacher, seconds = ask_timed(Slow(), timeout_s=20)
    assert isinstance(error, TeacherUnavailable)
    assert "20 s" in str(error)
    assert teacher.usage["seed"].failures == {"timeout": 3}
    assert 60 <= seconds < 65


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


def test_an_endpoint_that_names_the_parameter_it_wants_is_asked_that_way() -> None:
    def modern(document: dict[str, Any]) -> Any:
        if "max_tokens" in document:
            said = "Unsupported parameter: 'max_tokens' is not supported with this model. "
            return fails(400, said + "Use 'max_completion_tokens' instead.")(document)
        if "temperature" in document:
            said = "Unsupported value: 'temperature' does not support 0.6 with this model."
            return fails(400, said)(document)
        return says()(document)

    server = Endpoint(modern)

    async def run() -> None:
        config = TeacherConfig(base_url=URL, attempts=1, max_tokens=77)
        async with Teacher(config, AsgiTransport(server.app)) as teacher:
            for _ in range(2):
                await teacher.ask(MESSAGES, reply=Greeting, stage="seed")
            assert teacher.usage["seed"].failures == {}

    asyncio.run(run())
    assert len(server.requests) == 4
    assert [r.get("max_completion_tokens") for r in server.requests] == [None, 77, 77, 77]
    assert "temperature" not in server.requests[-1]
    assert "top_p" in server.requests[-1]


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
