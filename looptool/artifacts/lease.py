"""The lease of a store that cannot keep two writers apart by itself: an owner and an end.

Taken by writing it, waiting, and reading it again: of two that write at the same time the later one stays.
Renewed while the process lives, stolen only when its end has passed. This keeps out a second run that was
started by mistake; it needs clocks that agree within a fraction of its length, and is no substitute for
conditional writes.
"""

import atexit
import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable

from pydantic import ValidationError

from looptool.errors import CampaignError, LoopToolError, StoreError
from looptool.records import Record

SETTLE_RATE = 0.01
"""Share of its length that a new lease is left alone before it is read again."""


class LeaseFile(Record):
    """writer.json."""

    owner: str
    """Host and process, for people."""
    token: str
    expires_at: float
    """Seconds since 1970."""


class Lease:
    """One store's lease, held by this process until it ends."""

    def __init__(
        self,
        path: str,
        get: Callable[[str], bytes | None],
        put: Callable[[str, bytes], None],
        remove: Callable[[str], None],
        where: str,
        seconds: float,
    ) -> None:
        self._path, self._get, self._put, self._remove = path, get, put, remove
        self._where, self._seconds = where, seconds
        self._token = uuid.uuid4().hex
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self.pid = os.getpid()
        self._expires_at = 0.0
        self._stop = threading.Event()

    def acquire(self) -> None:
        """Take the lease, or raise CampaignError that says who has it and until when."""
        settle = SETTLE_RATE * self._seconds
        while True:
            began = time.monotonic()
            self._raise_if_held()
            self._write()
            if time.monotonic() - began <= settle:
                break
            time.sleep(settle)  # the write took so long that another may have looked before it
            if self._is_mine():
                break
        time.sleep(settle)
        if not self._is_mine():
            self._raise_if_held()
            raise CampaignError(f"another run took the store {self._where} at the same moment")
        threading.Thread(target=self._renew, daemon=True, name="looptool-lease").start()

    def ensure(self) -> None:
        """Raise StoreError unless the lease is still this process's."""
        if time.time() >= self._expires_at:
            raise StoreError(
                f"the lease on {self._where} was lost: it could not be renewed in time, or another run "
                "took it; end the other run, then run again"
            )

    def release(self) -> None:
        """Give the lease back, if it is still this process's."""
        self._stop.set()
        if os.getpid() == self.pid and self._expires_at and self._is_mine():
            self._remove(self._path)
        self._expires_at = 0.0

    def _read(self) -> LeaseFile | None:
        data = self._get(self._path)
        try:
            return None if data is None else LeaseFile.model_validate_json(data)
        except ValidationError:
            return None

    def _is_mine(self) -> bool:
        held = self._read()
        return held is not None and held.token == self._token

    def _raise_if_held(self) -> None:
        held = self._read()
        if held is None or held.token == self._token or held.expires_at <= time.time():
            return
        left = held.expires_at - time.time()
        raise CampaignError(
            f"{held.owner} is writing to the store {self._where}, which takes one writer at a time; wait "
            f"for it to end, or {left:.0f} s if it was killed"
        )

    def _write(self) -> None:
        until = time.time() + self._seconds
        body = LeaseFile(owner=self._owner, token=self._token, expires_at=until)
        self._put(self._path, body.model_dump_json().encode())
        self._expires_at = until

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                if not self._is_mine():
                    self._expires_at = 0.0
                    return
                self._write()
            except LoopToolError:
                continue  # it stays valid until its end; `ensure` says so when that has passed


_held: dict[str, Lease] = {}
_lock = threading.Lock()


def hold_lease(
    path: str,
    get: Callable[[str], bytes | None],
    put: Callable[[str, bytes], None],
    remove: Callable[[str], None],
    where: str,
    seconds: float,
) -> Lease:
    """This process's lease at a path, taken now if it has none yet."""
    with _lock:
        lease = _held.get(where)
        if lease is None or lease.pid != os.getpid():
            lease = Lease(path, get, put, remove, where, seconds)
            lease.acquire()
            _held[where] = lease
        return lease


def release_leases() -> None:
    """Give back every lease of this process."""
    with _lock:
        while _held:
            _, lease = _held.popitem()
            with contextlib.suppress(LoopToolError):
                lease.release()


atexit.register(release_leases)
