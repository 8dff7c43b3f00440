"""The teacher of a campaign: an endpoint, or the scripted one in process."""

from looptool.campaign import Campaign
from looptool.chat import AsgiTransport, Teacher
from looptool.simulator import create_app
from tasks.scope import Scope


def open_teacher(scope: Scope) -> Teacher:
    """The campaign's teacher, to be entered with `async with`; earlier spending is counted in."""
    config = scope.config.teacher
    spent = 0.0
    if config.budget_usd is not None:
        spent = Campaign(scope.store(), scope.campaign).spent_usd()
    if config.base_url != "simulator":
        return Teacher(config, spent_usd=spent)
    transport = AsgiTransport(create_app(config.simulator))
    return Teacher(config, transport, spent_usd=spent)
