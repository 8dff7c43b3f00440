"""A Prefect server that is busy for a moment is asked again."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from deployments import api


class Busy(BaseHTTPRequestHandler):
    """Answers 503 as often as it is told to, then 200."""

    left = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = 503 if Busy.left > 0 else 200
        Busy.left -= 1
        self.send_response(status)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"null")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(api, "WAIT_S", 0.001)
    server = HTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_busy_answer_is_followed_by_another_try(port: int) -> None:
    Busy.left = 3
    with api.connect(port) as client:
        assert api.post(client, "/anything", {}) is None
    assert Busy.left == -1


def test_a_server_that_stays_busy_is_an_error_in_the_end(port: int) -> None:
    Busy.left = 1000
    with api.connect(port) as client, pytest.raises(httpx.HTTPStatusError, match="503"):
        api.post(client, "/anything", {})
