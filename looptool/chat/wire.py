"""HTTP/1.1 to one endpoint at the price of little CPU: the transport below the openai client.

httpcore asks each of its connections in turn whether it is free, four times a request, and writes
head and body apart: with 64 requests in flight that is more work than all the rest of a call. Here
a free connection is taken from a stack, a request is one write, and h11 reads the answer. Left out:
HTTP/2, proxies (`direct_transport` leaves those to httpx2), streaming of bodies.
"""

import asyncio
import contextlib
import ipaddress
import ssl
from collections import deque
from urllib.request import getproxies, proxy_bypass

import h11
import httpx2

IDLE_S = 4.0
"""A connection unused for longer is closed: common servers do that themselves after 5 s."""
LARGEST_ANSWER = 64 * 2**20
"""Bytes; an endpoint that sends more is cut off."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""


def direct_transport(url: str) -> "DirectTransport | None":
    """The transport to the URL, or None where the environment names a proxy: httpx2 knows those."""
    parts = httpx2.URL(url)
    proxies = getproxies()
    proxied = parts.scheme in proxies or "all" in proxies
    return None if proxied and not proxy_bypass(parts.host) else DirectTransport()


class DirectTransport(httpx2.AsyncBaseTransport):
    """Keeps connections open and gives each to one request at a time, the latest used first.

    It does not bound their number: who sends at most n requests at once opens at most n.
    """

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request, one whole response.

        A kept connection that the endpoint closed without a word, just as it was used again, is no
        fault: the request goes out once more on a new one. Raises httpx2.TransportError.
        """
        await request.aread()
        origin = _origin_of(request.url)
        connection = self._take(origin)
        if connection is not None:
            try:
                return await self._exchange(connection, origin, request)
            except _ClosedUnused:
                pass
        try:
            return await self._exchange(await self._connect(origin, request), origin, request)
        except _ClosedUnused as exc:
            raise httpx2.ReadError(str(exc), request=request) from exc

    async def _exchange(
        self, connection: "_Connection", origin: Origin, request: httpx2.Request
    ) -> httpx2.Response:
        try:
            head, body = await connection.send(request)
        except h11.ProtocolError as exc:
            connection.close()
            # What h11 says of a bad header quotes it, and one of them is the key.
            said = str(exc) if isinstance(exc, h11.RemoteProtocolError) else "bad header"
            raise httpx2.RemoteProtocolError(said, request=request) from None
        except _ClosedUnused:
            raise
        except OSError as exc:
            connection.close()
            raise httpx2.ReadError(str(exc) or type(exc).__name__, request=request) from exc
        except BaseException:
            connection.close()  # cancelled: the answer, should it come, is nobody's
            raise
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(origin, deque()).append(connection)
        else:
            connection.close()
        return httpx2.Response(head.status_code, headers=head.headers.raw_items(), content=body)

    def _take(self, origin: Origin) -> "_Connection | None":
        idle = self._idle.get(origin)
        if not idle:
            return None
        oldest_allowed = asyncio.get_running_loop().time() - IDLE_S
        while idle and idle[0].idle_since < oldest_allowed:
            idle.popleft().close()
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin, request: httpx2.Request) -> "_Connection":
        scheme, host, port = origin
        if scheme == "https" and self._tls is None:
            self._tls = httpx2.create_ssl_context()
        limit = request.extensions.get("timeout", {}).get("connect")
        connection = _Connection()
        try:
            async with asyncio.timeout(limit):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    host,
                    port,
                    ssl=self._tls if scheme == "https" else None,
                    happy_eyeballs_delay=_head_start(host),
                )
        except TimeoutError as exc:
            said = f"no connection to {host}:{port} within {limit:g} s"
            raise httpx2.ConnectTimeout(said, request=request) from exc
        except OSError as exc:
            raise httpx2.ConnectError(str(exc), request=request) from exc
        except BaseException:
            connection.close()  # cancelled just as it was made
            raise
        return connection

    async def aclose(self) -> None:
        """Closes the connections that are not in use."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # lets the loop close the sockets


def _head_start(host: str) -> float | None:
    """Seconds that the first of a host's addresses has before the next is tried beside it.

    None for an address: asyncio's race leaves a socket open when it is cancelled just as it is won.
    """
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return None
    return 0.25


class _ClosedUnused(Exception):
    """The endpoint closed a connection before the first byte of an answer."""


class _Connection(asyncio.Protocol):
    """One connection: one exchange after the other."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._protocol = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[h11.Response, bytes]] | None = None
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._silent = True

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on it."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and self._protocol.our_state is h11.IDLE
        )

    async def send(self, request: httpx2.Request) -> tuple[h11.Response, bytes]:
        """Writes the request and waits for the whole answer.

        Raises OSError when the connection breaks, h11.ProtocolError for what is no HTTP.
        """
        self._head, self._body, self._silent = None, bytearray(), True
        head = h11.Request(
            method=request.method, target=request.url.raw_path, headers=request.headers.raw
        )
        out = self._protocol.send(head) or b""
        if request.content:
            out += self._protocol.send(h11.Data(request.content)) or b""
        out += self._protocol.send(h11.EndOfMessage()) or b""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(out)
        return await self._answer

    def close(self) -> None:
        """Closes the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._silent = False
        self._protocol.receive_data(data)
        self._read()

    def eof_received(self) -> bool:
        self._protocol.receive_data(b"")
        self._read()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._silent:
            self._fail(_ClosedUnused("the endpoint closed the connection without an answer"))
        else:
            self._fail(exc or ConnectionResetError("connection cut in the middle of the answer"))

    def _read(self) -> None:
        try:
            while self._answer is not None:
                event = self._protocol.next_event()
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > LARGEST_ANSWER:
                        raise h11.RemoteProtocolError("the answer is larger than 64 MiB")
                elif isinstance(event, h11.EndOfMessage):
                    self._finish()
                elif not isinstance(event, h11.InformationalResponse):
                    return  # more data is needed, or the connection has ended
        except h11.ProtocolError as exc:
            if not self._silent:
                self._fail(exc)

    def _finish(self) -> None:
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done() and self._head is not None:
            answer.set_result((self._head, bytes(self._body)))

    def _fail(self, exc: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(exc)


def _origin_of(url: httpx2.URL) -> Origin:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)
