"""The teacher client: `ask` a prompt, get a checked pydantic model.

The retry loop is ours (the openai client's is off), because what may be tried again depends on the
reply as well as on the status: a malformed answer is asked again with another seed, a 429 after the
pause that the endpoint names, a refusal not at all. The key is read from the environment, enters
the Authorization header and nothing else.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import openai
from pydantic import BaseModel

from looptool.chat.endpoints import Endpoint, Queue
from looptool.chat.faults import Fault, read_status
from looptool.chat.pacing import Pace
from looptool.chat.patience import Patience
from looptool.chat.replies import (
    Completion,
    Refusal,
    check_completion,
    parse_json_reply,
    read_completion,
    schema_format,
)
from looptool.chat.transport import as_transport
from looptool.chat.usage import StageUsage
from looptool.chat.wire import direct_transport
from looptool.config import TeacherConfig
from looptool.errors import BudgetExceeded, ConfigError, shorten

M = TypeVar("M", bound=BaseModel)
SEED_STEP = 1_000_003
_PLAIN: openai.RequestOptions = {
    "headers": {
        f"X-Stainless-{name}": openai.omit
        for name in (
            "Lang Package-Version OS Arch Runtime Runtime-Version Async Retry-Count Read-Timeout"
        ).split()
    }
}
"""Without the headers that tell an endpoint about this machine; they cost a tenth of a call."""


class Teacher:
    """The endpoints and one spending limit; use as `async with Teacher(config) as teacher`."""

    def __init__(
        self, config: TeacherConfig, transport: Any = None, *, spent_usd: float = 0.0
    ) -> None:
        """`transport`: an httpx2 transport, or one around an ASGI application
        (`AsgiTransport(app)`).

        `spent_usd` is what the campaign has spent before, counted against the budget.
        Raises ConfigError when the simulator is configured and no transport to it is given, and
        when the key cannot be one.
        """
        if config.base_url == "simulator" and transport is None:
            raise ConfigError(
                "teacher.base_url is `simulator`, which is reached in process: pass "
                "transport=AsgiTransport(create_app(config.simulator))"
            )
        self.config = config
        self.usage: dict[str, StageUsage] = {}
        self._spent_before = spent_usd
        local = config.base_url == "simulator"
        self._key = "" if local else read_key(config.api_key_env)
        urls = (config.base_url,) if isinstance(config.base_url, str) else config.base_url
        shared = as_transport(transport)
        self._queue = Queue(
            [
                Endpoint(url, self._open(url, shared), Pace(config.max_concurrency))
                for url in (("http://simulator/v1",) if local else urls)
            ]
        )

    def _open(self, url: str, transport: httpx2.AsyncBaseTransport | None) -> openai.AsyncOpenAI:
        limit = self.config.timeout_s
        return openai.AsyncOpenAI(
            api_key=self._key or "unused",
            base_url=url,
            max_retries=0,
            http_client=httpx2.AsyncClient(
                transport=transport or direct_transport(url),
                timeout=httpx2.Timeout(limit, connect=min(10.0, limit)),
                limits=httpx2.Limits(max_connections=self.config.max_concurrency),
                follow_redirects=False,  # where prompts and key go is the profile's business
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for endpoint in self.endpoints:
            await endpoint.client.close()

    def __repr__(self) -> str:
        return f"Teacher(model={self.config.model!r}, spent_usd={self.spent_usd:.4f})"

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints with their pace and what was learned about them."""
        return self._queue.endpoints

    @property
    def spent_usd(self) -> float:
        """What the campaign has spent so far."""
        return self._spent_before + sum(usage.cost_usd for usage in self.usage.values())

    def total(self) -> StageUsage:
        """The usage of all stages together."""
        total = StageUsage()
        for usage in self.usage.values():
            total.add(usage)
        return total

    def usage_report(self) -> dict[str, Any]:
        """The usage by stage as a JSON object, for manifests."""
        return {stage: usage.as_json() for stage, usage in sorted(self.usage.items())}

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        reply: type[M],
        stage: str,
        model: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> M:
        """The answer to the messages as an instance of `reply`.

        Raises TeacherUnavailable or TeacherMalformed when it is given up (by the type of the last
        failure), TeacherRefused at once, and BudgetExceeded before a request when the limit is
        reached. The limit can be overrun by the requests that are in flight when it is reached.
        """
        request: dict[str, Any] = {
            "model": model or self.config.model,
            "messages": messages,
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature if temperature is None else temperature,
            "top_p": self.config.top_p if top_p is None else top_p,
        }
        usage = self.usage.setdefault(stage, StageUsage())
        patience = Patience(self.config)
        clock = asyncio.get_running_loop().time
        malformed = 0
        avoid: Endpoint | None = None
        while True:
            if seed is not None:
                # A deterministic endpoint repeats a malformed reply, unless the seed changes.
                request["seed"] = (seed + malformed * SEED_STEP) % 2**31
            endpoint = await self._queue.take(avoid)
            try:
                self._check_budget()  # here, or all that wait for a place would have passed it
                sent_at = clock()
                limit_s = patience.begin(sent_at)
                outcome = await self._attempt(endpoint, request, reply, usage, limit_s)
            finally:
                self._queue.give_back(endpoint)
            if not isinstance(outcome, Fault):
                usage.answers += 1
                return outcome
            usage.count_failure(outcome.kind)
            now = clock()
            pause = patience.pause(
                outcome,
                now,
                known=endpoint.known,
                answering=endpoint.pace.answered_at >= sent_at,
                elsewhere=self._queue.ready_beside(endpoint, now),
            )
            if pause is None:
                break
            if outcome.kind == "malformed":
                malformed += 1
            else:
                avoid = endpoint
            await asyncio.sleep(pause)
        raise outcome.as_error(patience.gave_up)

    def _check_budget(self) -> None:
        limit = self.config.budget_usd
        if limit is None:
            return
        spent = self.spent_usd
        priced = self.config.price_in > 0 or self.config.price_out > 0
        if spent >= limit and (limit > 0 or priced):
            raise BudgetExceeded(
                f"the teacher has cost {spent:.4f} US dollars of teacher.budget_usd = "
                f"{limit}; raise the limit and run again, what was committed stays"
            )

    async def _attempt(
        self,
        endpoint: Endpoint,
        request: dict[str, Any],
        reply: type[M],
        usage: StageUsage,
        limit_s: float,
    ) -> M | Fault:
        """One try, repeated at once where the endpoint says that it wants to be asked otherwise."""
        clock = asyncio.get_running_loop().time
        outcome: Completion | Fault | None = None
        while outcome is None:
            body = endpoint.shape(request)
            if endpoint.format != "none":
                body["response_format"] = (
                    schema_format(reply)
                    if endpoint.format == "json_schema"
                    else {"type": endpoint.format}
                )
            usage.requests += 1
            sent_at = clock()
            outcome = await self._send(endpoint, body, limit_s)
        if isinstance(outcome, Fault):
            if outcome.kind in ("malformed", "refused"):
                endpoint.pace.answer(clock())
            else:
                limited = outcome.kind == "rate_limited"
                asked_s = (outcome.retry_after_s or 0.0) if limited else 0.0
                patient = asked_s <= self.config.patience_s
                endpoint.pace.fail(sent_at, clock(), asked_s if patient else 0.0)
            return outcome
        endpoint.pace.answer(clock())
        self._account(outcome, request, usage)
        try:
            check_completion(outcome)
            return parse_json_reply(outcome.text, reply)
        except Refusal as exc:
            return Fault("refused", f"the teacher {exc}")
        except ValueError as exc:
            return Fault("malformed", f"the teacher's reply is malformed: {exc}")

    async def _send(
        self, endpoint: Endpoint, body: dict[str, Any], limit_s: float
    ) -> Completion | Fault | None:
        """The completion or why there is none; None when the endpoint was learned to want another body."""
        try:
            async with asyncio.timeout(limit_s):
                # The raw response: building openai's own models of it costs more than all the rest.
                response = await endpoint.client.post(
                    endpoint.target, body=body, cast_to=httpx2.Response, options=_PLAIN
                )
            endpoint.known = True
            return read_completion(response.content)
        except (TimeoutError, openai.APITimeoutError) as exc:
            # A connection that is not even made says nothing of the request.
            outage = isinstance(exc.__cause__, httpx2.ConnectTimeout)
            said = f"the teacher did not answer within {limit_s:g} s"
            return Fault("timeout", said, outage=outage)
        except openai.APIStatusError as exc:
            endpoint.known = True
            text = exc.response.text[:2000]
            if endpoint.learn(body, exc.status_code, text):
                return None
            return read_status(
                exc.status_code,
                text,
                exc.response.headers,
                self._scrub(text),
                self.config.api_key_env,
            )
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as exc:
            cause = exc.__cause__ or exc
            reason = self._scrub(f"{type(cause).__name__}: {cause}")
            said = f"the connection to the teacher at {endpoint.url} failed ({reason})"
            return Fault("connection", said, outage=True)
        except ValueError as exc:
            return Fault("malformed", f"the teacher's answer is {self._scrub(exc)}")

    def _account(self, completion: Completion, request: dict[str, Any], usage: StageUsage) -> None:
        prompt, answer = completion.prompt_tokens, completion.completion_tokens
        if prompt is None or answer is None:
            usage.estimated += 1
            prompt = sum(len(str(m["content"])) for m in request["messages"]) // 4
            answer = len(completion.text) // 4
        usage.prompt_tokens += prompt
        usage.completion_tokens += answer
        usage.cost_usd += (
            prompt * self.config.price_in + answer * self.config.price_out
        ) / 1_000_000

    def _scrub(self, text: object) -> str:
        """The text in one line without the key: endpoints quote it in their errors."""
        said = str(text)
        return shorten(said.replace(self._key, "***") if self._key else said, 240)


def read_key(variable: str) -> str:
    """The key from the environment; empty if there is none.

    Raises ConfigError for one that cannot stand in a header, without showing it.
    """
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"the environment variable {variable} holds blanks or characters that no key has"
        )
    return key
