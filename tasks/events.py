"""Events by which Prefect's automations follow a campaign: `looptool.iteration.completed` and others."""

from prefect.events import emit_event

from looptool.records import JsonObject
from tasks.progress import in_run
from tasks.scope import Scope


def resource_of(scope: Scope) -> dict[str, str]:
    """The campaign, as events and automations name it."""
    return {
        "prefect.resource.id": f"looptool.campaign.{scope.campaign}",
        "prefect.resource.name": scope.campaign,
    }


def emit(name: str, scope: Scope, payload: JsonObject) -> None:
    """Emit `looptool.<name>` about the campaign; silent outside of a run.

    Sent in the background: an event that is lost stops nothing.
    """
    if in_run():
        emit_event(f"looptool.{name}", resource=resource_of(scope), payload=payload)
