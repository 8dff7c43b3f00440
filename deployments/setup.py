"""Everything that a Prefect server needs for LoopTool; run again, it changes only what differs.

    PREFECT_API_URL=http://prefect:4200/api looptool setup --profile mine.toml

Creates the work pool, the webhook for alerts (if LOOPTOOL_ALERT_URL is set) and the automations, and applies
prefect.yaml. If the profile's store is a remote one, the results of tasks go there too, for every worker of the
server: what one machine has made is Cached on all others, also after the server's database was lost. `make up`
and `make demo` do the same for their own server. Prefect's settings (address, API key) are those of the
caller's environment or profile.
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
from prefect.client.schemas.objects import BlockDocument
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.filesystems import RemoteFileSystem

from deployments.stack import HOME, POOL
from looptool.artifacts.filesystem import check_root
from looptool.errors import LoopToolError
from tasks.profiles import resolve_profile

AUTOMATIONS = HOME / "deployments" / "automations.yaml"
WEBHOOK = "looptool-alerts"
"""Name of the block that holds the address for alerts."""
RESULTS = "looptool-results"
"""Name of the block that says where the results of tasks are kept, and their folder below the store's root."""
ALERT_ENV = "LOOPTOOL_ALERT_URL"


def set_up(
    client: SyncPrefectClient, alert_url: str = "", store_root: str | None = None
) -> list[str]:
    """Create what is missing and update what differs; a line for each thing done.

    `store_root` None: where results are kept stays as it is.
    """
    done = [f"work pool {POOL}"] if create_pool(client) else []
    webhook = save_webhook(alert_url) if alert_url else None
    for automation in load_automations(webhook):
        done += [f"automation {automation.name}"] if apply_automation(client, automation) else []
    if store_root is not None and keep_results(client, store_root):
        done.append(f"results of tasks at {store_root if is_remote(store_root) else 'each worker'}")
    return done


def is_remote(root: str) -> bool:
    """Whether a store's root can be reached from other machines."""
    return "://" in root and not root.startswith(("file://", "local://"))


def keep_results(client: SyncPrefectClient, root: str) -> bool:
    """Keep Prefect's results on a remote store, or, if it is local, where Prefect keeps them by itself.

    False if it is so already, or if the server's results are kept by a block that is not LoopTool's. Keys are
    in no block: every worker has them in its environment, as for the store itself.
    """
    check_root(root)
    current = client.read_server_default_result_storage().default_result_storage_block_id
    own = _own_block(client)
    if current is not None and (own is None or current != own.id):
        return False
    if not is_remote(root):
        if current is not None:
            client.clear_server_default_result_storage()
        return current is not None
    # Another worker may have written since: listings are always asked for.
    wanted = {
        "basepath": f"{root.rstrip('/')}/{RESULTS}",
        "settings": {"use_listings_cache": False},
    }
    if own is not None and current == own.id and own.data == wanted:
        return False
    block = UUID(str(RemoteFileSystem(**wanted).save(RESULTS, overwrite=True)))
    client.update_server_default_result_storage(block)
    return True


def _own_block(client: SyncPrefectClient) -> BlockDocument | None:
    try:
        return client.read_block_document_by_name(RESULTS, "remote-file-system")
    except ObjectNotFound:
        return None


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
    parser = argparse.ArgumentParser(prog="python -m deployments.setup", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--profile", default=None, help="keep results on this profile's store")
    where.add_argument("--store", default=None, metavar="ROOT", help="or on the store of this root")
    options = parser.parse_args()
    try:
        root = resolve_profile(options.profile).store.root if options.profile else options.store
        with get_client(sync_client=True) as client:
            for line in set_up(client, os.environ.get(ALERT_ENV, ""), root):
                print(f"set up: {line}")
        deploy()
    except LoopToolError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as exc:
        return exc.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
