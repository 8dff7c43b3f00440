"""Planted keys of the teacher and of the store are nowhere that a run leaves something, also when it fails."""

import io
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deployments.api import post
from tests.flows.conftest import PLANTED, Prefect

pytestmark = pytest.mark.timeout(580)


def everything(prefect: Prefect, state: Path) -> Iterator[tuple[str, str]]:
    """Every file of the state (Prefect's database, results, logs), of the caches and of the lake, as text."""
    for folder in (state, prefect.lake, Path(os.environ["LOOPTOOL_CACHE"])):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            data = file.read_bytes()
            yield str(file), data.decode("utf-8", "replace")
            if file.suffix == ".parquet":
                yield (
                    f"{file} (rows)",
                    json.dumps(pq.read_table(io.BytesIO(data)).to_pylist(), default=str),
                )
            elif file.suffix == ".db":
                with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
                    yield f"{file} (rows)", "\n".join(database.iterdump())


@pytest.fixture
def telling() -> Iterator[str]:
    """The address of a teacher that repeats the key that it was given in its answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = {"error": {"message": f"bad key: {self.headers['authorization']}", "code": 401}}
            body = json.dumps(said).encode()
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(401, f"no {self.headers['authorization']}")
            self.send_header("x-key", str(self.headers["authorization"]))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def find_planted(prefect: Prefect, *said: str) -> list[tuple[str, str]]:
    """Where a planted key is, and which: in all files, in what the API says, and in the texts given."""
    seen = list(everything(prefect, Path(os.environ["LOOPTOOL_STATE"])))
    seen += [("what was said", text) for text in said]
    for kind in ("artifacts", "task_runs", "flow_runs", "logs", "block_documents"):
        rows = post(prefect.client, f"/{kind}/filter", {"limit": 200})
        seen.append((f"the API's {kind}", json.dumps(rows)))
    for where in (".db", "server.log", "storage/", "manifest.json", ".parquet (rows)", "the API's"):
        assert any(where in path for path, _ in seen), f"{where} was not looked at"
    assert any("shared" in text for path, text in seen if path.endswith(".db (rows)"))
    return [(path, name) for path, text in seen for name, key in PLANTED.items() if key in text]


def test_no_planted_key_is_in_what_a_run_leaves_behind(
    first_run: dict[str, str], prefect: Prefect
) -> None:
    assert find_planted(prefect) == []


@pytest.mark.slow
def test_nor_when_the_teacher_refuses_the_key_and_repeats_it(
    first_run: dict[str, str], prefect: Prefect, telling: str
) -> None:
    parameters = prefect.parameters("refused", overrides={"teacher.base_url": telling})
    run_id = prefect.press_run(**parameters)
    assert prefect.wait(run_id) == "FAILED"
    assert "LOOPTOOL_TEACHER_API_KEY" in prefect.state(run_id)[1]
    assert find_planted(prefect, prefect.explain(run_id)) == []
