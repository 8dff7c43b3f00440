"""Shards flow on while the probe works: the task `ahead` beside the task `probe`.

Policy and teacher are different machines, so the teacher judges and expands what the policy has answered
while the policy answers the rest (`tasks.follower`). It never decides anything: with the task left out,
killed or failed the stages make the same artifacts, only later.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prefect import task
from prefect.cache_policies import CacheKeyFnPolicy

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.errors import EngineError, shorten
from looptool.records import JsonObject
from tasks.follower import Follower, Halt
from tasks.policies import cache_key
from tasks.progress import in_run, logger
from tasks.scope import Scope, Stage


@task(
    name="ahead",
    task_run_name="ahead-{scope.label}",
    cache_policy=CacheKeyFnPolicy(cache_key_fn=cache_key),
    persist_result=True,
)
def work_ahead(
    scope: Scope,
    policy: CheckpointRef,
    history: Sequence[ArtifactRef],
    trained: ArtifactRef,
    halt: Halt,
) -> JsonObject:
    """Judge and expand ahead of the stages until the probe of the same inputs has ended.

    Raises EngineError if the probe ended without an artifact: the next run then works ahead again.
    """
    probe = Stage("probe", scope, {"policy": policy, "history": history, "trained": trained})
    if probe.committed():
        return {"judged": 0, "expanded": 0}
    counts = Follower(scope, history[-1], probe, halt).run()
    logger().info("%d mismatches judged, %d error seeds expanded ahead", *counts.values())
    if not probe.committed():
        raise EngineError("the probe did not end; what was done ahead stays for the next run")
    return counts


@contextlib.contextmanager
def working_ahead(
    scope: Scope, policy: CheckpointRef, history: Sequence[ArtifactRef], trained: ArtifactRef
) -> Iterator[None]:
    """Work ahead while the body probes; whatever fails ahead is left to the stages and said in the log."""
    if not scope.config.streams:
        yield
        return
    halt = Halt()
    arguments: dict[str, Any] = {
        "scope": scope, "policy": policy, "history": history, "trained": trained, "halt": halt,
    }  # fmt: skip
    wait = _start(arguments)
    try:
        try:
            yield
        finally:
            halt.finish()
        outcome = wait()
    except BaseException as exc:
        if not isinstance(exc, Exception):  # a cancellation: nothing may outlast it
            halt.stop()
        wait()
        raise
    if isinstance(outcome, BaseException):
        logger().warning(
            "work ahead ended early, the stages do the rest: %s: %s",
            type(outcome).__name__,
            shorten(outcome, 300),
        )


def _start(arguments: dict[str, Any]) -> Callable[[], object]:
    """Begin in a thread; what is returned waits for the end and gives the result or the failure."""
    if in_run():
        future = work_ahead.submit(**arguments)
        return lambda: future.result(raise_on_failure=False)
    pool = ThreadPoolExecutor(1)
    inside = pool.submit(work_ahead.fn, **arguments)
    pool.shutdown(wait=False)
    return lambda: inside.exception() or inside.result()
