"""What an iteration shows of itself: a summary with the curve of accuracy, and the link to the report.

Both are artifacts of the Prefect run, under keys that hold the campaign's name: the UI keeps their
earlier versions, one for each iteration. What cannot be made is logged and never ends a run.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from looptool.campaign import Campaign
from looptool.errors import LoopToolError, shorten
from looptool.report import render_brief
from tasks.progress import in_run, logger
from tasks.scope import Scope

NAME = "report.html"
IMAGE = "accuracy.png"
TIMEOUT_S = 900.0


def publish_report(scope: Scope) -> str:
    """Write the campaign's report to the store and show it; its address, or empty if that failed.

    The page is made in a process of its own, so that neither its time nor its memory is the run's.
    """
    made: list[tuple[str, bytes]] = []
    _attempt("report", lambda: made.append(_write(scope)))
    uri, curve = made[0] if made else ("", b"")
    if in_run():
        _attempt("summary", lambda: _show_summary(scope, curve))
    if uri and in_run():
        _attempt("link to the report", lambda: _link(scope, uri))
    return uri


def _attempt(what: str, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as exc:  # hours of work do not end because a page does not come out
        logger().warning("%s not shown: %s", what, shorten(exc, 500))


def _show_summary(scope: Scope, curve: bytes) -> None:
    create_markdown_artifact(
        render_brief(scope.store(), scope.campaign, scope.iteration, curve),
        key=key_of(scope, "summary"),
        description=f"What iteration {scope.iteration} brought",
    )


def _write(scope: Scope) -> tuple[str, bytes]:
    """Address of the page and the curve."""
    page, image = _make(scope)
    store = scope.store()
    folder = Campaign(store, scope.campaign).folder(scope.iteration)
    for name, data in ((NAME, page), (IMAGE, image)):
        store.put(store.path(folder, name), data)
    uri = str(store.fs.unstrip_protocol(store.path(folder, NAME)))
    logger().info("report: %s, %.1f MB", uri, len(page) / 1e6)
    return uri, image


def _link(scope: Scope, uri: str) -> None:
    create_link_artifact(
        uri,
        link_text=f"Report of {scope.campaign} after iteration {scope.iteration}",
        key=key_of(scope, "report"),
        description=f"`{uri}`. Made again by `looptool report {scope.campaign}`.",
    )


def key_of(scope: Scope, name: str) -> str:
    """Key of an artifact of the campaign: small letters, digits and dashes, as Prefect wants it."""
    return f"{re.sub('[^a-z0-9]+', '-', scope.campaign.lower()).strip('-')}-{name}".strip("-")


def _make(scope: Scope) -> tuple[bytes, bytes]:
    """Page and curve; raises LoopToolError with what the command said if it fails."""
    with TemporaryDirectory(prefix="looptool-report-") as folder:
        page, image = Path(folder) / NAME, Path(folder) / IMAGE
        command = [sys.executable, "-m", "looptool.cli", "report", scope.campaign]
        command += [f"--root={scope.config.store.root}", "-o", str(page), "--image", str(image)]
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise LoopToolError(shorten(done.stderr[-1000:] or f"exit {done.returncode}", 400))
        return page.read_bytes(), image.read_bytes()
