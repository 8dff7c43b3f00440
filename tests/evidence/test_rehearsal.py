"""Every arm through its rounds, with a simulated policy in place of the trained one."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.closed_loop.arms import ARMS, BASE, STATIC, Run
from benchmarks.closed_loop.gradients import count_gradients
from benchmarks.closed_loop.measure import find_clean
from benchmarks.closed_loop.rehearsal import SIMULATED
from benchmarks.closed_loop.rows import Row, RowFile
from benchmarks.closed_loop.run import Runner
from benchmarks.closed_loop.study import Study
from benchmarks.closed_loop.verify import verify
from looptool.artifacts import Store
from looptool.records import Sample

pytestmark = [pytest.mark.slow, pytest.mark.timeout(580)]

TINY = str(Path(__file__).parents[1] / "flows" / "tiny.toml")
SIZE, STEPS = 20, 10
SETTINGS: dict[str, Any] = {
    "seed.heldout_samples": 8,
    "seed.heldout_unseen_samples": 4,
    "seed.train_samples": 60,
    "seed.self_consistency": False,
    "validate.review": False,  # so that wrong labels stay for the judge to find
    "teacher.simulator.noise.wrong_label_rate": 0.3,
    "judge.planted_min": 4,
    "judge.precision_floor": 0.0,
    "expand.max_seeds": None,
    "train.max_steps": None,
}
ROUNDS = 3


def make_study(folder: Path) -> Study:
    return Study("main", folder, folder / "rows.jsonl", TINY, 1, SETTINGS, rehearsed=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """All arms, run once."""
    folder = tmp_path_factory.mktemp("rehearsal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPTOOL_CACHE", str(folder / "cache"))
        made = make_study(folder)
        runner = Runner(made, SIMULATED, say=lambda text: None)
        runner.run(Run(BASE, 0, 0))
        for arm in ARMS:
            runner.run(Run(arm, 0, ROUNDS))
    return made


def rows_of(study: Study, arm: str) -> dict[int, Row]:
    return RowFile(study.out).rounds_of(study.identity(Run(arm, 0)))


def test_every_arm_does_the_same_work_in_every_round(study: Study) -> None:
    for arm in ARMS:
        rows = rows_of(study, arm)
        assert sorted(rows) == [1, 2, 3]
        assert {row["training"]["steps"] for row in rows.values()} == {STEPS}
        assert {row["training"]["rollouts"] for row in rows.values()} == {STEPS * 4 * 4}
        assert {row["dataset"]["size"] for row in rows.values()} == {SIZE}


def test_round_one_is_the_same_in_all_arms_and_later_ones_are_not(study: Study) -> None:
    first, second = (
        {rows_of(study, arm)[number]["dataset"]["digest"] for arm in ARMS} for number in (1, 2)
    )
    assert len(first) == 1
    assert len(second) == len(ARMS)


def test_each_arm_is_made_of_what_it_says(study: Study) -> None:
    data = {arm: rows_of(study, arm)[2]["dataset"] for arm in ARMS}
    origins = {arm: data[arm]["by_origin"] for arm in ARMS}
    assert origins["loop"]["expansion"] > 0
    assert origins["no_jglv"]["expansion"] > 0
    for arm in STATIC:
        assert set(origins[arm]) == {"seed"}
    for arm in ARMS:
        found = rows_of(study, arm)[2]["scouting"]
        assert (found is not None) == ARMS[arm].scouted
        if found is not None:
            assert found["answers"] > 0
            asked = ARMS[arm].grown == "expansions" and ARMS[arm].data == "refreshed"
            assert (found["expansions"]["asked"] > 0) == asked
    for arm in ("no_edde", "edde_as_copies", "edde_as_high_ppl"):
        assert "expansion" not in origins[arm]
    assert origins["edde_as_copies"]["error_seed"] > origins["loop"]["error_seed"]
    assert data["edde_as_copies"]["distinct"] < SIZE == data["loop"]["distinct"]
    assert origins["edde_as_high_ppl"]["high_ppl"] > origins["no_edde"].get("high_ppl", 0)
    assert origins["no_edde"]["seed"] > origins["edde_as_high_ppl"]["seed"]
    assert origins["no_high_ppl"] == origins["loop"]


def test_static_training_goes_through_the_pool(study: Study) -> None:
    digests = [rows_of(study, "static")[n]["dataset"]["digest"] for n in (1, 2, 3)]
    store = Store(str(study.root))
    found = {}
    for path in study.root.glob("campaigns/seed-0/iterations/*/dataset/*/manifest.json"):
        ref = store.ref(store.uri(path.parent.relative_to(study.root).as_posix()))
        if ref is not None and ref.digest in digests:
            samples = store.read(ref, "samples", Sample)
            found[ref.digest] = {s.sample_id for s in samples if s.label.calls}
    first, second, _ = (found[digest] for digest in digests)
    assert not first & second
    again = [rows_of(study, "static_d1")[n]["dataset"]["digest"] for n in (1, 2, 3)]
    assert len(set(again)) == 1


def test_without_the_judge_nothing_is_relabelled_and_the_teacher_is_asked_less(
    study: Study,
) -> None:
    kept, judged = (rows_of(study, arm)[2] for arm in ("no_jglv", "loop"))
    assert set(kept["changes"]["by_verdict"]) == {"PRED_WRONG"}
    assert kept["changes"]["changed"] == 0
    assert judged["changes"]["corrected"] > 0
    assert judged["changes"]["mismatches"] == kept["changes"]["mismatches"]
    assert kept["teacher"]["requests"] > 0
    assert rows_of(study, "static")[2]["teacher"]["requests"] == 0


def test_wrong_labels_are_counted_and_leave_with_the_judge(study: Study) -> None:
    loop, static = rows_of(study, "loop"), rows_of(study, "static_d1")
    assert loop[1]["dataset"]["wrong"] == static[3]["dataset"]["wrong"] > 0
    assert loop[3]["dataset"]["wrong"] < static[3]["dataset"]["wrong"]


def test_the_held_out_samples_are_clean_and_none_is_trained_on(study: Study) -> None:
    store = Store(str(study.root))
    (path,) = study.root.glob("campaigns/seed-0/iterations/0000/pool/*/manifest.json")
    ref = store.ref(store.uri(path.parent.relative_to(study.root).as_posix()))
    assert ref is not None
    samples = store.read(ref, "samples", Sample)
    ground = next(row for row in RowFile(study.out).read() if row["kind"] == "ground")
    assert len(find_clean(samples)) == len(ground["items"]["kinds"]) == 12
    assert ground["left_out"] == 0
    assert ground["correct"]["seen"][1] == 8


def test_groups_are_counted_once_for_every_training_in_the_store(
    study: Study, tmp_path: Path
) -> None:
    copy = Study("main", study.root, tmp_path / "rows.jsonl", TINY, 1, SETTINGS, rehearsed=True)
    copy.out.write_bytes(study.out.read_bytes())
    rounds = [row for row in RowFile(copy.out).read() if row["kind"] == "round"]
    assert count_gradients(copy) == len(rounds) == len(ARMS) * ROUNDS
    assert count_gradients(copy) == 0
    counted = [row for row in RowFile(copy.out).read() if row["kind"] == "gradient"]
    groups = {(row["arm"], row["round"]): (row["right"], row["wrong"]) for row in counted}
    for row in rounds:
        (right, signal), (wrong, _) = groups[row["arm"], row["round"]]
        assert right + wrong == row["dataset"]["size"]
        assert 0 < signal < right
    assert groups["static_d1", 3][1][0] == rows_of(study, "static_d1")[3]["dataset"]["wrong"]


def test_a_lost_row_is_measured_again_from_what_the_store_has(study: Study, tmp_path: Path) -> None:
    lines = study.out.read_bytes().splitlines(keepends=True)
    lost = rows_of(study, "loop")[2]
    copy = Study("main", study.root, tmp_path / "rows.jsonl", TINY, 1, SETTINGS, rehearsed=True)
    text = b"".join(line for line in lines if lost["dataset"]["digest"].encode() not in line)
    copy.out.write_bytes(text)
    artifacts = sorted(study.root.glob("campaigns/**/manifest.json"))
    Runner(copy, SIMULATED, say=lambda text: None).run(Run("loop", 0, ROUNDS))
    again = rows_of(copy, "loop")[2]
    assert {**again, "at": ""} == {**lost, "at": ""}
    assert sorted(study.root.glob("campaigns/**/manifest.json")) == artifacts


def test_a_second_run_in_a_fresh_store_has_the_same_digests(
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LOOPTOOL_CACHE", "")  # put back what the verification sets
    copy = Study("main", study.root, tmp_path / "rows.jsonl", TINY, 1, SETTINGS, rehearsed=True)
    rows = RowFile(copy.out)
    for row in rows_of(study, "loop").values():
        altered = {"checkpoint": "another"} if row["round"] == 2 else {}
        rows.append({**row, **altered})
    assert verify(copy, Run("loop", 0, 1), SIMULATED, tmp_path / "fresh") == 0
    assert "of 1 rounds is the same" in capsys.readouterr().out
    assert verify(copy, Run("loop", 0, 2), SIMULATED, tmp_path / "fresh") == 1
    assert "the first difference is the checkpoint of round 2" in capsys.readouterr().out
    outcome = [row for row in rows.read() if row["kind"] == "verify"][-1]
    assert outcome["same_code"]
    assert outcome["rounds"][1] == {
        "round": 2,
        "dataset": True,
        "checkpoint": False,
        "answers": True,
    }
    assert not (tmp_path / "fresh").exists()


def test_a_run_without_rows_cannot_be_verified(study: Study, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no rows"):
        verify(study, Run("loop", 7), SIMULATED, tmp_path / "fresh")
