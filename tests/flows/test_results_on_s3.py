"""A run on object storage: Cached on another machine, and a lost Prefect database loses history alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.seed_noise import serve_teacher
from deployments.api import post
from deployments.setup import RESULTS
from deployments.stack import HOME, MARK
from looptool.artifacts import Store
from looptool.campaign import Campaign
from looptool.config import NoiseConfig
from tests.flows.conftest import PLANTED, Prefect
from tests.store import servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]

ROOT = "s3://lake/shared"


@contextmanager
def machine(folder: Path, endpoint: str) -> Iterator[Prefect]:
    """A Prefect server and a worker with a database and caches of their own, and the keys of the store."""
    environment = os.environ | servers.KEYS | PLANTED | {
        "AWS_ENDPOINT_URL": endpoint,
        "LOOPTOOL_STATE": str(folder / "state"),
        "LOOPTOOL_CACHE": str(folder / "cache"),
    }  # fmt: skip
    environment.pop(MARK, None)
    command = [sys.executable, "-m", "deployments.stack"]
    guard = subprocess.Popen(
        [*command, "guard"],
        cwd=HOME,
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        up = [*command, "up", "--port", "0", "--store", ROOT]
        done = subprocess.run(
            up, cwd=HOME, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        port = done.stdout.split("http://127.0.0.1:")[1].split(" ")[0]
        server = Prefect(int(port), folder, patience_s=1200)
        yield server
        server.client.close()
    finally:
        subprocess.run([*command, "down"], cwd=HOME, env=environment, check=True)
        guard.kill()
        guard.communicate()


def on_s3(teacher_port: int) -> dict[str, object]:
    return {
        "overrides": {
            "store.root": ROOT,
            "teacher.base_url": f"http://127.0.0.1:{teacher_port}/v1",
            "teacher.price_in": 1.0,
        }
    }


def test_another_machine_with_an_empty_database_finds_every_stage_cached_on_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.serve("moto", tmp_path) as endpoint, serve_teacher(noise=NoiseConfig()) as teacher:
        for name, value in (servers.KEYS | PLANTED | {"AWS_ENDPOINT_URL": endpoint}).items():
            monkeypatch.setenv(name, value)
        with machine(tmp_path / "one", endpoint) as one:
            made = one.run("c", **on_s3(teacher.port))
            assert set(made.values()) == {"Completed"}
            (record,) = Campaign(Store(ROOT), "c").complete()
            assert not list((tmp_path / "one/state/prefect").glob("storage/*"))
        asked = teacher.requests
        assert asked > 0
        with machine(tmp_path / "two", endpoint) as two:
            again = two.run("c", **on_s3(teacher.port), iteration=1)
            runs = post(two.client, "/flow_runs/filter", {"limit": 10})
        assert again == dict.fromkeys(made, "Cached")
        assert len(runs) == 1  # the history of the first machine is what is lost
        assert teacher.requests == asked
        (after,) = Campaign(Store(ROOT), "c").complete()
        assert (after.state, after.next_dataset) == (record.state, record.next_dataset)
        results = [item.path for item in Store(ROOT).objects(Store(ROOT).path(RESULTS))]
        assert len(results) == len(made)
        look_for_keys(tmp_path)


def look_for_keys(folder: Path) -> None:
    """In everything on the store, and in the databases, logs and caches of both machines."""
    store = Store(ROOT)
    seen = [(item.path, store.get(item.path) or b"") for item in store.objects(store.path())]
    files = [path for path in folder.rglob("*") if path.is_file()]
    seen += [(str(path), path.read_bytes()) for path in files]
    keys = [*PLANTED.values(), *(v for k, v in servers.KEYS.items() if "KEY" in k or "TOKEN" in k)]
    assert len(seen) > 100
    assert any("prefect.db" in path for path, _ in seen)
    assert [(path, key) for path, data in seen for key in keys if key.encode() in data] == []
