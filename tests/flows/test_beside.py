"""A stage beside others: where two processes of the policy are allowed, and what comes of failures."""

import threading
import uuid
from pathlib import Path

import pytest
from prefect import flow

from looptool.artifacts import ArtifactRef
from looptool.config import LoopConfig
from looptool.errors import ConfigError, EngineError
from tasks.policies import running_beside, stage_task
from tasks.scope import Scope, Stage

pytestmark = pytest.mark.usefixtures("server")


def make_scope(folder: Path, processes: int, engine: str = "transformers") -> Scope:
    config = LoopConfig.model_validate(
        {"store": {"root": str(folder)}, "policy": {"processes": processes, "engine": engine}}
    )
    return Scope(campaign=uuid.uuid4().hex, iteration=0, config=config)


def commit(scope: Scope) -> ArtifactRef:
    return Stage("evaluate", scope, {}).commit({})


@pytest.mark.parametrize(
    ("processes", "engine", "beside"),
    [(2, "transformers", True), (1, "transformers", False), (2, "vllm", False)],
)
def test_a_stage_runs_beside_the_body_only_where_two_processes_are_allowed(
    tmp_path: Path, processes: int, engine: str, beside: bool
) -> None:
    scope = make_scope(tmp_path, processes, engine)
    body_began = threading.Event()
    seen: list[bool] = []

    @stage_task("evaluate")
    def stage(scope: Scope) -> ArtifactRef:
        seen.append(body_began.wait(10 if beside else 0.2))
        return commit(scope)

    @flow(persist_result=False)
    def both() -> ArtifactRef:
        with running_beside(stage, scope=scope) as result:
            body_began.set()
            return result()

    assert both().stage == "evaluate"
    assert seen == [beside]


def test_a_failure_beside_the_body_is_raised_where_its_result_is_asked_for(tmp_path: Path) -> None:
    done: list[str] = []

    @stage_task("evaluate")
    def stage(scope: Scope) -> ArtifactRef:
        raise ConfigError("no such model")

    @flow(persist_result=False)
    def both() -> None:
        with running_beside(stage, scope=make_scope(tmp_path, 2)) as result:
            done.append("body")
            result()

    with pytest.raises(ConfigError, match="no such model"):
        both()
    assert done == ["body"]


def test_when_the_body_fails_what_runs_beside_it_is_finished_and_kept(tmp_path: Path) -> None:
    scope = make_scope(tmp_path, 2)
    failing = threading.Event()

    @stage_task("evaluate")
    def stage(scope: Scope) -> ArtifactRef:
        assert failing.wait(10)
        return commit(scope)

    @flow(persist_result=False)
    def both() -> None:
        with running_beside(stage, scope=scope):
            failing.set()
            raise EngineError("the probe died")

    with pytest.raises(EngineError, match="the probe died"):
        both()
    assert Stage("evaluate", scope, {}).committed()


def test_an_artifact_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    scope = make_scope(tmp_path, 2)
    called = 0

    @stage_task("evaluate")
    def stage(scope: Scope) -> ArtifactRef:
        nonlocal called
        called += 1
        return commit(scope)

    @flow(persist_result=False)
    def both() -> ArtifactRef:
        with running_beside(stage, scope=scope) as result:
            return result()

    ref = both()
    assert both() == ref
    assert called == 1
    for manifest in tmp_path.rglob("manifest.json"):
        manifest.unlink()
    assert both() == ref
    assert called == 2
