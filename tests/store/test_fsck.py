"""What fsck finds, what it mends, and what gc may delete, on every kind of store."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.iterations import make_record
from looptool.artifacts import ArtifactRef, ArtifactWriter, CheckpointRef, Store
from looptool.campaign import Campaign, IterationRecord
from looptool.cli import app
from looptool.errors import ArtifactMissing, ConfigError
from looptool.fsck import repair, survey
from looptool.records import Rejection
from looptool.retention import Plan, plan_removals, remove

STAGE = ("campaigns/c/iterations/0001", "judge", "k")
FOLDER = "/".join(STAGE)


def rejection(name: str) -> Rejection:
    return Rejection(stage="seed", row_id=name, rule="r", detail="d", row={})


def run_stage(store: Store, name: str = "x") -> tuple[ArtifactRef, int]:
    """Two parts, taken over where they are; how many were made now."""
    writer = ArtifactWriter(store, *STAGE)
    made = 0
    for number in range(2):
        if writer.load_part("rejections", "rejections", number, Rejection) is None:
            writer.write("rejections", "rejections", [rejection(f"{name}{number}")], number)
            made += 1
    return writer.commit({}, {}, {}, []), made


def part_path(store: Store, ref: ArtifactRef, number: int) -> str:
    return f"{store.strip(ref.uri)}/{store.manifest_of(ref).parts[number].path}"


def kinds(store: Store) -> list[str]:
    return sorted(finding.kind for finding in survey(store).findings)


Damage = Callable[[Store, ArtifactRef], None]


def cut(store: Store, ref: ArtifactRef) -> None:
    path = part_path(store, ref, 1)
    store.put(path, (store.get(path) or b"")[:-3])


def flip(store: Store, ref: ArtifactRef) -> None:
    path = part_path(store, ref, 1)
    store.put(path, (store.get(path) or b"")[:-1] + b"?")


def lose(store: Store, ref: ArtifactRef) -> None:
    store.remove(part_path(store, ref, 1))


def scribble(store: Store, ref: ArtifactRef) -> None:
    store.put(f"{store.strip(ref.uri)}/manifest.json", b'{"stage": ')


@pytest.mark.parametrize(
    ("damage", "kind", "again"),
    [(cut, "corrupt", 1), (flip, "corrupt", 1), (lose, "missing", 1), (scribble, "corrupt", 0)],
)
def test_damage_is_found_and_requeued_so_that_only_the_damaged_part_is_made_again(
    store: Store, damage: Damage, kind: str, again: int
) -> None:
    ref, _ = run_stage(store)
    assert kinds(store) == []
    damage(store, ref)
    found = survey(store)
    assert [fault.kind for fault in found.faults] == [kind]
    assert found.faults[0].artifact == FOLDER
    assert "its stage runs again" in repair(store, found, "requeue")[0]
    assert "corrupt" not in kinds(store)
    assert run_stage(store) == (ref, again)
    assert kinds(store) == []


def test_a_flipped_byte_is_seen_only_by_reading(store: Store) -> None:
    ref, _ = run_stage(store)
    flip(store, ref)
    assert survey(store, contents=False).faults == []
    lose(store, ref)
    assert len(survey(store, contents=False).faults) == 1


def test_quarantine_moves_an_artifact_aside_whole(store: Store) -> None:
    ref, _ = run_stage(store)
    cut(store, ref)
    before = len(store.objects(store.path("campaigns")))
    repair(store, survey(store), "quarantine")
    assert store.objects(store.path("campaigns")) == []
    assert len(store.objects(store.path("quarantine"))) == before
    assert run_stage(store)[1] == 2


def test_what_no_manifest_knows_is_listed_and_is_no_fault(store: Store) -> None:
    run_stage(store)
    ArtifactWriter(store, "campaigns/c/iterations/0001", "probe", "k").write(
        "rejections", "rejections", []
    )
    store.put(store.path(FOLDER, "rejections-00009.abc.parquet"), b"x")
    store.put(store.path(FOLDER, "rejections-00001.parquet.ff.tmp"), b"x")
    assert kinds(store) == ["orphan", "orphan", "uncommitted"]
    assert survey(store).faults == []


class History:
    """A campaign of several iterations, each made from the one before, through the real writer."""

    def __init__(self, store: Store, name: str = "c") -> None:
        self.store, self.campaign = store, Campaign(store, name)
        self.records: list[IterationRecord] = []
        self.pool = self.make(0, "pool", [])
        self.dataset = self.make(0, "dataset", [self.pool])

    def make(
        self,
        iteration: int,
        stage: str,
        sources: list[ArtifactRef],
        key: str = "k",
        files: str = "",
    ) -> ArtifactRef:
        writer = ArtifactWriter(self.store, self.campaign.folder(iteration), stage, key)
        writer.write("rejections", "rejections", [rejection(f"{iteration}/{stage}/{key}")])
        if files:
            folder = Path(files) / f"{iteration}{key}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(f'{{"n": {iteration}}}')
            (folder / "model.bin").write_bytes(bytes(1000 + iteration))
            writer.write_files("checkpoint", folder)
        return writer.commit({}, {}, {}, [source.digest for source in sources])

    def iterate(self, files: Path, *, promoted: bool = True) -> IterationRecord:
        number = len(self.records) + 1
        trained = self.make(number, "train", [self.dataset], files=str(files))
        scores = self.make(number, "evaluate", [trained, self.pool])
        probes = self.make(number, "probe", [trained, self.dataset])
        merged = self.make(number, "merge", [self.pool, self.dataset, probes])
        checkpoint = CheckpointRef(uri=trained.uri, digest=trained.digest)
        record = make_record(
            number,
            dataset=self.dataset,
            merged=merged,
            checkpoint=checkpoint,
            scores=scores,
            verdicts=self.make(number, "judge", [probes]),
            before=self.records[-1] if self.records else None,
            promoted=promoted,
        )
        self.campaign.finish(record)
        self.records.append(record)
        self.dataset = merged
        return record


@pytest.fixture
def history(store: Store, tmp_path: Path) -> History:
    made = History(store)
    for _ in range(3):
        made.iterate(tmp_path / "models")
    return made


def test_a_record_of_what_is_gone_goes_aside_so_that_its_iteration_runs_again(
    history: History,
) -> None:
    store, second = history.store, history.records[1]
    store.remove(f"{store.strip(second.next_dataset.uri)}/manifest.json")
    faults = survey(store).faults
    assert {fault.kind for fault in faults} == {"broken_reference"}
    assert {fault.path.split("/")[3] for fault in faults} == {"0002", "0003"}
    repair(store, survey(store), "requeue")
    assert history.campaign.complete() == history.records[:1]
    assert survey(store).faults == []


def test_a_record_goes_aside_with_the_artifact_that_it_needs(history: History) -> None:
    store, last = history.store, history.records[-1]
    lose_one = store.manifest_of(last.next_dataset).parts[0].path
    store.remove(f"{store.strip(last.next_dataset.uri)}/{lose_one}")
    done = repair(store, survey(store), "requeue")
    assert len(done) == 2
    assert history.campaign.complete() == history.records[:2]


LATER = 4e9
"""A time at which everything is old, seconds since 1970."""


def plan(store: Store, keep: int = 1, age_s: float = 3600, now: float = LATER) -> Plan:
    return plan_removals(store, keep_checkpoints=keep, age_s=age_s, now=now)


def test_what_complete_iterations_need_stays_and_the_rest_goes(history: History) -> None:
    store = history.store
    superseded = history.make(1, "judge", [history.pool], key="old")
    under_way = history.make(4, "train", [history.dataset])
    other = History(store, "young").pool
    found = {removal.path: removal.why for removal in plan(store, keep=9).removals}
    assert found.pop("campaigns/c/iterations/0001/judge/old") == "unreachable"
    assert set(found.values()) == {"left_over"}
    assert remove(store, plan(store, keep=9)) > 0
    assert store.ref(superseded.uri) is None
    assert store.ref(under_way.uri)
    assert store.ref(other.uri)
    assert survey(store).findings == []
    assert plan(store, keep=9).removals == ()
    for record in history.records:
        store.read(record.next_dataset, "rejections", Rejection)
    store.read(history.pool, "rejections", Rejection)


def test_nothing_young_is_touched(history: History) -> None:
    import time

    history.make(1, "judge", [], key="old")
    ArtifactWriter(history.store, "campaigns/c/iterations/0001", "probe", "running").write(
        "rejections", "rejections", []
    )
    assert plan(history.store, now=time.time()).removals == ()
    reasons = {removal.why for removal in plan(history.store).removals}
    assert reasons == {"unreachable", "uncommitted", "checkpoint", "left_over"}


def test_parts_of_a_killed_run_that_are_taken_up_again_stay(store: Store) -> None:
    import time

    def killed() -> ArtifactWriter:
        return ArtifactWriter(store, *STAGE)

    killed().write("rejections", "rejections", [rejection("a")])
    time.sleep(2.1)
    now = time.time()
    planned = plan(store, age_s=1.0, now=now)
    assert [removal.why for removal in planned.removals] == ["uncommitted"]
    again = killed()
    assert again.load_part("rejections", "rejections", 0, Rejection)
    assert remove(store, planned) == 0
    assert plan(store, age_s=1.0, now=now).removals == ()
    assert store.read(again.commit({}, {}, {}), "rejections", Rejection) == [rejection("a")]


def test_old_checkpoints_lose_their_files_and_say_so(history: History, tmp_path: Path) -> None:
    store = history.store
    refs = [store.ref(record.checkpoint.uri) for record in history.records]
    old = [removal for removal in plan(store, keep=2).removals if removal.why == "checkpoint"]
    assert [removal.path.split("/")[3] for removal in old] == ["0001"]
    remove(store, plan(store, keep=1))
    assert survey(store).findings == []
    assert refs[0]
    assert refs[2]
    with pytest.raises(ArtifactMissing, match="looptool gc"):
        store.fetch_files(refs[0], "checkpoint", tmp_path / "cache")
    assert (store.fetch_files(refs[2], "checkpoint", tmp_path / "cache") / "config.json").is_file()
    assert history.campaign.complete() == history.records


def test_the_checkpoint_that_the_next_iteration_starts_from_stays(
    store: Store, tmp_path: Path
) -> None:
    history = History(store)
    best = history.iterate(tmp_path / "models")
    for _ in range(2):
        history.iterate(tmp_path / "models", promoted=False)
    assert history.records[-1].best.checkpoint == best.checkpoint
    removed = [r.path.split("/")[3] for r in plan(store, keep=1).removals if r.why == "checkpoint"]
    assert removed == ["0002"]


def test_a_collection_that_is_killed_leaves_no_fault(history: History) -> None:
    store = history.store
    history.make(1, "judge", [], key="old")
    whole = plan(store)
    for removal in whole.removals:
        remove(store, Plan((type(removal)(removal.why, removal.path, removal.objects[:1], 0),), 0))
    assert survey(store).faults == []
    remove(store, plan(store))
    assert survey(store).findings == []


def test_the_last_checkpoint_can_never_be_asked_away(history: History) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        plan(history.store, keep=0)


def test_an_artifact_that_does_not_say_what_it_was_made_from_keeps_its_campaign(
    history: History,
) -> None:
    folder = history.campaign.folder(3)
    writer = ArtifactWriter(history.store, folder, "merge", "silent")
    writer.write("rejections", "rejections", [])
    silent = writer.commit({"history": "no artifact has this digest"}, {}, {})
    history.make(1, "judge", [], key="old")
    last = history.records[-1].model_copy(update={"next_dataset": silent})
    history.campaign.finish(last)
    made = plan(history.store)
    assert not [removal for removal in made.removals if removal.why == "unreachable"]
    assert "everything of c is kept" in made.notes[0]


def test_the_command_line_checks_mends_and_collects(tmp_path: Path) -> None:
    store, run = Store(str(tmp_path / "lake")), CliRunner().invoke
    ref, _ = run_stage(store)
    assert run(app, ["fsck", store.root]).exit_code == 0
    lose(store, ref)
    said = run(app, ["fsck", store.root, "--json"])
    assert said.exit_code == 1
    assert json.loads(said.stdout)["findings"][0]["kind"] == "missing"
    mended = run(app, ["fsck", store.root, "--repair", "requeue"])
    assert mended.exit_code == 0
    assert "its stage runs again" in mended.stdout
    shown = run(app, ["gc", store.root, "--age-hours", "0"])
    assert "nothing deleted" in shown.stdout
    assert store.objects(store.path("campaigns"))
    done = json.loads(run(app, ["gc", store.root, "--age-hours", "0", "--yes", "--json"]).stdout)
    assert done["removed"] >= 3
    assert store.objects(store.path("campaigns")) == []


def test_a_profile_names_the_store(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text(f'[store]\nroot = "{tmp_path / "lake"}"\n')
    run_stage(Store(str(tmp_path / "lake")))
    said = CliRunner().invoke(app, ["fsck", "--profile", str(profile), "--json"])
    assert json.loads(said.stdout)["artifacts"] == 1
