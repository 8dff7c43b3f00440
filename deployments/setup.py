"""Everything that a Prefect server needs for LoopTool; run again, it changes only what differs.

    PREFECT_API_URL=http://prefect:4200/api looptool setup       or: python -m deployments.setup

Creates the work pool, the webhook for alerts (if LOOPTOOL_ALERT_URL is set) and the automations, and applies
prefect.yaml. `make up` and `make demo` do the same for their own server. Prefect's settings (address, API key)
are those of the caller's environment or profile.
"""

import argparse
import os
import subprocess
import sys
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists

from deployments.stack import HOME, POOL

AUTOMATIONS = HOME / "deployments" / "automations.yaml"
WEBHOOK = "looptool-alerts"
"""Name of the block that holds the address for alerts."""
ALERT_ENV = "LOOPTOOL_ALERT_URL"


def set_up(client: SyncPrefectClient, alert_url: str = "") -> list[str]:
    """Create what is missing and update what differs; a line for each thing done."""
    done = [f"work pool {POOL}"] if create_pool(client) else []
    webhook = save_webhook(alert_url) if alert_url else None
    for automation in load_automations(webhook):
        done += [f"automation {automation.name}"] if apply_automation(client, automation) else []
    return done


def create_pool(client: SyncPrefectClient) -> bool:
    """Create the process work pool; False if there is one, of whatever kind."""
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        return False
    return True


def save_webhook(url: str) -> UUID:
    """The block that posts `{"text": …}` to the address, as chat systems take it."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from pydantic import SecretStr

    block = CustomWebhookNotificationBlock(
        name=WEBHOOK,
        url="{{url}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        secrets={"url": SecretStr(url)},
    )
    return UUID(str(block.save(WEBHOOK, overwrite=True)))


def load_automations(webhook: UUID | None) -> list[AutomationCore]:
    """The automations of the file; `alert` becomes a notification, or nothing without a webhook."""
    documents: list[dict[str, Any]] = yaml.safe_load(AUTOMATIONS.read_text(encoding="utf-8"))
    found = []
    for document in documents:
        alert = document.pop("alert", None)
        if alert is not None:
            told = {"type": "send-notification", "block_document_id": webhook} | alert
            document["actions"] = [told if webhook else {"type": "do-nothing"}]
        found.append(AutomationCore.model_validate(document))
    return found


def apply_automation(client: SyncPrefectClient, wanted: AutomationCore) -> bool:
    """Create or update one by its name; False if it is as wanted. Whether it is enabled stays."""
    known = client.read_automations_by_name(wanted.name)
    if not known:
        client.create_automation(wanted)
        return True
    fields = set(AutomationCore.model_fields) - {"enabled"}
    if known[0].model_dump(include=fields) == wanted.model_dump(include=fields):
        return False
    client.update_automation(known[0].id, wanted.model_copy(update={"enabled": known[0].enabled}))
    return True


def deploy() -> None:
    """Apply prefect.yaml; the command's own output says what was wrong."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run(command, cwd=HOME, check=True)


def main() -> int:
    """Command line of the module."""
    argparse.ArgumentParser(prog="python -m deployments.setup", description=__doc__).parse_args()
    with get_client(sync_client=True) as client:
        for line in set_up(client, os.environ.get(ALERT_ENV, "")):
            print(f"set up: {line}")
    try:
        deploy()
    except subprocess.CalledProcessError as exc:
        return exc.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
