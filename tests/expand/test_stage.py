"""The stage as the flow runs it, without a Prefect server: rows, account, kills, the later check."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.expansion import judge_sample, make_samples
from benchmarks.seed_noise import NoisyTeacher, serve_teacher
from looptool.artifacts import ArtifactRef, ArtifactWriter
from looptool.campaign import Campaign
from looptool.config import LoopConfig, parse_config
from looptool.expand import Family
from looptool.records import Judgement, Origin, Rejection, Sample, Split
from tasks.expand import expand
from tasks.parts import AT_ONCE
from tasks.scope import Scope, stage_key
from tasks.stages import STAGES
from tasks.validate import validate

pytestmark = pytest.mark.timeout(580)

Judged = tuple[list[Sample], list[Judgement]]


def make_config(root: Path, **teacher: Any) -> LoopConfig:
    return parse_config(
        {
            "store": {"root": str(root)},
            "teacher": {"attempts": 10, **teacher},
            "seed": {"tools_min": 3, "tools_max": 5, "turns_max": 2},
            "expand": {"per_seed": 2, "shard_size": 4},
        }
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Samples of the scripted teacher with corrupted answers, and the right verdicts."""
    samples = asyncio.run(make_samples(make_config(tmp_path_factory.mktemp("none")), 24))
    found = [judgement for sample in samples if (judgement := judge_sample(sample))]
    assert len(found) > 16
    return samples, found[:16]


def store_inputs(config: LoopConfig, judged: Judged) -> tuple[Scope, ArtifactRef, ArtifactRef]:
    scope = Scope(campaign="grown", iteration=1, config=config)
    folder = Campaign(scope.store(), scope.campaign).folder(1)
    refs = []
    for stage, table, rows in zip(
        ("dataset", "judge"), ("samples", "judgements"), judged, strict=True
    ):
        writer = ArtifactWriter(scope.store(), folder, stage, "given")
        writer.write(table, table, rows)
        refs.append(writer.commit({}, {}, {}))
    return scope, refs[0], refs[1]


def grow(config: LoopConfig, judged: Judged) -> tuple[Scope, ArtifactRef]:
    scope, dataset, verdicts = store_inputs(config, judged)
    return scope, expand.fn(scope=scope, dataset=dataset, verdicts=verdicts)


def read(scope: Scope, ref: ArtifactRef) -> tuple[list[Sample], list[Rejection]]:
    store = scope.store()
    return store.read(ref, "samples", Sample), store.read(ref, "rejections", Rejection)


@pytest.fixture(scope="module")
def grown(judged: Judged, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scope, ArtifactRef]:
    return grow(make_config(tmp_path_factory.mktemp("grown")), judged)


def test_every_new_sample_has_its_own_context_a_difficulty_and_tools_of_training(
    grown: tuple[Scope, ArtifactRef], judged: Judged
) -> None:
    samples, _ = read(*grown)
    assert len(samples) >= 28
    known = {tool.tool_id for sample in judged[0] for tool in sample.tools}
    families = {sample.sample_id: Family(sample) for sample in judged[0]}
    for sample in samples:
        assert (sample.split, sample.origin) == (Split.TRAIN, Origin.EXPANSION)
        assert sample.difficulty
        assert {tool.tool_id for tool in sample.tools} <= known
        assert families[sample.parent_id].admit(sample) is None
    changed = [s for s in samples if {t.name for t in s.tools} != _parents_tools(s, judged[0])]
    assert len(changed) > len(samples) / 4


def _parents_tools(sample: Sample, parents: list[Sample]) -> set[str]:
    (parent,) = (one for one in parents if one.sample_id == sample.parent_id)
    return {tool.name for tool in parent.tools}


def test_its_manifest_counts_what_the_rows_say(
    grown: tuple[Scope, ArtifactRef], judged: Judged
) -> None:
    scope, ref = grown
    samples, rejections = read(scope, ref)
    stats = scope.store().manifest_of(ref).stats
    report = stats["report"]
    assert (report["seeds"], report["wanted"]) == (16, 32)
    assert report["accepted"] == len(samples)
    assert report["attempted"] == len(samples) + len(rejections)
    assert report["rejected"] == dict(Counter(row.rule for row in rejections))
    assert sum(row["attempted"] for row in report["by_error_type"].values()) == report["attempted"]
    assert set(report["by_error_type"]) == {judgement.error_type for judgement in judged[1]}
    assert stats["teacher"]["expand"]["answers"] == report["attempted"]
    assert stats["teacher"]["validate"]["answers"] <= report["attempted"]


def test_the_later_validation_asks_for_no_review_again(grown: tuple[Scope, ArtifactRef]) -> None:
    scope, ref = grown
    checked = validate.fn(scope=scope, candidates=ref)
    stats = scope.store().manifest_of(checked).stats
    assert stats["report"]["conversations_reviewed"] == 0
    assert all(not used["requests"] for used in stats["teacher"].values())
    assert set(stats["rejected"]) <= {"duplicate"}
    assert checked.rows["samples"] + checked.rows["rejections"] == ref.rows["samples"]


def test_neither_parts_nor_concurrency_change_the_rows(
    grown: tuple[Scope, ArtifactRef], judged: Judged, tmp_path: Path
) -> None:
    config = make_config(tmp_path, max_concurrency=3)
    config = config.model_copy(
        update={"expand": config.expand.model_copy(update={"shard_size": 64})}
    )
    assert read(*grow(config, judged)) == read(*grown)


def test_what_the_validation_checks_is_part_of_the_expansions_key(tmp_path: Path) -> None:
    def key(**validate: Any) -> str:
        config = parse_config({"store": {"root": str(tmp_path)}, "validate": validate})
        return stage_key("expand", Scope(campaign="c", iteration=1, config=config), {})

    assert key(shard_size=8) == key()
    assert len({key(), key(review=False), key(grounding=False)}) == 3
    assert {"looptool.validate", "looptool.seed.people"} <= set(STAGES["expand"].others)


@pytest.fixture
def teacher() -> Iterator[NoisyTeacher]:
    with serve_teacher() as served:
        yield served


def connect(root: Path, teacher: NoisyTeacher) -> LoopConfig:
    return make_config(root, base_url=f"http://127.0.0.1:{teacher.port}/v1")


RUN = (
    "import sys; from tasks.expand import expand; from tests.expand.test_stage import read_job;"
    "expand.fn(**read_job(sys.stdin.read()))"
)


def read_job(text: str) -> dict[str, Any]:
    job = json.loads(text)
    refs = {name: ArtifactRef.model_validate(job[name]) for name in ("dataset", "verdicts")}
    return {"scope": Scope.model_validate(job["scope"]), **refs}


def run_until(limit: int, job: dict[str, Any], teacher: NoisyTeacher) -> None:
    """The stage in a process of its own, killed at so many requests."""
    process = subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, text=True)

    def kill(count: int) -> None:
        if count == limit:
            os.kill(process.pid, signal.SIGKILL)

    teacher.on_request = kill
    process.communicate(json.dumps(job))
    assert process.returncode == -signal.SIGKILL
    teacher.on_request = lambda count: None


def test_a_kill_repeats_at_most_the_parts_under_way_and_changes_no_row(
    judged: Judged, teacher: NoisyTeacher, tmp_path: Path
) -> None:
    calm, ref = grow(connect(tmp_path / "calm", teacher), judged)
    asked = teacher.requests
    notes = Path(calm.store().strip(ref.uri)).glob("usage-*.json")
    in_order = sorted(notes, key=lambda path: path.stat().st_mtime_ns)
    parts = [
        sum(used["requests"] for used in json.loads(note.read_text()).values()) for note in in_order
    ]
    assert len(parts) == 8
    dearest = max(sum(parts[i : i + AT_ONCE]) for i in range(len(parts) - 1))

    scope, dataset, verdicts = store_inputs(connect(tmp_path / "rough", teacher), judged)
    job = {
        "scope": scope.model_dump(mode="json", by_alias=True),
        "dataset": dataset.model_dump(mode="json"),
        "verdicts": verdicts.model_dump(mode="json"),
    }
    teacher.begin_anew()
    run_until(2 * asked // 3, job, teacher)
    before = Counter(teacher.bodies)
    teacher.begin_anew()
    after = expand.fn(scope=scope, dataset=dataset, verdicts=verdicts)
    assert after.digest == ref.digest
    assert 0 < (teacher.bodies & before).total() <= dearest
    stats = scope.store().manifest_of(after).stats
    assert stats["report"] == calm.store().manifest_of(ref).stats["report"]
    assert sum(used["answers"] for used in stats["teacher"].values()) <= asked
