"""What keeps a benchmark's process in its place: it may talk to the policy's socket and to nothing else.

BFCL's multi-turn categories `eval` what the model wrote. The parent takes the network away by a namespace of
its own, where the system lets it; this module adds limits on memory, time and file size, an audit hook
that refuses connections and new processes, and an end when the parent ends. An audit hook stops code that does
not set out to get around it; it is no wall.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import resource
import signal
import socket
import sys
import threading
import types
from collections.abc import Iterable, Sequence
from typing import Any

REFUSED = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
    "os.kill",
    "os.killpg",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
)
"""Audit events that no benchmark has a use for."""
FILE_BYTES = 2 << 30
"""Largest file that may be written."""


def limit(memory_gib: float, cpu_s: float) -> None:
    """Hard limits of this process: address space, CPU seconds, file size, no core dump."""
    memory = int(memory_gib * (1 << 30))
    cpu = max(1, int(cpu_s))
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lowest, lowest))


def end_with_parent() -> None:
    """End the whole process group when standard input ends: then nobody waits for the result."""
    group = os.getpgid(0)
    kill = os.killpg

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        _PARENT_IS_GONE.set()
        kill(group, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


_PARENT_IS_GONE = threading.Event()


def refuse_the_outside() -> None:
    """From now on: no connection but to Unix sockets, no new process. Cannot be undone."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in REFUSED and not _PARENT_IS_GONE.is_set():
            raise PermissionError(f"{event} is refused in a benchmark's process")
        if event == "socket.connect" and arguments[0].family != socket.AF_UNIX:
            raise PermissionError("a benchmark's process may only talk to the policy")

    sys.addaudithook(hook)


def connect(path: str, timeout_s: float) -> Any:
    """The OpenAI client on the policy's Unix socket."""
    import httpx2
    import openai

    transport = httpx2.HTTPTransport(uds=path)
    return openai.OpenAI(
        base_url="http://policy/v1",
        api_key="none",
        max_retries=2,
        timeout=timeout_s,
        http_client=httpx2.Client(transport=transport, timeout=timeout_s),
    )


class _Nameless(type):
    """Makes classes any attribute of which is another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nameless(name, (Exception,), {})


class _Stub(types.ModuleType):
    """Stands for a vendor's package: any name in it is a class that nobody makes an object of."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nameless(name, (Exception,), {})


class _StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what the environment lacks of some packages, last of all finders."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for the packages of the list and whatever is below them."""
        if fullname.partition(".")[0] not in self._names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """An empty stub."""
        return _Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def stub(names: Iterable[str]) -> None:
    """Let these packages be imported although they are not installed."""
    sys.meta_path.append(_StubFinder(names))
