"""The round report beside the iteration's record, and the link to it from the run."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect.artifacts import create_link_artifact

from looptool.campaign import Campaign
from looptool.errors import LoopToolError, shorten
from tasks.progress import in_run, logger
from tasks.scope import Scope

NAME = "report.html"
TIMEOUT_S = 900.0


def publish_report(scope: Scope) -> str:
    """Write the campaign's report to the store and link it; its address, or empty if that failed.

    A page that cannot be made is logged and never ends a run. It is made in a process of its own, so
    that neither its time nor its memory is the run's.
    """
    uri = ""
    try:
        page = _make(scope)
        store = scope.store()
        path = store.path(Campaign(store, scope.campaign).folder(scope.iteration), NAME)
        store.put(path, page)
        uri = str(store.fs.unstrip_protocol(path))
        logger().info("report: %s, %.1f MB", uri, len(page) / 1e6)
        if in_run():
            _link(scope, uri)
    except Exception as exc:  # hours of work do not end because a page does not come out
        logger().warning("report not %s: %s", "linked" if uri else "written", shorten(exc, 500))
    return uri


def _link(scope: Scope, uri: str) -> None:
    create_link_artifact(
        uri,
        link_text=f"Report of {scope.campaign} after iteration {scope.iteration}",
        key=f"report-{scope.iteration}",
        description=f"`{uri}`. Made again by `looptool report {scope.campaign}`.",
    )


def _make(scope: Scope) -> bytes:
    """The page; raises LoopToolError with what the command said if it fails."""
    with TemporaryDirectory(prefix="looptool-report-") as folder:
        target = Path(folder) / NAME
        command = [sys.executable, "-m", "looptool.cli", "report", scope.campaign]
        command += [f"--root={scope.config.store.root}", "-o", str(target)]
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise LoopToolError(shorten(done.stderr[-1000:] or f"exit {done.returncode}", 400))
        return target.read_bytes()
