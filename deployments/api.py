"""The Prefect server's API over HTTP, asked again where the server says that it is busy.

Prefect's own client does the same: with SQLite a server answers 503 when its database stays locked
for longer than its timeout, which happens on a busy machine.
"""

import time
from typing import Any

import httpx

BUSY = frozenset({408, 429, 502, 503})
"""Answers after which the same request may succeed; the server has done nothing then."""
TRIES = 8
WAIT_S = 0.5
"""Pause after the first busy answer; doubled each time, at most 8 s."""


class PatientTransport(httpx.HTTPTransport):
    """Repeats requests that the server was too busy for."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The first answer that is not `busy`, or the last one."""
        for attempt in range(TRIES):
            answer = super().handle_request(request)
            if answer.status_code not in BUSY or attempt == TRIES - 1:
                return answer
            answer.close()
            time.sleep(min(8.0, WAIT_S * 2**attempt))
        raise AssertionError("unreachable")


def api_url(port: int) -> str:
    """Address of the API of a server on this machine."""
    return f"http://127.0.0.1:{port}/api"


def connect(port: int) -> httpx.Client:
    """A client whose errors are real ones; to be closed."""
    return httpx.Client(base_url=api_url(port), timeout=60.0, transport=PatientTransport(retries=2))


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    """JSON of an answer; httpx.HTTPStatusError if the server refused."""
    return client.post(path, json=body).raise_for_status().json()
