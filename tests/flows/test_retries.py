"""What is tried again, when, and what is not: on a real server, with a stage that fails as it is told."""

import uuid
from typing import Any, cast

import pytest
from prefect import flow
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State
from prefect.states import Failed

from looptool.artifacts import ArtifactRef
from looptool.config import LoopConfig
from looptool.errors import ConfigError, LoopToolError, StoreError
from tasks.evaluate import evaluate
from tasks.expand import expand
from tasks.judge import judge
from tasks.merge import first_dataset, merge
from tasks.policies import cache_key, is_retryable, stage_task
from tasks.pool import fill_pool, plan_round
from tasks.probe import probe
from tasks.scope import Scope
from tasks.seed import collect, seed
from tasks.train import train
from tasks.validate import validate

STAGE_TASKS = (
    collect, plan_round, seed, validate, fill_pool, first_dataset, train, evaluate, probe, judge, expand, merge,
)  # fmt: skip
REF = ArtifactRef(stage="tools", uri="u", key="k", digest="d", rows={"tools": 1})


def run_failing(error: LoopToolError, times: int) -> tuple[int, ArtifactRef | LoopToolError]:
    """A stage that fails so often: how often it was called, and what came of it."""
    called = 0

    @stage_task("tools")
    def tools(scope: Scope) -> ArtifactRef:
        nonlocal called
        called += 1
        if called <= times:
            raise error
        return REF

    @flow(persist_result=False)
    def one() -> ArtifactRef:
        quick = tools.with_options(retry_delay_seconds=[0.1, 0.1])
        return quick(scope=Scope(campaign=uuid.uuid4().hex, iteration=0, config=LoopConfig()))

    try:
        outcome: ArtifactRef | LoopToolError = one()
    except LoopToolError as exc:
        outcome = exc
    return called, outcome


@pytest.mark.usefixtures("server")
def test_what_may_pass_by_itself_is_tried_three_times_and_a_defect_once() -> None:
    assert run_failing(StoreError("busy"), times=2) == (3, REF)
    error = ConfigError("no")
    assert run_failing(error, times=1) == (1, error)


def list_errors(kind: type[LoopToolError]) -> list[type[LoopToolError]]:
    return [kind, *(error for inner in kind.__subclasses__() for error in list_errors(inner))]


def test_an_error_decides_itself_whether_it_is_tried_again() -> None:
    kinds = list_errors(LoopToolError)
    assert len(kinds) >= 14
    assert {kind.retryable for kind in kinds} == {True, False}
    for error in [*(kind("x") for kind in kinds), ValueError("x")]:
        state: State[Any] = Failed(data=error)
        expected = getattr(error, "retryable", False)
        assert is_retryable(train, cast("Any", None), state) is expected, error


def test_every_stage_waits_longer_each_time_and_never_in_step_with_another() -> None:
    for task in STAGE_TASKS:
        waits = task.retry_delay_seconds
        assert isinstance(waits, list), task.name
        assert len(waits) == task.retries >= 1, task.name
        assert waits == sorted(waits), task.name
        assert task.retry_jitter_factor, task.name
        assert task.retry_condition_fn is is_retryable, task.name
        assert isinstance(task.cache_policy, CacheKeyFnPolicy), task.name
        assert task.cache_policy.cache_key_fn is cache_key, task.name
        assert task.result_serializer == "json", f"{task.name}: a shared store must hold no pickles"
