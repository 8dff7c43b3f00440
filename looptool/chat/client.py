"""The teacher client: `ask` a prompt, get a checked pydantic model.

The retry loop is ours (the openai client's is off), because what may be tried again depends on the
reply as well as on the status: a malformed answer is asked again with another seed, a 429 after the
pause that the endpoint names, a refusal not at all. The key is read from the environment, enters
the Authorization header and nothing else.
"""

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import openai
from pydantic import BaseModel

from looptool.chat.pacing import Pace
from looptool.chat.replies import (
    FORMATS,
    Completion,
    Refusal,
    check_completion,
    parse_json_reply,
    read_completion,
    schema_format,
)
from looptool.chat.transport import as_transport
from looptool.chat.usage import StageUsage
from looptool.config import TeacherConfig
from looptool.errors import (
    BudgetExceeded,
    ConfigError,
    TeacherError,
    TeacherMalformed,
    TeacherRefused,
    TeacherUnavailable,
    shorten,
)

M = TypeVar("M", bound=BaseModel)
BACKOFF_S = 0.25
BACKOFF_CAP_S = 30.0
RETRY_AFTER_CAP_S = 300.0
SEED_STEP = 1_000_003
FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured output", "guided")


@dataclass(frozen=True, slots=True)
class _Failure:
    """One attempt that gave no reply."""

    kind: str
    message: str
    retry_after_s: float | None = None

    def as_error(self) -> TeacherError:
        if self.kind == "refused":
            return TeacherRefused(self.message)
        return (TeacherMalformed if self.kind == "malformed" else TeacherUnavailable)(self.message)


class Teacher:
    """One endpoint and one spending limit; use as `async with Teacher(config) as teacher`."""

    def __init__(
        self, config: TeacherConfig, transport: Any = None, *, spent_usd: float = 0.0
    ) -> None:
        """`transport`: an httpx2 transport, or one around an ASGI application
        (`AsgiTransport(app)`).

        `spent_usd` is what the campaign has spent before, counted against the budget.
        Raises ConfigError when the simulator is configured and no transport to it is given.
        """
        if config.base_url == "simulator" and transport is None:
            raise ConfigError(
                "teacher.base_url is `simulator`, which is reached in process: pass "
                "transport=AsgiTransport(create_app(config.simulator))"
            )
        self.config = config
        self.usage: dict[str, StageUsage] = {}
        self.pace = Pace(config.max_concurrency)
        self._spent_before = spent_usd
        self._format = FORMATS[0]
        self._jitter = random.Random()
        local = config.base_url == "simulator"
        self._key = "" if local else os.environ.get(config.api_key_env, "")
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "unused",
            base_url="http://simulator/v1" if local else config.base_url,
            max_retries=0,
            http_client=httpx2.AsyncClient(
                transport=as_transport(transport),
                timeout=httpx2.Timeout(config.timeout_s, connect=min(10.0, config.timeout_s)),
                limits=httpx2.Limits(max_connections=config.max_concurrency),
                follow_redirects=True,
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
        await self._client.close()

    def __repr__(self) -> str:
        return f"Teacher(model={self.config.model!r}, spent_usd={self.spent_usd:.4f})"

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
        """The endpoint's answer to the messages as an instance of `reply`.

        Raises TeacherUnavailable or TeacherMalformed when all attempts failed (the type of the last
        one), TeacherRefused at once, and BudgetExceeded before a request when the limit is reached.
        The limit can be overrun by the requests that are in flight when it is reached.
        """
        request: dict[str, Any] = {
            "model": model or self.config.model,
            "messages": list(messages),
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature if temperature is None else temperature,
            "top_p": self.config.top_p if top_p is None else top_p,
        }
        usage = self.usage.setdefault(stage, StageUsage())
        malformed = 0
        failure = _Failure("connection", "nothing was sent")
        for attempt in range(1, self.config.attempts + 1):
            if seed is not None:
                # A deterministic endpoint repeats a malformed reply, unless the seed changes.
                request["seed"] = (seed + malformed * SEED_STEP) % 2**31
            async with self.pace:
                self._check_budget()  # in here, or all that wait for a place would have passed it
                outcome = await self._attempt(request, reply, usage)
            if not isinstance(outcome, _Failure):
                usage.answers += 1
                return outcome
            failure = outcome
            usage.count_failure(failure.kind)
            malformed += failure.kind == "malformed"
            if failure.kind == "refused" or attempt == self.config.attempts:
                break
            await asyncio.sleep(self._pause(failure, attempt))
        raise failure.as_error()

    def _check_budget(self) -> None:
        limit = self.config.budget_usd
        if limit is not None and self.spent_usd >= limit and (limit > 0 or self._priced):
            raise BudgetExceeded(
                f"the teacher has cost {self.spent_usd:.4f} US dollars of teacher.budget_usd = "
                f"{limit}; raise the limit and run again, what was committed stays"
            )

    @property
    def _priced(self) -> bool:
        return self.config.price_in > 0 or self.config.price_out > 0

    def _pause(self, failure: _Failure, attempt: int) -> float:
        if failure.kind == "malformed":
            return 0.0
        jitter = self._jitter.uniform(0.5, 1.0)
        backoff: float = min(BACKOFF_CAP_S, BACKOFF_S * 2.0 ** (attempt - 1)) * jitter
        if failure.retry_after_s is None:
            return backoff
        return min(RETRY_AFTER_CAP_S, failure.retry_after_s * (1.5 - jitter / 2))

    async def _attempt(
        self, request: dict[str, Any], reply: type[M], usage: StageUsage
    ) -> M | _Failure:
        """One try, with at most two more where the endpoint does not know a response format."""
        while True:
            asked = self._format
            body = dict(request)
            if asked != "none":
                body["response_format"] = (
                    schema_format(reply) if asked == "json_schema" else {"type": asked}
                )
            usage.requests += 1
            outcome = await self._send(body)
            if isinstance(outcome, _Failure):
                if outcome.kind == "format":
                    if self._format == asked:
                        self._format = FORMATS[FORMATS.index(asked) + 1]
                    continue
                self.pace.report(overloaded=outcome.kind in ("rate_limited", "server_error"))
                return outcome
            self.pace.report(overloaded=False)
            self._account(outcome, request, usage)
            try:
                check_completion(outcome)
                return parse_json_reply(outcome.text, reply)
            except Refusal as exc:
                return _Failure("refused", f"the teacher {exc}")
            except ValueError as exc:
                return _Failure("malformed", f"the teacher's reply is malformed: {exc}")

    async def _send(self, body: dict[str, Any]) -> Completion | _Failure:
        try:
            async with asyncio.timeout(self.config.timeout_s):
                # The raw response: building openai's own models of it costs more than all the rest.
                response = await self._client.post(
                    "/chat/completions", body=body, cast_to=httpx2.Response
                )
            return read_completion(response.content)
        except (TimeoutError, openai.APITimeoutError):
            return _Failure(
                "timeout", f"the teacher did not answer within {self.config.timeout_s:g} s"
            )
        except openai.APIStatusError as exc:
            return self._read_status(exc, "response_format" in body)
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as exc:
            cause = exc.__cause__ or exc
            reason = self._scrub(f"{type(cause).__name__}: {cause}")
            return _Failure("connection", f"the connection to the teacher failed ({reason})")
        except ValueError as exc:
            return _Failure("malformed", f"the teacher's answer is {self._scrub(exc)}")

    def _read_status(self, exc: openai.APIStatusError, formatted: bool) -> _Failure:
        status = exc.status_code
        text = exc.response.text[:2000]
        said = f"HTTP {status} from the teacher: {self._scrub(text)}"
        if status in (400, 422) and formatted and any(w in text.lower() for w in FORMAT_WORDS):
            return _Failure("format", said)
        if status == 429 and "insufficient_quota" in text:
            return _Failure("refused", said)
        if status == 429:
            return _Failure("rate_limited", said, read_retry_after(exc.response.headers))
        if status >= 500 or status in (408, 409, 425):
            return _Failure("server_error", said, read_retry_after(exc.response.headers))
        if status in (401, 403):
            said += f"; is the key in the environment variable {self.config.api_key_env} right?"
        elif status == 404:
            said += "; check teacher.base_url and teacher.model"
        return _Failure("refused", said)

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


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait; None if it does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time())
    except (KeyError, ValueError, TypeError):
        return None
