"""Work done ahead changes no artifact and costs no call twice, whatever becomes of it."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from benchmarks.expansion import make_samples
from benchmarks.seed_noise import NoisyTeacher, serve_teacher
from benchmarks.streaming import choose_answer, store_inputs
from deployments import stack
from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.calls import render_calls
from looptool.config import NoiseConfig, parse_config
from looptool.engines import Generation
from looptool.engines.grading import grade
from looptool.errors import BudgetExceeded
from looptool.fsck import survey
from looptool.records import JsonObject, Judgement, ProbeResult, Sample
from looptool.retention import plan_removals
from tasks.expand import expand
from tasks.judge import judge
from tasks.policies import run_stage, stage_task
from tasks.scope import Scope, Stage
from tasks.streaming import working_ahead
from tasks.validate import validate
from tests.flows.conftest import Prefect

pytestmark = pytest.mark.timeout(580)

NOISE = NoiseConfig(wrong_verdict_rate=0.1, malformed_rate=0.05)
POLICY = CheckpointRef(uri="file:///none", digest="m1")
SHARD = 6


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    config = make_scope(tmp_path_factory.mktemp("none")).config
    noise = NoiseConfig(wrong_label_rate=0.4, wrong_review_rate=0.6)
    simulator = config.teacher.simulator.model_copy(update={"noise": noise})
    teacher = config.teacher.model_copy(update={"simulator": simulator})
    return asyncio.run(make_samples(config.model_copy(update={"teacher": teacher}), 36))[:30]


@pytest.fixture
def teacher() -> Iterator[NoisyTeacher]:
    with serve_teacher(noise=NOISE) as served:
        yield served


def make_scope(root: Path, teacher: NoisyTeacher | None = None, **more: Any) -> Scope:
    asked = more.pop("asked", {})
    if teacher is not None:
        asked = {"base_url": f"http://127.0.0.1:{teacher.port}/v1", "attempts": 6, **asked}
    config = parse_config(
        {
            "store": {"root": str(root)},
            "teacher": asked,
            "seed": {"tools_min": 3, "tools_max": 5, "turns_max": 2},
            "probe": {"shard_size": SHARD},
            "judge": {"planted_min": 12, "shard_size": 8, "precision_floor": 0.0},
            "expand": {"per_seed": 2, "shard_size": 4, **more.pop("expand", {})},
            **more,
        }
    )
    return Scope(campaign="flowing", iteration=1, config=config)


def answer(sample: Sample, salt: str) -> ProbeResult:
    """Right in two cases of three, also where the label is wrong."""
    said = choose_answer(sample, salt)
    text = render_calls(said["tool_calls"], said["content"])
    return grade(sample, Generation(text, (1,), (-0.1,), (len(text),)))


class Probe:
    """The rows of a probe, written shard by shard; between two of them the follower has its time."""

    def __init__(self, scope: Scope, dataset: ArtifactRef, trained: ArtifactRef) -> None:
        inputs = {"policy": POLICY, "history": [dataset], "trained": trained}
        self.stage = Stage("probe", scope, inputs)
        self.scope = scope
        self.samples = self.stage.store.read(dataset, "samples", Sample)

    def run(self, shards: int = 99, salt: str = "", wait: bool = True) -> None:
        for number, start in enumerate(range(0, len(self.samples), SHARD)):
            if number >= shards:
                return
            if self.stage.writer.load_part("probes", "probes", number, ProbeResult) is None:
                rows = [answer(s, salt) for s in self.samples[start : start + SHARD]]
                self.stage.writer.write("probes", "probes", rows, number)
            if wait and self.scope.config.streams and start + SHARD < len(self.samples):
                self.wait_for_pieces(number + 1)

    def wait_for_pieces(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(pieces(self.scope, "judge")) < count and time.monotonic() < deadline:
            time.sleep(0.02)

    def commit(self) -> ArtifactRef:
        return self.stage.commit({"mismatched": 0})


def pieces(scope: Scope, stage: str) -> list[Path]:
    root = Path(scope.config.store.root)
    return sorted(root.glob(f"campaigns/flowing/iterations/0001/{stage}-ahead/*/piece-*.json"))


def run_round(scope: Scope, samples: list[Sample]) -> dict[str, ArtifactRef]:
    dataset, trained = store_inputs(scope, samples)
    probe = Probe(scope, dataset, trained)
    with working_ahead(scope, POLICY, [dataset], trained):
        probe.run()
        probes = probe.commit()
    return settle(scope, dataset, probes)


def settle(scope: Scope, dataset: ArtifactRef, probes: ArtifactRef) -> dict[str, ArtifactRef]:
    verdicts = judge.fn(scope=scope, dataset=dataset, probes=probes)
    grown = expand.fn(scope=scope, dataset=dataset, verdicts=verdicts)
    checked = validate.fn(scope=scope, candidates=grown)
    return {"probe": probes, "judge": verdicts, "expand": grown, "validate": checked}


def digests(refs: dict[str, ArtifactRef]) -> dict[str, str]:
    return {name: ref.digest for name, ref in refs.items()}


def stats(scope: Scope, ref: ArtifactRef) -> JsonObject:
    return scope.store().manifest_of(ref).stats


def requests(scope: Scope, refs: dict[str, ArtifactRef]) -> int:
    used = [stats(scope, ref).get("teacher", {}) for ref in refs.values()]
    return sum(int(stage["requests"]) for usage in used for stage in usage.values())


class Calm:
    def __init__(self, found: dict[str, str], bodies: Counter[bytes]) -> None:
        self.digests, self.bodies = found, bodies


@pytest.fixture(scope="module")
def off(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """The round without streaming."""
    with serve_teacher(noise=NOISE) as served:
        scope = make_scope(tmp_path_factory.mktemp("off"), served, streaming=False)
        return Calm(digests(run_round(scope, samples)), Counter(served.bodies))


def test_streaming_makes_the_same_artifacts_and_asks_the_same_questions_once(
    off: Calm, samples: list[Sample], teacher: NoisyTeacher, tmp_path: Path
) -> None:
    scope = make_scope(tmp_path, teacher)
    refs = run_round(scope, samples)
    assert digests(refs) == off.digests
    assert teacher.bodies == off.bodies
    judged, grown = stats(scope, refs["judge"]), stats(scope, refs["expand"])
    assert judged["judged_ahead"] > judged["report"]["mismatches"] / 2
    assert grown["expanded_ahead"] > 0
    assert judged["by_verdict"]["LABEL_WRONG"] > 0
    assert requests(scope, refs) == teacher.requests


def test_work_ahead_is_neither_a_fault_nor_kept_for_ever(
    samples: list[Sample], teacher: NoisyTeacher, tmp_path: Path
) -> None:
    scope = make_scope(tmp_path, teacher)
    run_round(scope, samples[:12])
    assert pieces(scope, "judge")
    store = scope.store()
    assert survey(store).findings == []
    assert plan_removals(store, keep_checkpoints=1, age_s=3600).removals == ()
    later = plan_removals(store, keep_checkpoints=1, age_s=-1).removals
    gone = {removal.path.split("/")[4] for removal in later if removal.why == "uncommitted"}
    assert gone == {"judge-ahead", "expand-ahead"}


def test_a_limit_of_seeds_is_kept_and_no_unused_seed_is_paid_for(
    samples: list[Sample], teacher: NoisyTeacher, tmp_path: Path
) -> None:
    limit = {"max_seeds": 5}
    calm = make_scope(tmp_path / "off", teacher, streaming=False, expand=limit)
    expected = digests(run_round(calm, samples))
    asked = Counter(teacher.bodies)
    teacher.begin_anew()
    scope = make_scope(tmp_path / "on", teacher, expand=limit)
    refs = run_round(scope, samples)
    assert digests(refs) == expected
    assert stats(scope, refs["expand"])["error_seeds"] == 5
    assert stats(scope, refs["expand"])["expanded_ahead"] > 0
    assert teacher.bodies == asked


def lose_engine(scope: Scope, dataset: ArtifactRef, trained: ArtifactRef) -> None:
    with working_ahead(scope, POLICY, [dataset], trained):
        Probe(scope, dataset, trained).run(shards=2, salt="other")
        raise RuntimeError("the engine is lost")


def test_answers_of_a_probe_that_is_repeated_are_judged_and_those_before_are_not_used(
    off: Calm, samples: list[Sample], teacher: NoisyTeacher, tmp_path: Path
) -> None:
    scope = make_scope(tmp_path, teacher)
    dataset, trained = store_inputs(scope, samples)
    with pytest.raises(RuntimeError, match="lost"):
        lose_engine(scope, dataset, trained)
    before = len(pieces(scope, "judge"))
    assert before >= 1
    for part in Path(scope.config.store.root).glob("**/probe/**/*.*"):
        part.unlink()
    teacher.begin_anew()
    probe = Probe(scope, dataset, trained)
    with working_ahead(scope, POLICY, [dataset], trained):
        probe.run(wait=False)
        probes = probe.commit()
    assert digests(settle(scope, dataset, probes)) == off.digests


def test_an_endpoint_that_is_down_ahead_is_told_of_and_the_stages_do_the_rest(
    off: Calm,
    samples: list[Sample],
    teacher: NoisyTeacher,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scope = make_scope(tmp_path, teacher)
    nothing = {"base_url": f"http://127.0.0.1:{teacher.port}/nothing"}
    down = make_scope(tmp_path, teacher, asked=nothing)
    dataset, trained = store_inputs(scope, samples)
    probe = Probe(scope, dataset, trained)
    with (
        caplog.at_level(logging.WARNING, "looptool"),
        working_ahead(down, POLICY, [dataset], trained),
    ):
        probe.run(wait=False)
        time.sleep(2)
        probes = probe.commit()
    assert "a piece is left to its stage" in caplog.text
    assert "work ahead ended early, the stages do the rest: TeacherRefused" in caplog.text
    assert digests(settle(scope, dataset, probes)) == off.digests


def test_a_budget_that_ends_ahead_leaves_the_probe_alone_and_stops_the_judge(
    samples: list[Sample], teacher: NoisyTeacher, tmp_path: Path
) -> None:
    priced = {"price_out": 1000.0, "budget_usd": 0.5}
    scope = make_scope(tmp_path, teacher, asked=priced)
    dataset, trained = store_inputs(scope, samples)
    probe = Probe(scope, dataset, trained)
    with working_ahead(scope, POLICY, [dataset], trained):
        probe.run(wait=False)
        time.sleep(2)
        probes = probe.commit()
    asked = teacher.requests
    assert asked > 0
    with pytest.raises(BudgetExceeded, match="budget_usd"):
        judge.fn(scope=scope, dataset=dataset, probes=probes)
    assert teacher.requests == asked


def interrupt(scope: Scope, dataset: ArtifactRef, trained: ArtifactRef, slow: NoisyTeacher) -> None:
    with working_ahead(scope, POLICY, [dataset], trained):
        Probe(scope, dataset, trained).run(shards=1, wait=False)
        while not slow.requests:
            time.sleep(0.02)
        raise KeyboardInterrupt


def test_a_cancelled_run_ends_its_work_ahead_at_once(samples: list[Sample], tmp_path: Path) -> None:
    with serve_teacher(noise=NoiseConfig(latency_s=3.0)) as slow:
        scope = make_scope(tmp_path, slow)
        dataset, trained = store_inputs(scope, samples)
        with pytest.raises(KeyboardInterrupt):
            interrupt(scope, dataset, trained, slow)
        assert pieces(scope, "judge") == []


RUN = "import sys; from tests.flows.test_streaming import run_job; run_job(sys.stdin.read())"


def describe_job(scope: Scope, samples: list[Sample]) -> str:
    rows = [sample.model_dump(mode="json") for sample in samples]
    return json.dumps({"scope": scope.model_dump(mode="json", by_alias=True), "samples": rows})


def run_job(text: str) -> None:
    job = json.loads(text)
    rows = [Sample.model_validate(row) for row in job["samples"]]
    run_round(Scope.model_validate(job["scope"]), rows)


def test_killed_in_the_middle_the_next_run_ends_with_the_same_artifacts(
    off: Calm, samples: list[Sample], teacher: NoisyTeacher, tmp_path: Path
) -> None:
    scope = make_scope(tmp_path, teacher)
    process = subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, text=True)
    limit = off.bodies.total() // 2

    def kill(count: int) -> None:
        if count == limit:
            os.kill(process.pid, signal.SIGKILL)

    teacher.on_request = kill
    process.communicate(describe_job(scope, samples))
    assert process.returncode == -signal.SIGKILL
    teacher.on_request = lambda count: None
    kept = sum(len(json.loads(path.read_text())["keys"]) for path in pieces(scope, "judge"))
    assert kept > 0
    before = Counter(teacher.bodies)
    teacher.begin_anew()
    refs = run_round(scope, samples)
    assert digests(refs) == off.digests
    rows = scope.store().read(refs["judge"], "judgements", Judgement)
    assert len({row.sample_id for row in rows}) == len(rows)
    assert 0 < (teacher.bodies & before).total() < limit


@stage_task("probe")
def probe_by_hand(
    scope: Scope, policy: CheckpointRef, history: list[ArtifactRef], trained: ArtifactRef
) -> ArtifactRef:
    probe = Probe(scope, history[-1], trained)
    probe.run()
    return probe.commit()


@flow(name="flowing")
def flowing(scope: Scope, dataset: ArtifactRef, trained: ArtifactRef) -> dict[str, ArtifactRef]:
    inputs = {"policy": POLICY, "history": [dataset], "trained": trained}
    with working_ahead(scope, **inputs):
        probes = run_stage(probe_by_hand, scope=scope, **inputs)
    verdicts = run_stage(judge, scope=scope, dataset=dataset, probes=probes)
    grown = run_stage(expand, scope=scope, dataset=dataset, verdicts=verdicts)
    checked = run_stage(validate, scope=scope, candidates=grown)
    return {"probe": probes, "judge": verdicts, "expand": grown, "validate": checked}


FLOW = "import sys; from tests.flows.test_streaming import run_flows; run_flows(sys.stdin.read())"


def run_flows(text: str) -> None:
    """The same run twice; prints the run's id and the digests of each."""
    job = json.loads(text)
    scope = Scope.model_validate(job["scope"])
    dataset, trained = store_inputs(scope, [Sample.model_validate(row) for row in job["samples"]])
    for _ in range(2):
        state = flowing(scope, dataset, trained, return_state=True)
        found = digests(state.result())
        print(json.dumps([str(state.state_details.flow_run_id), found]), flush=True)


def test_in_prefect_work_ahead_is_a_task_beside_the_probe_and_cached_like_it(
    off: Calm, samples: list[Sample], teacher: NoisyTeacher, prefect: Prefect, tmp_path: Path
) -> None:
    scope = make_scope(tmp_path, teacher)
    done = subprocess.run(
        [sys.executable, "-c", FLOW], input=describe_job(scope, samples), text=True, check=True,
        env=stack.environment(prefect.port), stdout=subprocess.PIPE,
    )  # fmt: skip
    (first, made), (second, again) = map(json.loads, done.stdout.splitlines()[-2:])
    assert made == again == off.digests
    assert teacher.bodies == off.bodies
    names = {"ahead-1", "probe-1", "judge-1", "expand-1", "validate-1"}
    assert prefect.settled(first) == dict.fromkeys(names, "Completed")
    assert prefect.settled(second) == dict.fromkeys(names, "Cached")
