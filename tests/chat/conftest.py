import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import looptool.chat.client as client


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF_S", 0.001)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client asked for, none of them really taken."""
    asked: list[float] = []
    sleep: Callable[[float], Any] = asyncio.sleep

    async def record(seconds: float) -> None:
        asked.append(seconds)
        await sleep(0)

    monkeypatch.setattr(client.asyncio, "sleep", record)
    return asked
