"""S3 endpoints on this machine, and a proxy in front of one that breaks what it is told to."""

import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SERVERS = {
    "moto": [sys.executable, "-m", "moto.server", "-p", "{port}"],
    "localbucket": [sys.executable, "-m", "localbucket", "--port", "{port}", "{folder}"],
}
"""Two that enforce conditional writes, written by different people."""
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDKEY000001",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-7c1f0e",
    "AWS_SESSION_TOKEN": "planted-token-a93b52",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_SIGNED = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_bucket(endpoint: str, name: str) -> None:
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    request.add_header("Authorization", _SIGNED)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


@contextmanager
def serve(name: str, folder: Path) -> Iterator[str]:
    """One of SERVERS with a bucket `lake`; its endpoint."""
    port = free_port()
    command = [part.format(port=port, folder=folder) for part in SERVERS[name]]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_for(port, process)
        make_bucket(endpoint, "lake")
        yield endpoint
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server did not start")


@dataclass
class FaultyProxy:
    """Passes requests on; `fault` says for each one what goes wrong: a status, `reset`, `hang`, `lost`."""

    upstream: str
    endpoint: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request."""
    broken: list[str] = field(default_factory=list)
    fault: Callable[[str, str], int | str | None] = field(default=lambda method, path: None)
    hang_s: float = 5.0
    message: str = "no"
    """What an error answer says."""
    dropped: tuple[str, ...] = ()
    """Request headers that are not passed on, in lower case."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.seen.append((self.command, self.path))
        fault = self.proxy.fault(self.command, self.path)
        if fault is not None:
            self.proxy.broken.append(f"{fault} {self.command} {self.path}")
        if isinstance(fault, int):
            code = "SlowDown" if fault == 503 else "InternalError"
            said = f"<Error><Code>{code}</Code><Message>{self.proxy.message}</Message></Error>"
            self._answer(fault, [], said.encode())
        elif fault == "reset":
            self._reset()
        elif fault == "hang":
            time.sleep(self.proxy.hang_s)
            self._reset()
        else:
            answer = self._ask(body)
            self._reset() if fault == "lost" else self._answer(*answer)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(
            self.proxy.upstream.removeprefix("http://"), timeout=60
        )
        lost = self.proxy.dropped
        headers = {k: v for k, v in self.headers.items() if k.lower() not in lost}
        upstream.request(self.command, self.path, body=body, headers=headers)
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        return answer.status, answer.getheaders(), data

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = {k.lower(): v for k, v in headers}.get("content-length")
        head = self.command == "HEAD" and length is not None
        self.send_header("Content-Length", str(length) if head else str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection with RST, not FIN."""
        self.close_connection = True
        option = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self.connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy in front of an endpoint, in a thread of this process."""
    proxy = FaultyProxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
