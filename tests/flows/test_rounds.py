"""The rounds of the seed phase without a Prefect server: targets, parts, and what a killed run repeats."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.seed_noise import (
    NOISE,
    NoisyTeacher,
    count_shards,
    describe,
    make_config,
    run_seed_phase,
    run_with_kills,
    serve_teacher,
)
from looptool.artifacts import ArtifactRef
from looptool.config import LoopConfig, parse_config
from looptool.errors import DataError
from looptool.records import Coverage, Kind, Rejection, Sample, Split
from looptool.seed.coverage import render_coverage
from tasks.parts import combine, count_failures
from tasks.pool import fill_pool, plan_round, rounds_of
from tasks.scope import Scope
from tasks.seed import collect, seed

pytestmark = pytest.mark.timeout(580)

SEED = {
    "train_samples": 24, "heldout_samples": 8, "heldout_unseen_samples": 4, "tools_min": 3,
    "tools_max": 5, "turns_max": 3, "shard_size": 8,
}  # fmt: skip
CALM = {"wrong_label_rate": 0.1}


def make(root: Path, noise: dict[str, float] | None = None, **fields: Any) -> LoopConfig:
    teacher = {"attempts": 6, "simulator": {"noise": CALM if noise is None else noise}}
    return parse_config(
        {"store": {"root": str(root)}, "teacher": teacher, "seed": {**SEED, **fields}}
    )


def samples_of(config: LoopConfig, pool: ArtifactRef) -> list[Sample]:
    return Scope(campaign="x", iteration=0, config=config).store().read(pool, "samples", Sample)


def stats_of(config: LoopConfig, ref: ArtifactRef) -> dict[str, Any]:
    return Scope(campaign="x", iteration=0, config=config).store().manifest_of(ref).stats


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoopConfig, ArtifactRef]:
    config = make(tmp_path_factory.mktemp("finished"))
    return config, run_seed_phase(config)


def test_the_pool_holds_exactly_what_was_asked_for(
    finished: tuple[LoopConfig, ArtifactRef],
) -> None:
    config, pool = finished
    samples = samples_of(config, pool)
    assert Counter(sample.split for sample in samples) == {
        Split.TRAIN: 24, Split.HELDOUT_SEEN: 8, Split.HELDOUT_UNSEEN: 4,
    }  # fmt: skip
    train = Counter(sample.kind for sample in samples if sample.split is Split.TRAIN)
    assert (train[Kind.SINGLE], train[Kind.MULTI_TURN], train[Kind.SUMMARY]) == (6, 6, 1)
    assert len({sample.sample_id for sample in samples}) == pool.rows["samples"] == 36


def test_its_manifest_accounts_for_every_row(finished: tuple[LoopConfig, ArtifactRef]) -> None:
    config, pool = finished
    stats = stats_of(config, pool)
    assert stats["met"]
    assert stats["missing"] == {}
    assert sum(stats["targets"].values()) == stats["samples"] == 36
    assert pool.rows["surplus"] == stats["surplus"]
    assert stats["usage"]["seed"]["answers"] > 4 * stats["dialogues"]
    assert stats["usage"]["validate"]["answers"] <= stats["dialogues"]
    assert set(stats["rejected"]) <= {
        "ungrounded_value", "review_contextual_fit", "review_logical_consistency", "review_intent",
    }  # fmt: skip


def test_the_coverage_counts_every_tool_by_kind_and_split(
    finished: tuple[LoopConfig, ArtifactRef],
) -> None:
    config, pool = finished
    store = Scope(campaign="x", iteration=0, config=config).store()
    rows = store.read(pool, "coverage", Coverage)
    samples = samples_of(config, pool)
    assert len(rows) == (48 + 48 + 12) * len(Kind)
    assert sum(row.offered for row in rows) == sum(len(sample.tools) for sample in samples)
    assert sum(row.called for row in rows) == sum(
        len({call.name for call in sample.label.calls}) for sample in samples
    )
    head, _, *table, _, never = render_coverage(rows).splitlines()
    assert max(map(len, table)) < 120
    calls = [int(line.split("|")[-3]) for line in table[2:]]
    assert calls[0] == sum(calls[1:]) == sum(row.called for row in rows)
    assert calls[1:] == sorted(calls[1:])
    assert min(calls) > 0
    assert len(calls) - 1 + never.count("`") // 2 == 60
    assert head == f"60 tools, {never.count('`') // 2} never called."


def test_neither_shards_nor_concurrency_change_the_pool(
    finished: tuple[LoopConfig, ArtifactRef], tmp_path: Path
) -> None:
    _, pool = finished
    other = make(tmp_path, shard_size=64)
    other = other.model_copy(
        update={"teacher": other.teacher.model_copy(update={"max_concurrency": 3})}
    )
    assert run_seed_phase(other).digest == pool.digest


def test_targets_out_of_reach_are_reported_and_the_rest_is_met(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make(tmp_path, unseen_tool_rate=0.0, heldout_samples=4)
    with caplog.at_level(logging.WARNING, "looptool"):
        pool = run_seed_phase(config)
    stats = stats_of(config, pool)
    assert not stats["met"]
    assert sum(stats["missing"].values()) == 4
    assert all(cell.startswith("heldout_unseen/") for cell in stats["missing"])
    assert pool.rows["samples"] == 28
    warnings = [record.getMessage() for record in caplog.records]
    assert any("target not met: heldout_unseen/" in text for text in warnings)


def test_nothing_at_all_is_an_error_that_says_why(tmp_path: Path) -> None:
    noise = {"malformed_rate": 1.0}
    config = make(tmp_path, noise, train_samples=2, kinds={"single": 1.0}, rounds_max=1)
    config = config.model_copy(
        update={"teacher": config.teacher.model_copy(update={"attempts": 1})}
    )
    with pytest.raises(DataError, match=r"no accepted sample.*malformed.*teacher_malformed"):
        run_seed_phase(config)


def test_what_two_rounds_have_in_common_is_taken_once_and_listed(
    finished: tuple[LoopConfig, ArtifactRef], tmp_path: Path
) -> None:
    config, _ = finished
    scope = Scope(campaign="noise", iteration=0, config=config)
    store = scope.store()
    refs = {
        stage: [
            ref
            for path in sorted(store.fs.glob(store.path("campaigns/*/*/0000", stage, "*")))
            if (ref := store.ref(store.fs.unstrip_protocol(path)))
        ]
        for stage in ("tools", "seed", "validate")
    }
    once = refs["validate"][0]
    pool = fill_pool.fn(
        scope=scope, tools=refs["tools"][0], played=refs["seed"], accepted=[once, once]
    )
    doubles = store.read(pool, "rejections", Rejection)
    assert len(doubles) == once.rows["samples"]
    assert {row.rule for row in doubles} == {"duplicate"}
    assert pool.rows["samples"] + pool.rows["surplus"] == once.rows["samples"]


def test_rounds_have_names_of_their_own() -> None:
    scope = Scope(campaign="c", iteration=0, config=LoopConfig())
    labels = [one.label for one in rounds_of(scope)]
    assert labels == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    assert scope.label == "0"


@pytest.fixture
def teacher() -> Iterator[NoisyTeacher]:
    with serve_teacher() as served:
        yield served


def seed_once(config: LoopConfig) -> tuple[Scope, ArtifactRef, ArtifactRef, ArtifactRef]:
    """The first round up to its dialogues: scope, tools, plan, seed."""
    scope = next(rounds_of(Scope(campaign="noise", iteration=0, config=config)))
    tools = collect.fn(scope=scope)
    plan = plan_round.fn(scope=scope, tools=tools, played=[], accepted=[])
    return scope, tools, plan, seed.fn(scope=scope, tools=tools, plan=plan)


@pytest.mark.parametrize("damage", ["torn", "gone", "note"])
def test_a_part_that_cannot_be_read_is_made_again_and_no_other(
    teacher: NoisyTeacher, tmp_path: Path, damage: str
) -> None:
    config = make_config(tmp_path, teacher.port, dialogues=12, shard_size=6)
    scope, tools, plan, before = seed_once(config)
    whole = teacher.requests
    folder = Path(scope.store().strip(before.uri))
    (folder / "manifest.json").unlink()
    (part,) = folder.glob("usage-00001.json" if damage == "note" else "samples-00001.*.parquet")
    if damage == "gone":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:-7])
    teacher.begin_anew()
    after = seed.fn(scope=scope, tools=tools, plan=plan)
    assert after.digest == before.digest
    parts = len(list(folder.glob("samples-*.parquet")))
    assert parts >= 4
    assert 0 < teacher.requests < 2.5 * whole / parts


def test_a_noisy_teacher_gives_exactly_the_rows_and_kills_repeat_at_most_a_shard(
    teacher: NoisyTeacher, tmp_path: Path
) -> None:
    assert (NOISE.wrong_label_rate, NOISE.malformed_rate) == (0.1, 0.05)
    assert (NOISE.http_error_rate, NOISE.cut_rate) == (0.05, 0.02)
    calm, rough = (
        make_config(tmp_path / name, teacher.port, dialogues=24, shard_size=6)
        for name in ("calm", "rough")
    )
    undisturbed = run_with_kills(calm, teacher, [])
    result = describe(calm, undisturbed.pool)
    assert result["rows"] == result["distinct"] == result["wanted"] == 32
    assert {"malformed", "connection", "rate_limited", "server_error"} <= set(result["failures"])
    assert result["requests"] == undisturbed.requests
    asked = undisturbed.requests
    kills = [Random(0).randrange(asked // 8, asked // 3) for _ in range(2)]
    killed = run_with_kills(rough, teacher, kills)
    assert killed.pool.digest == undisturbed.pool.digest
    assert len(killed.repeated) == 2
    assert 0 < max(killed.repeated) <= max(count_shards(calm))
    assert killed.requests > asked


def test_sums_of_reports_add_numbers_at_every_depth() -> None:
    one = {"seed": {"requests": 3, "failures": {"malformed": 1}, "model": "m"}}
    two = {"seed": {"requests": 4, "failures": {"cut": 2}}, "validate": {"requests": 1}}
    both = combine(one, two)
    assert both == {
        "seed": {"requests": 7, "failures": {"malformed": 1, "cut": 2}, "model": "m"},
        "validate": {"requests": 1},
    }
    assert combine(both, one, sign=-1)["seed"] == {
        "requests": 4, "failures": {"malformed": 0, "cut": 2}, "model": "m",
    }  # fmt: skip
    assert count_failures(both) == {"malformed": 1, "cut": 2}
