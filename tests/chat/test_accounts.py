"""What a campaign has spent is known, whatever became of the stages; and how progress is told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import tasks.teacher
from looptool.campaign import Campaign
from looptool.config import parse_config
from looptool.errors import BudgetExceeded
from tasks.progress import Progress, describe, render_bar, render_seconds
from tasks.scope import Scope
from tasks.teacher import open_teacher
from tests.chat.test_teacher import MESSAGES, Endpoint, Greeting, says


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """Answers in place of the scripted teacher; each call is 1000 tokens in and 100 out."""
    server = Endpoint(says())
    monkeypatch.setattr(tasks.teacher, "create_app", lambda _: server.app)
    return server


def make_scope(root: Path, **teacher: Any) -> Scope:
    raw = {"store": {"root": str(root)}, "teacher": {"price_in": 1000.0} | teacher}
    return Scope(campaign="c", iteration=1, config=parse_config(raw))


def ask_often(scope: Scope, times: int, then: Exception | None = None) -> None:
    async def run() -> None:
        async with open_teacher(scope) as teacher:
            for _ in range(times):
                await teacher.ask(MESSAGES, reply=Greeting, stage="judge")
            if then is not None:
                raise then

    asyncio.run(run())


def spent(scope: Scope) -> float:
    return Campaign(scope.store(), scope.campaign).spent_usd()


def test_what_failed_stages_cost_is_spent_as_well(server: Endpoint, tmp_path: Path) -> None:
    scope = make_scope(tmp_path)
    assert spent(scope) == 0
    ask_often(scope, 2)
    with pytest.raises(ZeroDivisionError):
        ask_often(scope, 3, ZeroDivisionError())
    assert spent(scope) == pytest.approx(5.0)


def test_a_budget_stops_the_campaign_and_a_higher_one_goes_on(
    server: Endpoint, tmp_path: Path
) -> None:
    with pytest.raises(BudgetExceeded, match="budget_usd"):
        ask_often(make_scope(tmp_path, budget_usd=3.0), 10)
    assert len(server.requests) == 3
    with pytest.raises(BudgetExceeded):  # run again: nothing more is asked
        ask_often(make_scope(tmp_path, budget_usd=3.0), 10)
    assert len(server.requests) == 3
    with pytest.raises(BudgetExceeded):
        ask_often(make_scope(tmp_path, budget_usd=5.0), 10)
    assert len(server.requests) == 5


def test_spending_is_noted_while_a_stage_works(
    server: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.teacher, "NOTED_EVERY_S", 0.01)
    scope = make_scope(tmp_path)

    async def run() -> float:
        async with open_teacher(scope) as teacher:
            await teacher.ask(MESSAGES, reply=Greeting, stage="judge")
            for _ in range(200):
                await asyncio.sleep(0.01)
                if spent(scope):
                    break
            return spent(scope)

    assert asyncio.run(run()) == pytest.approx(1.0)
    assert spent(scope) == pytest.approx(1.0)


def test_a_teacher_without_prices_leaves_no_account(server: Endpoint, tmp_path: Path) -> None:
    ask_often(make_scope(tmp_path, price_in=0.0), 2)
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            (412, 1200, "samples", 14.2, 354, 0.42),
            "412/1200 samples · 86% accepted · 14.2/s · 55 s left · $0.42",
        ),
        ((0, 10, "steps", 0.0), "0/10 steps"),
        ((10, 10, "steps", 2.0, None, None, "done"), "10/10 steps · 2.0/s · done"),
        ((3, 999, "parts", 0.05), "3/999 parts · 3.0/min · 5 h 32 min left"),
    ],
)
def test_progress_is_one_short_line(values: tuple[Any, ...], text: str) -> None:
    assert describe(*values) == text


def test_times_and_bars_are_short() -> None:
    assert [render_seconds(s) for s in (0.4, 58, 720, 11100)] == [
        "0 s",
        "58 s",
        "12 min",
        "3 h 05 min",
    ]
    assert render_bar(35.0) == "[#######.............] 35%"


def test_the_log_line_has_the_bar(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tasks.progress.LOGGED_EVERY_S", 0.0)
    with caplog.at_level("INFO", "looptool"), Progress("seed", 1, "samples") as progress:
        progress(50, 100, accepted=40, cost_usd=1.5)
    assert "seed [##########..........] 50% 50/100 samples · 80% accepted" in caplog.text
    assert "$1.50" in caplog.text
