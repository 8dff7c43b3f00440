"""The teacher of a campaign: an endpoint, or the scripted one in process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

from looptool.campaign import Campaign
from looptool.chat import AsgiTransport, Teacher
from looptool.errors import BudgetExceeded
from looptool.simulator import create_app
from tasks.events import emit
from tasks.scope import Scope

NOTED_EVERY_S = 20.0
"""A killed process loses the account of at most so many seconds of spending."""


@contextlib.asynccontextmanager
async def open_teacher(scope: Scope) -> AsyncIterator[Teacher]:
    """The campaign's teacher, for `async with`.

    What it costs is noted on the store while it works, whatever becomes of the stage, and earlier
    spending counts against the budget.
    """
    config = scope.config.teacher
    campaign = Campaign(scope.store(), scope.campaign)
    spent = campaign.spent_usd() if config.budget_usd is not None else 0.0
    transport = None
    if config.base_url == "simulator":
        transport = AsgiTransport(create_app(config.simulator))
    async with Teacher(config, transport, spent_usd=spent) as teacher, _tell_of_budget(scope):
        if not config.price_in and not config.price_out:
            yield teacher
            return
        session = uuid4().hex
        noting = asyncio.create_task(_note_spending(campaign, session, teacher))
        try:
            yield teacher
        finally:
            noting.cancel()
            if teacher.total().requests:
                campaign.record_spending(session, teacher.usage_report())


@contextlib.asynccontextmanager
async def _tell_of_budget(scope: Scope) -> AsyncIterator[None]:
    try:
        yield
    except BudgetExceeded as exc:
        emit("budget.exceeded", scope, {"iteration": scope.iteration, "reason": str(exc)})
        raise


async def _note_spending(campaign: Campaign, session: str, teacher: Teacher) -> None:
    while True:
        await asyncio.sleep(NOTED_EVERY_S)
        report = teacher.usage_report()
        await asyncio.to_thread(campaign.record_spending, session, report)
