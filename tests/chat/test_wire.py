"""The transport below the client, over real sockets."""

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

import looptool.chat.wire as wire
from looptool.chat.wire import DirectTransport, direct_transport

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class Server:
    """A port that answers each request by the next of some byte strings; None closes at once."""

    def __init__(self, *answers: bytes | None, ends: bool = False) -> None:
        self.answers = list(answers)
        self.ends = ends
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                number = min(len(self.requests), len(self.answers)) - 1
                answer = self.answers[number]
                if answer is None:
                    break
                writer.write(answer)
                if self.ends:
                    break
        except asyncio.IncompleteReadError:
            pass  # the client has gone


def talk(
    server: Server,
    work: Callable[[httpx2.AsyncClient, str], Awaitable[Any]],
    tls: ssl.SSLContext | None = None,
) -> Any:
    """What `work` makes of a client and the server's URL."""

    serving: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await server.serve(reader, writer)
            writer.close()
            await writer.wait_closed()

    async def run() -> Any:
        try:
            return await run_with_server()
        finally:
            await asyncio.gather(*[task for task in serving if task is not None])

    async def run_with_server() -> Any:
        listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
        port = listener.sockets[0].getsockname()[1]
        scheme = "https" if tls else "http"
        async with (
            listener,
            httpx2.AsyncClient(transport=DirectTransport(), timeout=5.0) as client,
        ):
            return await work(client, f"{scheme}://127.0.0.1:{port}/v1?a=b")

    return asyncio.run(run())


async def post(client: httpx2.AsyncClient, url: str) -> str:
    return (await client.post(url, content=b'{"x": 1}')).text


async def post_twice(client: httpx2.AsyncClient, url: str) -> list[str]:
    return [await post(client, url), await post(client, url)]


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
ZIPPED = gzip.compress(b"hello", mtime=0)
GZIP = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(ZIPPED)


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED,
        GZIP + ZIPPED,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
    ],
)
def test_answers_are_read_however_they_are_framed_and_the_connection_is_kept(answer: bytes) -> None:
    server = Server(answer)
    assert talk(server, post_twice) == ["hello", "hello"]
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /v1?a=b HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'\r\n\r\n{"x": 1}')


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ],
)
def test_a_connection_that_the_endpoint_ends_is_not_used_again(answer: bytes) -> None:
    server = Server(answer, ends=True)
    assert talk(server, post_twice) == ["hello", "hello"]
    assert server.connections == 2


def test_a_kept_connection_closed_by_the_endpoint_is_replaced_in_silence() -> None:
    server = Server(OK, None, OK)
    assert talk(server, post_twice) == ["hello", "hello"]
    assert server.connections == 2


def test_a_new_connection_closed_without_an_answer_is_a_fault() -> None:
    with pytest.raises(httpx2.ReadError):
        talk(Server(None), post)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 O",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
)
def test_a_cut_answer_and_what_is_no_http_are_faults(answer: bytes) -> None:
    with pytest.raises(httpx2.TransportError):
        talk(Server(answer, ends=True), post)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST_ANSWER", 1000)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000
    with pytest.raises(httpx2.RemoteProtocolError, match="larger"):
        talk(Server(endless), post)


def test_an_idle_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE_S", 0.02)

    async def work(client: httpx2.AsyncClient, url: str) -> None:
        await post(client, url)
        await asyncio.sleep(0.05)
        await post(client, url)

    server = Server(OK)
    talk(server, work)
    assert server.connections == 2


def test_requests_at_once_have_connections_of_their_own_and_those_are_used_again() -> None:
    async def work(client: httpx2.AsyncClient, url: str) -> None:
        for _ in range(3):
            await asyncio.gather(*[post(client, url) for _ in range(8)])

    server = Server(OK)
    talk(server, work)
    assert len(server.requests) == 24
    assert server.connections == 8


def test_an_answer_to_a_cancelled_request_reaches_no_other_one() -> None:
    class Late(Server):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            if self.connections == 1:
                await asyncio.sleep(0.05)
                writer.write(OK.replace(b"hello", b"wrong"))
                await asyncio.sleep(0.05)
            writer.write(OK)

    async def work(client: httpx2.AsyncClient, url: str) -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await post(client, url)
        return await post(client, url)

    server = Late()
    assert talk(server, work) == "hello"
    assert server.connections == 2


def test_nobody_at_the_port_is_a_connect_error() -> None:
    async def work(client: httpx2.AsyncClient, url: str) -> None:
        with pytest.raises(httpx2.ConnectError):
            await post(client, "http://127.0.0.1:9/v1")

    talk(Server(OK), work)


def test_proxies_of_the_environment_are_left_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert isinstance(direct_transport("https://api.example.org/v1"), DirectTransport)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert direct_transport("https://api.example.org/v1") is None
    assert isinstance(direct_transport("http://10.0.0.1:8000/v1"), DirectTransport)
    monkeypatch.setenv("no_proxy", "example.org")
    assert isinstance(direct_transport("https://api.example.org/v1"), DirectTransport)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


def test_tls_is_spoken_and_the_certificate_checked(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        talk(Server(OK), post, tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = Server(OK)
    assert talk(server, post_twice, tls) == ["hello", "hello"]
    assert server.connections == 1
