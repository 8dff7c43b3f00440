"""One command sets a server up, changes nothing the second time, and alerts reach a webhook."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.client.orchestration import get_client
from prefect.filesystems import LocalFileSystem
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import setup, stack
from deployments.api import api_url, post
from deployments.setup import AUTOMATIONS, HOME
from looptool.config import LoopConfig
from looptool.errors import ConfigError
from tasks.events import resource_of
from tasks.scope import Scope
from tests.flows.conftest import Prefect

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    """What arrives at a webhook; its port is that of the first entry."""
    arrived: list[dict[str, Any]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            arrived.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    arrived.append({"port": server.server_port})
    yield arrived
    server.shutdown()
    server.server_close()


def set_up(prefect: Prefect) -> list[str]:
    printed = stack.run_module(prefect.port, "deployments.setup").splitlines()
    return [line for line in printed if line.startswith("set up: ")]


def automations(prefect: Prefect) -> dict[str, dict[str, Any]]:
    rows = post(prefect.client, "/automations/filter", {"limit": 100})
    return {row["name"]: row for row in rows if row["name"].startswith("looptool")}


def test_setting_up_again_changes_nothing_and_mends_what_differs(prefect: Prefect) -> None:
    names = {document["name"] for document in yaml.safe_load(AUTOMATIONS.read_text())}
    before = automations(prefect)
    assert before.keys() == names
    assert set_up(prefect) == []
    first = min(before)
    changed = before[first] | {"description": "other", "enabled": False}
    kept = {k: changed[k] for k in ("name", "description", "enabled", "trigger", "actions")}
    prefect.client.put(f"/automations/{changed['id']}", json=kept).raise_for_status()
    assert set_up(prefect) == [f"set up: automation {first}"]
    after = automations(prefect)
    assert after[first]["description"] == before[first]["description"]
    assert after[first]["enabled"] is False  # what the user has switched off stays off
    assert after.keys() == names
    prefect.client.patch(f"/automations/{changed['id']}", json={"enabled": True}).raise_for_status()


def test_results_of_tasks_go_to_a_remote_store_and_back_and_no_key_goes_along(
    prefect: Prefect,
) -> None:
    def results() -> Any:
        return client.read_server_default_result_storage().default_result_storage_block_id

    with (
        temporary_settings({PREFECT_API_URL: api_url(prefect.port)}),
        get_client(sync_client=True) as client,
    ):
        assert setup.keep_results(client, str(prefect.lake)) is False
        try:
            assert setup.keep_results(client, "s3://lake/root") is True
            assert setup.keep_results(client, "s3://lake/root/") is False
            block = client.read_block_document(results())
            assert block.data["basepath"] == f"s3://lake/root/{setup.RESULTS}"
            assert setup.keep_results(client, "s3://lake/other") is True
            assert results() == block.id
            with pytest.raises(ConfigError, match="environment") as refused:
                setup.keep_results(client, "s3://name:planted-in-the-root@lake/root")
            assert "planted" not in str(refused.value)
        finally:
            assert setup.keep_results(client, str(prefect.lake)) is True
        assert results() is None
        other = LocalFileSystem(basepath=str(prefect.lake)).save("of-somebody-else")
        client.update_server_default_result_storage(other)
        assert setup.keep_results(client, "s3://lake/root") is False
        assert results() == other
        client.clear_server_default_result_storage()


def test_a_drop_of_accuracy_is_told_to_the_webhook(
    prefect: Prefect, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{told.pop()['port']}/hook?key=secret-of-the-hook"
    monkeypatch.setenv("LOOPTOOL_ALERT_URL", url)
    done = set_up(prefect)
    assert len(done) == 4  # every automation with an alert
    assert "secret-of-the-hook" not in json.dumps([done, list(automations(prefect).values())])
    scope = Scope(campaign="alerts", iteration=3, config=LoopConfig())
    emit_from_outside(prefect, scope, {"iteration": 3, "reason": "relevance fell by 7.5 points"})
    deadline = time.monotonic() + 60
    while not told and time.monotonic() < deadline:
        time.sleep(0.2)
    assert told, "no alert in a minute"
    assert "campaign alerts dropped" in told[0]["text"]
    assert "Iteration 3: relevance fell by 7.5 points" in told[0]["text"]
    monkeypatch.delenv("LOOPTOOL_ALERT_URL")
    assert len(set_up(prefect)) == 4


def emit_from_outside(prefect: Prefect, scope: Scope, payload: dict[str, Any]) -> None:
    """The event that `tasks.events.emit` sends within a run."""
    event = {
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "looptool.accuracy.dropped",
        "resource": resource_of(scope),
        "payload": payload,
        "id": "00000000-0000-4000-8000-000000000001",
    }
    prefect.client.post("/events", json=[event]).raise_for_status()


def test_the_file_of_deployments_has_no_key_that_prefect_ignores() -> None:
    document = yaml.safe_load((HOME / "prefect.yaml").read_text())
    known = PrefectYamlModel.model_validate(document).model_dump(exclude_unset=True)
    assert find_unknown(document, known) == []
    document["deployments"][0]["shedules"] = []
    known = PrefectYamlModel.model_validate(document).model_dump(exclude_unset=True)
    assert find_unknown(document, known) == ["/deployments/0/shedules"]


def find_unknown(given: Any, known: Any, where: str = "") -> list[str]:
    """Paths of the document that the model has dropped."""
    if isinstance(given, dict) and isinstance(known, dict):
        lost = [f"{where}/{key}" for key in given.keys() - known.keys()]
        return lost + [p for k in given.keys() & known.keys()
                       for p in find_unknown(given[k], known[k], f"{where}/{k}")]  # fmt: skip
    if isinstance(given, list) and isinstance(known, list):
        pairs = enumerate(zip(given, known, strict=True))
        return [p for i, (a, b) in pairs for p in find_unknown(a, b, f"{where}/{i}")]
    return []
