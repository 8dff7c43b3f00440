"""Any ASGI application as the endpoint, in process: the seam by which tests and laptops need no
server.

httpx's own ASGITransport hands the application's exceptions to the caller and asserts that a
response is complete; here an answer that stops half-way is a cut connection, as it would be over a
port.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx2

Event = MutableMapping[str, Any]
AsgiApp = Callable[
    [Event, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]
]


class AsgiTransport(httpx2.AsyncBaseTransport):
    """Sends each request straight into the application."""

    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request, one whole response.

        Raises httpx2.ReadError when the application breaks off (OSError, or no end of the body).
        """
        body = await request.aread()
        exchange = _Exchange(body)
        try:
            await self.app(_scope_of(request), exchange.receive, exchange.send)
        except OSError as exc:
            raise httpx2.ReadError(f"connection cut: {exc}", request=request) from exc
        if not exchange.complete:
            raise httpx2.ReadError("connection cut in the middle of the answer", request=request)
        return httpx2.Response(
            exchange.status, headers=exchange.headers, content=b"".join(exchange.parts)
        )


class _Exchange:
    def __init__(self, body: bytes) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.complete = False
        self._body: bytes | None = body

    async def receive(self) -> Event:
        if self._body is None:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self.headers = list(event.get("headers", []))
        elif event["type"] == "http.response.body":
            self.parts.append(event.get("body", b""))
            self.complete = not event.get("more_body", False)


def _scope_of(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(key.lower(), value) for key, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }


def as_transport(transport: Any) -> httpx2.AsyncBaseTransport | None:
    """The transport for the client; one of httpx or httpx2 around an ASGI application is rebuilt.

    Raises TypeError for anything else that is no httpx2 transport.
    """
    if transport is None or isinstance(transport, AsgiTransport):
        return transport
    app = getattr(transport, "app", None)
    if callable(app):
        return AsgiTransport(app)
    if isinstance(transport, httpx2.AsyncBaseTransport):
        return transport
    raise TypeError(f"expected an httpx2.AsyncBaseTransport, got {type(transport).__name__}")
