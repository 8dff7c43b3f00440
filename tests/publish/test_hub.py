"""Uploading to a hub: a server that speaks as much of the Hugging Face API as small files need."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from looptool.publish import upload
from looptool.publish.hub import UploadError

TOKEN = "hf_planted_9a31"


class Hub(ThreadingHTTPServer):
    """Repositories by name, with their files; knows one token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        match path.split("?", maxsplit=1)[0].strip("/").split("/"):
            case ["api", "repos", "create"]:
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                if name in self.repositories:
                    return 409, {"url": f"{self.url}/{name}"}
                self.repositories[name] = asked
                return 200, {"url": f"{self.url}/{name}"}
            case ["api", "validate-yaml"]:
                return 200, {"errors": [], "warnings": []}
            case ["api", _, owner, name, "preupload", _]:
                wanted = [file["path"] for file in json.loads(body)["files"]]
                plain = [
                    {"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in wanted
                ]
                return 200, {"files": plain}
            case ["api", _, owner, name, "commit", _]:
                lines = [json.loads(line) for line in body.splitlines()]
                kept = self.files.setdefault(f"{owner}/{name}", {})
                for line in lines:
                    if line["key"] == "file":
                        kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                address = f"{self.url}/{owner}/{name}/commit/{'0' * 40}"
                return 200, {"commitUrl": address, "commitOid": "0" * 40}
            case _:
                return 404, {"error": f"nothing at {path}"}


class Answer(BaseHTTPRequestHandler):
    """One request to the hub."""

    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not body and self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        status, document = 401, {"error": "Invalid credentials"}
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            status, document = self.server.answer(self.path, body)
        said = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        return found

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "deep").mkdir(parents=True)
    (place / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A policy\n")
    (place / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (place / "deep" / "config.json").write_text("{}")
    return place


def test_a_folder_arrives_whole_in_a_private_repository(hub: Hub, folder: Path) -> None:
    address = upload(folder, "me/policy", "model")
    assert address.startswith(f"{hub.url}/me/policy/commit/")
    assert hub.repositories["me/policy"]["visibility"] == "private"
    found = {
        f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }
    assert hub.files["me/policy"] == found


def test_a_repository_that_exists_is_written_to_again(hub: Hub, folder: Path) -> None:
    upload(folder, "me/data", "dataset")
    (folder / "README.md").write_text("# Another\n")
    upload(folder, "me/data", "dataset")
    assert hub.files["me/data"]["README.md"] == b"# Another\n"
    assert hub.repositories["me/data"]["type"] == "dataset"


def test_a_token_that_is_refused_is_told_and_not_shown(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_another_5510")
    with pytest.raises(UploadError, match=r"me/policy was not uploaded: .*401") as caught:
        upload(folder, "me/policy", "model")
    assert "hf_another_5510" not in str(caught.value)
    assert not hub.files


def test_a_hub_that_does_not_answer_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UploadError, match="me/policy was not uploaded"):
        upload(folder, "me/policy", "model")
