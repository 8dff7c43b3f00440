"""Stores of every kind for one suite: a local folder and two S3 endpoints."""

import contextlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from looptool.artifacts import Store


def _servers() -> ModuleType:
    """The module beside this file; the tests are no package."""
    name = "store_servers"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("servers.py"))
        assert spec
        assert spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


servers = _servers()
_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The second S3 server repeats what the first one has shown."""
    for item in items:
        if "localbucket" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Starts an S3 server once and gives its endpoint."""
    running: dict[str, str] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> str:
            if name not in running:
                folder = tmp_path_factory.mktemp(name)
                running[name] = stack.enter_context(servers.serve(name, folder))
            return running[name]

        yield start


@pytest.fixture
def s3(endpoints: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Points the environment at a server; gives an empty root on it."""

    def use(name: str = "moto", endpoint: str = "") -> str:
        pytest.importorskip("s3fs")
        for key, value in servers.KEYS.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint or endpoints(name))
        _forget_filesystems()
        return f"s3://lake/root-{next(_numbers)}"

    return use


@pytest.fixture
def keys() -> dict[str, str]:
    """What the environment holds while a test talks to an S3 server."""
    return dict(servers.KEYS)


@pytest.fixture
def proxy() -> Iterator[Callable[[str], Any]]:
    """Puts a proxy that can break things in front of an endpoint."""
    with contextlib.ExitStack() as stack:
        yield lambda upstream: stack.enter_context(servers.faulty_proxy(upstream))


def _forget_filesystems() -> None:
    """A file system keeps its endpoint: the next one is to read the environment again."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["folder", "moto", "localbucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path, s3: Callable[[str], str]) -> str:
    """An empty root on each kind of store."""
    return str(tmp_path / "lake") if request.param == "folder" else s3(request.param)


@pytest.fixture
def store(root: str) -> Store:
    """A store on each kind."""
    return Store(root, timeout_s=30, attempts=4)
