"""Keys of the teacher and of the store are nowhere but in the environment, also when everything fails."""

import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.seed_noise import run_seed_phase, serve_teacher
from looptool.artifacts import Store
from looptool.config import NoiseConfig, parse_config
from looptool.errors import StoreError

TEACHER_KEY = "planted-teacher-key-55d1"


@pytest.fixture
def planted(keys: dict[str, str]) -> list[str]:
    """The teacher's key and the store's."""
    return [TEACHER_KEY, *(v for k, v in keys.items() if "KEY" in k or "TOKEN" in k)]


def texts(store: Store) -> Iterator[tuple[str, str]]:
    """Every object of a store as text; tables unpacked."""
    for item in store.objects(store.path()):
        data = store.get(item.path) or b""
        if item.path.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(data))
            yield item.path, json.dumps(table.to_pylist(), default=str) + str(table.schema)
        else:
            yield item.path, data.decode("utf-8", "replace")


def test_no_key_is_in_the_store_the_logs_or_the_configuration(
    s3: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    planted: list[str],
) -> None:
    monkeypatch.setenv("LOOPTOOL_TEACHER_API_KEY", TEACHER_KEY)
    root = s3("moto")
    with serve_teacher(noise=NoiseConfig(http_error_rate=0.1)) as teacher:
        config = parse_config(
            {
                "store": {"root": root, "attempts": 3},
                "teacher": {"base_url": f"http://127.0.0.1:{teacher.port}/v1", "price_in": 1.0},
                "seed": {
                    "train_samples": 4, "heldout_samples": 2, "heldout_unseen_samples": 1,
                    "tools_min": 3, "tools_max": 3, "turns_max": 2, "kinds": {"single": 1.0},
                },
            }
        )  # fmt: skip
        with caplog.at_level(logging.INFO):
            pool = run_seed_phase(config)
    store = Store(root)
    seen = [*texts(store), ("log", caplog.text), ("config", config.model_dump_json())]
    assert len(seen) > 12
    assert any("/spending/" in path for path, _ in seen)
    assert pool.rows["samples"] == 7
    for path, text in seen:
        for key in planted:
            assert key not in text, f"a planted key is in {path}"


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_server_that_repeats_the_keys_cannot_get_them_into_an_error(
    s3: Callable[..., str],
    endpoints: Callable[[str], str],
    proxy: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
    planted: list[str],
    status: int,
) -> None:
    telling = proxy(endpoints("moto"))
    telling.message = " ".join(planted)
    telling.fault = lambda method, path: status
    store = Store(s3(endpoint=telling.endpoint), timeout_s=2, attempts=1)
    with pytest.raises(StoreError):
        store.get(store.path("x"))  # asks with HEAD, whose answers have no text
    attempts: list[Callable[[], object]] = [
        store.check,
        lambda: store.put(store.path("x"), b"x"),
        lambda: store.create(store.path("x"), b"x"),
        lambda: store.objects(store.path()),
        lambda: store.upload(Path(__file__), store.path("x")),
    ]
    for attempt in attempts:
        with caplog.at_level(logging.INFO), pytest.raises(StoreError) as failed:
            attempt()
        told = "".join(traceback.format_exception(failed.value)) + repr(failed.value)
        told += pickle.dumps(failed.value).decode("latin-1") + caplog.text
        for key in planted[1:]:
            assert key not in told
        assert "<AWS_SECRET_ACCESS_KEY>" in told


def test_the_planted_keys_would_be_found(tmp_path: Path, planted: list[str]) -> None:
    store = Store(str(tmp_path))
    store.put(store.path("a/manifest.json"), f'{{"key": "{planted[1]}"}}'.encode())
    assert [path for path, text in texts(store) if planted[1] in text]
