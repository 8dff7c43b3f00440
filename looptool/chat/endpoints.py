"""The endpoints of a teacher, and the queue of the calls that wait for one of them.

A call goes to the endpoint with most room, so that a fast one gets more of them; one that rests
gets none, and the others go on. Who waits longest is served first.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import openai

from looptool.chat.pacing import Pace
from looptool.chat.replies import FORMATS

log = logging.getLogger(__name__)

FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured output", "guided")
_OPTIONAL = ("temperature", "top_p", "seed")


@dataclass(slots=True, eq=False)
class Endpoint:
    """One address, its pace, and what was learned about it."""

    url: str
    client: openai.AsyncOpenAI = field(repr=False)
    pace: Pace = field(repr=False)
    known: bool = False
    """Whether it ever answered, be it to refuse."""
    format: str = FORMATS[0]
    """Best way to ask for JSON that it is not known to refuse."""
    limit_name: str = "max_tokens"
    """What it calls the limit of the reply's length."""
    unsupported: frozenset[str] = frozenset()
    """Optional parameters that it refuses."""

    @property
    def target(self) -> str:
        """Where requests go; whole, because openai is slow in joining URLs."""
        return self.url.rstrip("/") + "/chat/completions"

    def shape(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request as this endpoint takes it."""
        body = {name: value for name, value in request.items() if name not in self.unsupported}
        if self.limit_name != "max_tokens":
            body[self.limit_name] = body.pop("max_tokens")
        return body

    def learn(self, body: dict[str, Any], status: int, text: str) -> bool:
        """Whether a refusal tells how to ask, so that the request is worth repeating at once."""
        if status not in (400, 422):
            return False
        said = text.lower()
        if "max_tokens" in body and "max_completion_tokens" in said:
            self.limit_name = "max_completion_tokens"
            return True
        if "unsupported" in said or "not support" in said:
            refused = {n for n in _OPTIONAL if n in body and re.search(rf"['\"`]{n}['\"`]", said)}
            if refused:
                log.warning("%s takes no %s: left out", self.url, ", ".join(sorted(refused)))
                self.unsupported |= refused
                return True
        asked = body.get("response_format", {}).get("type")
        if asked and any(word in said for word in FORMAT_WORDS):
            if self.format == asked:  # another call may have learned it meanwhile
                self.format = FORMATS[FORMATS.index(asked) + 1]
            return True
        return False


class Queue:
    """Hands out places at the endpoints."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self._waiting: deque[tuple[asyncio.Future[Endpoint], Endpoint | None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None

    async def take(self, avoid: Endpoint | None = None) -> Endpoint:
        """A place at an endpoint, to be given back; not at `avoid` if another one has room."""
        loop = asyncio.get_running_loop()
        found = None if self._waiting else self._choose(loop.time(), avoid)
        if found is not None:
            found.pace.active += 1
            return found
        place: asyncio.Future[Endpoint] = loop.create_future()
        self._waiting.append((place, avoid))
        self._serve()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give_back(place.result())
            raise

    def give_back(self, endpoint: Endpoint) -> None:
        """Frees a place; to be called after the endpoint's pace knows how the request ended."""
        endpoint.pace.active -= 1
        if self._waiting:
            self._serve()

    def ready_beside(self, endpoint: Endpoint, now: float) -> bool:
        """Whether another endpoint takes requests now."""
        return any(e is not endpoint and e.pace.rests_until <= now for e in self.endpoints)

    def _choose(self, now: float, avoid: Endpoint | None) -> Endpoint | None:
        if len(self.endpoints) == 1:
            only = self.endpoints[0]
            return only if only.pace.free(now) > 0 else None
        room = [(e.pace.free(now), e) for e in self.endpoints]
        free = [(places, e) for places, e in room if places > 0]
        preferred = [(places, e) for places, e in free if e is not avoid] or free
        return max(preferred, key=lambda pair: pair[0])[1] if preferred else None

    def _serve(self) -> None:
        """Gives places to those who wait, as far as there are any."""
        now = asyncio.get_running_loop().time()
        while self._waiting:
            place, avoid = self._waiting[0]
            if place.done():  # cancelled
                self._waiting.popleft()
                continue
            found = self._choose(now, avoid)
            if found is None:
                break
            self._waiting.popleft()
            found.pace.active += 1
            place.set_result(found)
        self._set_alarm(now)

    def _set_alarm(self, now: float) -> None:
        """Serves again when the next endpoint has rested."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        ends = [e.pace.rests_until for e in self.endpoints if e.pace.rests_until > now]
        if self._waiting and ends:
            self._alarm = asyncio.get_running_loop().call_at(min(ends), self._serve)
