"""Several endpoints that serve the same model, and the order in which calls are served."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import httpx2
import pytest

from looptool.chat import AsgiTransport, Teacher
from looptool.config import TeacherConfig
from looptool.errors import TeacherUnavailable
from tests.chat.clock import run_ahead
from tests.chat.test_teacher import MESSAGES, Endpoint, Greeting, fails, says

URLS = ("http://one/v1", "http://two/v1")


class Hosts(httpx2.AsyncBaseTransport):
    """Each host is an application that answers after some time."""

    def __init__(self, **hosts: tuple[Callable[[dict[str, Any]], Any], float]) -> None:
        self.servers = {name: Endpoint(handler) for name, (handler, _) in hosts.items()}
        self.latency_s = {name: seconds for name, (_, seconds) in hosts.items()}
        self.now = dict.fromkeys(hosts, 0)
        self.most = dict.fromkeys(hosts, 0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host
        self.now[host] += 1
        self.most[host] = max(self.most[host], self.now[host])
        try:
            await asyncio.sleep(self.latency_s[host])
            transport = AsgiTransport(self.servers[host].app)
            return await transport.handle_async_request(request)
        finally:
            self.now[host] -= 1

    def counts(self) -> dict[str, int]:
        return {name: len(server.requests) for name, server in self.servers.items()}


def ask_often(hosts: Hosts, calls: int, **config: Any) -> tuple[Teacher, float]:
    """The teacher after so many calls at once, and how long they took."""
    settings = TeacherConfig(**({"base_url": URLS, "max_concurrency": 4} | config))

    async def run() -> Teacher:
        async with Teacher(settings, hosts) as teacher:
            jobs = [teacher.ask(MESSAGES, reply=Greeting, stage="seed") for _ in range(calls)]
            await asyncio.gather(*jobs)
            return teacher

    return run_ahead(run())


def test_calls_are_spread_and_each_endpoint_has_its_own_limit() -> None:
    hosts = Hosts(one=(says(), 1.0), two=(says(), 1.0))
    _, seconds = ask_often(hosts, 80)
    assert hosts.most == {"one": 4, "two": 4}
    assert hosts.counts() == {"one": 40, "two": 40}
    assert seconds == pytest.approx(10, abs=0.5)


def test_a_faster_endpoint_takes_more_of_the_calls() -> None:
    hosts = Hosts(one=(says(), 3.0), two=(says(), 1.0))
    ask_often(hosts, 80)
    assert hosts.counts()["two"] > 2 * hosts.counts()["one"]


@pytest.mark.parametrize("fault", [fails(503), fails(429), fails(500)])
def test_one_that_fails_is_rested_and_the_other_goes_on(fault: Any) -> None:
    hosts = Hosts(one=(fault, 0.1), two=(says(), 0.1))
    teacher, seconds = ask_often(hosts, 400)
    assert teacher.usage["seed"].answers == 400
    assert hosts.counts()["one"] < 30
    assert seconds < 15


def test_a_pause_that_one_endpoint_asks_for_is_kept_by_all_calls_to_it() -> None:
    hosts = Hosts(one=(fails(429, headers={"Retry-After": "300"}), 0.1), two=(says(), 0.1))
    _, seconds = ask_often(hosts, 400)
    assert hosts.counts()["one"] <= 4  # those that were in flight together
    assert seconds < 15


def test_calls_wait_for_the_only_endpoint_and_are_then_served_in_order() -> None:
    class Once(Endpoint):
        order: ClassVar[list[str]] = []

        async def answer(self, request: Any) -> Any:
            document = await request.json()
            self.order.append(document["messages"][0]["content"])
            first = len(self.order) == 1
            return (fails(429, headers={"Retry-After": "60"}) if first else says())(document)

    server = Once()

    async def run() -> None:
        config = TeacherConfig(base_url=URLS[0], max_concurrency=1)
        async with Teacher(config, AsgiTransport(server.app)) as teacher:
            await asyncio.gather(
                *[
                    teacher.ask([{"role": "user", "content": n}], reply=Greeting, stage="seed")
                    for n in "abcde"
                ]
            )

    _, seconds = run_ahead(run())
    assert "".join(server.order) == "abcdea"
    assert 60 <= seconds < 90


def test_when_all_are_away_the_call_says_so() -> None:
    hosts = Hosts(one=(fails(503), 0.1), two=(fails(503), 0.1))
    with pytest.raises(TeacherUnavailable, match="patience_s = 30"):
        ask_often(hosts, 1, patience_s=30)
    assert sum(hosts.counts().values()) < 40


def test_a_call_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    async def run() -> int:
        hosts = Hosts(one=(says(), 1.0), two=(says(), 1.0))
        config = TeacherConfig(base_url=URLS, max_concurrency=1)
        async with Teacher(config, hosts) as teacher:

            def ask() -> asyncio.Task[Greeting]:
                return asyncio.create_task(
                    teacher.ask(MESSAGES, reply=Greeting, stage="seed")  # type: ignore[arg-type]
                )

            tasks = [ask() for _ in range(12)]
            await asyncio.sleep(0.5)
            for task in tasks[4:8]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert [e.pace.active for e in teacher.endpoints] == [0, 0]
            return sum(isinstance(result, Greeting) for result in done)

    assert run_ahead(run())[0] == 8
