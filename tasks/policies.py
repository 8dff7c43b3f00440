"""How tasks are cached and retried.

Prefect's cache key is the artifact's own key, so a re-run shows Cached in the UI exactly when the
artifact would be found anyway. Only errors that say `retryable` are tried again.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

from prefect import Task, task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext

from looptool.artifacts import ArtifactRef, CheckpointRef, artifact_key
from looptool.errors import LoopToolError
from looptool.records import Retracted
from tasks.scope import Scope, stage_key

P = ParamSpec("P")


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Store, campaign and stage key of the artifact that the task would write."""
    scope: Scope = parameters["scope"]
    inputs = {name: value for name, value in parameters.items() if _is_input(value)}
    key = stage_key(context.task.name, scope, inputs)
    return artifact_key("prefect", scope.config.store.root, scope.campaign, key)


def _is_input(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, ArtifactRef) for item in value)
    return isinstance(value, ArtifactRef | CheckpointRef | Retracted)


def is_retryable(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether the failure is one that may pass by itself."""
    try:
        state.result()
    except LoopToolError as exc:
        return exc.retryable
    except Exception:  # any other failure is a defect: show it at once
        return False
    return False


def stage_task(
    name: str, *, retries: int = 2
) -> Callable[[Callable[P, ArtifactRef]], Task[P, ArtifactRef]]:
    """A Prefect task for one stage: cached by its artifact, retried when that can help."""

    def wrap(function: Callable[P, ArtifactRef]) -> Task[P, ArtifactRef]:
        made: Task[P, ArtifactRef] = task(
            name=name,
            task_run_name=name + "-{scope.label}",
            cache_policy=CacheKeyFnPolicy(cache_key_fn=cache_key),
            persist_result=True,
            result_serializer="json",  # not pickle: whoever can write to the store could run code
            retries=retries,
            retry_delay_seconds=[10.0, 60.0][:retries],
            retry_jitter_factor=0.3,
            retry_condition_fn=is_retryable,
        )(function)
        return made

    return wrap


def run_stage(stage: Task[P, ArtifactRef], *args: P.args, **kwargs: P.kwargs) -> ArtifactRef:
    """Run a stage's task; a cached reference whose artifact was deleted is made again."""
    ref = stage(*args, **kwargs)
    if _is_gone(ref, kwargs.get("scope") or args[0]):
        fresh = functools.partial(stage.with_options(refresh_cache=True), *args, **kwargs)
        return fresh()
    return ref


@contextlib.contextmanager
def running_beside(
    stage: Task[P, ArtifactRef], *args: P.args, **kwargs: P.kwargs
) -> Iterator[Callable[[], ArtifactRef]]:
    """Run a stage's task while the body goes on, where the profile allows two processes of the policy.

    What is given waits for the reference, or raises what the stage failed with; the body has to ask for
    it. Where only one process is allowed the stage has ended before the body begins.
    """
    scope = kwargs.get("scope") or args[0]
    if not isinstance(scope, Scope) or scope.config.policy.at_once < 2:
        ref = run_stage(stage, *args, **kwargs)
        yield lambda: ref
        return
    future = stage.submit(*args, **kwargs)

    def wait() -> ArtifactRef:
        ref = future.result()
        return run_stage(stage, *args, **kwargs) if _is_gone(ref, scope) else ref

    try:
        yield wait
    except Exception:
        future.wait()  # it ends and is kept, whatever the body failed with
        raise


def _is_gone(ref: ArtifactRef, scope: object) -> bool:
    return isinstance(scope, Scope) and scope.store().read_manifest(ref.uri) is None
