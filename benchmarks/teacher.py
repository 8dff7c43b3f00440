"""How much the teacher client adds to an endpoint: throughput and CPU time per call.

    python -m benchmarks.teacher [--calls 3000] [--at-once 64] [--latency-ms 50] [--rounds 3]

The endpoint is another process on a port: it reads each request whole, waits, and sends one fixed
completion, so that its own work is as small as can be. The ideal is `at-once / latency`. CPU is that
of the client's process, all of it, and hardly depends on neighbours; the rate does. The bare openai
client, asked the same, is measured in turn with ours, in the same process.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import openai
from pydantic import BaseModel, ConfigDict

from looptool.chat import Teacher, run_bounded
from looptool.config import TeacherConfig

GOAL_RATE = 0.9
GOAL_CPU_MS = 1.0
WARM_UP = 256
PROMPT = [
    {"role": "system", "content": "You review one dialogue. " * 40},
    {"role": "user", "content": "assistant: get_weather(city='Porto') -> 21 degrees\n" * 60},
]


class Step(BaseModel):
    """One judged step."""

    model_config = ConfigDict(extra="forbid")
    number: int
    passed: bool
    reason: str


class Review(BaseModel):
    """A reply of the usual size."""

    model_config = ConfigDict(extra="forbid")
    steps: list[Step]


REPLY = Review(
    steps=[
        Step(number=n, passed=n % 3 > 0, reason="The value was said by the user.") for n in range(4)
    ]
)


class Endpoint(asyncio.Protocol):
    """Answers each request on its connection after `latency_s`."""

    latency_s = 0.05
    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins a connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Answers once a request is there as a whole."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if found and len(body) >= length:
            self.received = body[length:]
            asyncio.get_running_loop().call_later(self.latency_s, self.reply)

    def reply(self) -> None:
        """Sends the completion."""
        if not self.transport.is_closing():
            self.transport.write(self.answer)


def serve(pipe: Connection, latency_s: float) -> None:
    """The endpoint's process: sends its port, and its CPU seconds whenever it is asked."""
    message = {"role": "assistant", "content": REPLY.model_dump_json(), "refusal": None}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "fixed",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 80, "total_tokens": 980},
    }
    body = json.dumps(completion).encode()
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    Endpoint.answer, Endpoint.latency_s = head.encode() + body, latency_s

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Endpoint, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(time.process_time())

    asyncio.run(run())


async def measure(
    call: Callable[[], Awaitable[object]], calls: int, at_once: int
) -> tuple[float, float]:
    """Calls a second and CPU milliseconds a call of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    results = await run_bounded([call] * calls, at_once)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    failures = [result for result in results if isinstance(result, Exception)]
    if failures:
        raise failures[0]
    return calls / seconds, 1000 * cpu / calls


async def compare(url: str, arguments: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Rate and CPU of each way to ask, one pair a round; the ways take turns."""
    config = TeacherConfig(base_url=url, max_concurrency=arguments.at_once)
    found: dict[str, list[tuple[float, float]]] = {}
    async with (
        Teacher(config) as teacher,
        openai.AsyncOpenAI(api_key="unused", base_url=url, max_retries=0) as bare,
    ):

        async def ask() -> Review:
            return await teacher.ask(PROMPT, reply=Review, stage="bench", seed=1)

        async def create() -> Any:
            return await bare.chat.completions.create(
                model=config.model,
                messages=PROMPT,  # type: ignore[arg-type]
                max_tokens=config.max_tokens,
                temperature=config.temperature,
                top_p=config.top_p,
                seed=1,
            )

        ways = {"teacher client": ask, "openai client alone": create}
        for call in ways.values():
            await measure(call, WARM_UP, arguments.at_once)
        for _ in range(arguments.rounds):
            for name, call in ways.items():
                found.setdefault(name, []).append(
                    await measure(call, arguments.calls, arguments.at_once)
                )
    return found


def main() -> None:
    """Measures both clients and says whether the goals are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=3000, help="calls in each round")
    parser.add_argument("--at-once", type=int, default=64, help="calls in flight")
    parser.add_argument("--latency-ms", type=float, default=50.0, help="delay of every answer")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the table shows medians")
    arguments = parser.parse_args()
    ideal = 1000 * arguments.at_once / arguments.latency_ms

    ours, theirs = multiprocessing.Pipe()
    endpoint = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, arguments.latency_ms / 1000), daemon=True
    )
    endpoint.start()
    url = f"http://127.0.0.1:{ours.recv()}/v1"
    found = asyncio.run(compare(url, arguments))
    ours.send(True)
    asked = 2 * (WARM_UP + arguments.rounds * arguments.calls)
    endpoint_ms = 1000 * ours.recv() / asked
    ours.send(False)
    endpoint.join()

    print(f"{arguments.at_once} at once, {arguments.latency_ms:g} ms: ideal {ideal:,.0f} calls/s")
    medians: dict[str, tuple[float, float]] = {}
    for name, rounds in found.items():
        rate = statistics.median(rate for rate, _ in rounds)
        cpu = statistics.median(cpu for _, cpu in rounds)
        medians[name] = rate, cpu
        spread = f"{min(c for _, c in rounds):.2f}-{max(c for _, c in rounds):.2f}"
        print(
            f"{name:<22}{rate:>8,.0f} calls/s {rate / ideal:>6.0%} of ideal"
            f"{cpu:>8.2f} ms CPU a call ({spread})"
        )
    print(f"the endpoint itself took {endpoint_ms:.2f} ms CPU a call")
    rate, cpu = medians["teacher client"]
    print(
        f"CPU of the teacher client / openai alone: {cpu / medians['openai client alone'][1]:.2f}"
    )
    print(f"goal of {GOAL_CPU_MS:g} ms CPU a call {'met' if cpu <= GOAL_CPU_MS else 'MISSED'}")
    reached = "met" if rate / ideal >= GOAL_RATE else "MISSED (is the machine busy?)"
    print(f"goal of {GOAL_RATE:.0%} of the ideal throughput {reached}")


if __name__ == "__main__":
    main()
