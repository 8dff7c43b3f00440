"""The same promises on a local folder and on two S3 servers."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from looptool.artifacts import ArtifactRef, ArtifactWriter, Store, folder_digest
from looptool.artifacts.filesystem import http_status
from looptool.errors import ArtifactCorrupt, ArtifactMissing, CampaignError, ConfigError, StoreError
from looptool.records import Rejection

FOLDER = "campaigns/c/iterations/0001"


def rejection(name: str) -> Rejection:
    return Rejection(stage="seed", row_id=name, rule="r", detail="d", row={"a": [1, None, "é"]})


def write(store: Store, names: list[str], key: str = "k1") -> ArtifactRef:
    writer = ArtifactWriter(store, FOLDER, "seed", key)
    writer.write("rejections", "rejections", [rejection(n) for n in names])
    return writer.commit({}, {}, {})


def test_every_one_of_them_passes_the_probe_and_keeps_nothing_of_it(store: Store) -> None:
    store.check()
    assert store.objects(store.path()) == []


def test_rows_come_back_with_the_digest_that_a_folder_gives(store: Store, tmp_path: Path) -> None:
    ref = write(store, ["a", "b"])
    assert store.read(ref, "rejections", Rejection) == [rejection("a"), rejection("b")]
    assert ref.digest == write(Store(str(tmp_path / "other")), ["a", "b"]).digest


def test_what_tells_how_it_was_made_is_kept_and_is_not_in_the_digest(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    def make(key: str, label: str, seconds: float) -> ArtifactRef:
        writer = ArtifactWriter(store, FOLDER, "train", key)
        writer.write("rejections", "rejections", [rejection(label)])
        writer.write("took", "rejections", [rejection(f"{seconds} s")])
        return writer.commit({}, {}, {}, aside=["took"])

    first = make("k1", "a", 3.5)
    assert first.digest == make("k2", "a", 4.5).digest
    assert first.digest != make("k3", "b", 3.5).digest
    assert store.read(first, "took", Rejection) == [rejection("3.5 s")]


def test_a_table_in_several_parts_is_read_one_at_a_time(store: Store) -> None:
    writer = ArtifactWriter(store, FOLDER, "pool", "k")
    rows = [rejection(str(n)) for n in range(5)]
    writer.write_parts("rejections", "rejections", rows, rows_per_part=2)
    ref = writer.commit({}, {}, {})
    assert [len(part) for part in store.read_parts(ref, "rejections", Rejection)] == [2, 2, 1]
    assert store.read(ref, "rejections", Rejection) == rows


def test_of_eight_creators_one_wins_and_its_bytes_stay(store: Store) -> None:
    winners: list[int] = []
    barrier = threading.Barrier(8)
    path = store.path("race.json")

    def race(number: int) -> None:
        barrier.wait()
        if store.create(path, str(number).encode()):
            winners.append(number)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert store.get(path) == str(winners[0]).encode()
    assert not store.create(path, b"")
    assert store.get(path) == str(winners[0]).encode()


WRITER = """
import sys
from looptool.artifacts import ArtifactWriter, Store
from looptool.records import Rejection
root, who = sys.argv[1:]
writer = ArtifactWriter(Store(root), "campaigns/c/iterations/0001", "seed", "same")
print("ready", flush=True)
sys.stdin.readline()
for number in range(4):
    rows = [Rejection(stage=who, row_id=str(number), rule="r", detail="", row={})] * (number + 1)
    writer.write("rejections", "rejections", rows, number)
    writer.write("more", "rejections", rows, number)
print(writer.commit({}, {}, {}).model_dump_json(), flush=True)
"""


def test_two_processes_write_one_artifact_and_never_mix(root: str) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, root, who],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for who in ("first", "second")
    ]  # fmt: skip
    for run in runs:
        assert run.stdout
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin
        run.stdin.write("go\n")
        run.stdin.flush()
    said = [json.loads(run.communicate()[0]) for run in runs]
    assert said[0] == said[1]
    store, ref = Store(root), ArtifactRef.model_validate(said[0])
    rows = [row for table in ("rejections", "more") for row in store.read(ref, table, Rejection)]
    assert len(rows) == 20
    assert len({row.stage for row in rows}) == 1


def test_parts_of_two_killed_runs_are_not_mixed_either(store: Store) -> None:
    first, second = (ArtifactWriter(store, FOLDER, "expand", "k") for _ in range(2))
    first.write("samples", "rejections", [rejection("of the first")], 0)
    second.write("samples", "rejections", [rejection("of the second")], 0)
    second.write("more", "rejections", [rejection("of the second")], 0)
    first.write("more", "rejections", [rejection("of the first")], 0)
    third = ArtifactWriter(store, FOLDER, "expand", "k")
    assert third.load_part("samples", "rejections", 0, Rejection) == [rejection("of the second")]
    assert third.load_part("more", "rejections", 0, Rejection) is None


def test_a_part_of_another_length_or_content_is_never_read_or_taken_over(store: Store) -> None:
    ref = write(store, ["a"])
    (part,) = store.manifest_of(ref).parts
    path = f"{store.strip(ref.uri)}/{part.path}"
    whole = store.get(path)
    assert whole
    for damaged in (whole[:-1], whole[:-1] + b"x"):
        store.put(path, damaged)
        with pytest.raises(ArtifactCorrupt, match="fsck"):
            store.read(ref, "rejections", Rejection)
        again = ArtifactWriter(store, FOLDER, "seed", "k1")
        assert again.load_part("rejections", "rejections", 0, Rejection) is None
    store.remove(path)
    with pytest.raises(ArtifactMissing, match="fsck"):
        store.read(ref, "rejections", Rejection)


def test_files_come_back_checked(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "w.bin").write_bytes(bytes(range(256)) * 4096)
    writer = ArtifactWriter(store, FOLDER, "train", "k")
    writer.write_files("checkpoint", folder)
    ref = writer.commit({}, {}, {})
    fetched = store.fetch_files(ref, "checkpoint", tmp_path / "cache")
    assert folder_digest(fetched) == folder_digest(folder)
    part = next(p for p in store.manifest_of(ref).parts if p.name.endswith("w.bin"))
    store.put(f"{store.strip(ref.uri)}/{part.path}", b"other")
    with pytest.raises(ArtifactCorrupt, match=r"w\.bin"):
        store.fetch_files(ref, "checkpoint", tmp_path / "second")
    assert not list((tmp_path / "second").rglob("config.json"))


def test_a_base_model_on_the_local_disk_is_no_artifact_of_any_store(
    store: Store, tmp_path: Path
) -> None:
    assert store.ref(tmp_path.as_uri()) is None
    assert store.strip(tmp_path.as_uri()) == str(tmp_path)


def test_a_missing_bucket_is_a_clear_error(s3: Callable[[str], str]) -> None:
    s3("moto")
    with pytest.raises(StoreError, match=r"cannot be written.*bucket"):
        Store("s3://nosuchbucket/x").check()


@pytest.mark.parametrize(
    "root",
    ["s3://key:hush-hush@bucket/x", "s3://bucket/x?token=hush-hush", "s3://bucket/x#hush-hush"],
)
def test_a_root_with_a_key_in_it_is_refused_and_not_shown(root: str) -> None:
    from looptool.config import parse_config

    for attempt in (lambda: Store(root), lambda: parse_config({"store": {"root": root}})):
        with pytest.raises(ConfigError) as refused:
            attempt()
        assert "hush" not in str(refused.value)
        assert "AWS_ACCESS_KEY_ID" in str(refused.value)


def test_the_status_behind_an_error_is_found() -> None:
    inner = OSError("x")
    inner.response = {"ResponseMetadata": {"HTTPStatusCode": 412}}  # type: ignore[attr-defined]
    outer = ValueError("y")
    outer.__cause__ = inner
    assert (http_status(outer), http_status(ValueError())) == (412, 0)


@pytest.fixture
def careless_root(
    s3: Callable[..., str], endpoints: Callable[[str], str], proxy: Callable[[str], Any]
) -> str:
    """On an S3 server that ignores If-None-Match, as some do."""
    careless = proxy(endpoints("moto"))
    careless.dropped = ("if-none-match",)
    return s3(endpoint=careless.endpoint)


def test_a_store_that_ignores_the_condition_is_refused_with_an_explanation(
    careless_root: str,
) -> None:
    with pytest.raises(ConfigError, match="single_writer"):
        Store(careless_root).check()


@pytest.mark.slow
def test_with_a_single_writer_it_is_usable_and_a_second_run_is_kept_out(
    careless_root: str,
) -> None:
    from looptool.artifacts.lease import release_leases

    store = Store(careless_root, single_writer=True, lease_s=30)
    store.check()
    ref = write(store, ["a"])
    assert write(store, ["b"]) == ref
    code = (
        "import sys; from looptool.artifacts import Store;"
        "Store(sys.argv[1], single_writer=True, lease_s=30).check()"
    )
    second = [sys.executable, "-c", code, careless_root]
    refused = subprocess.run(second, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "is writing to the store" in refused.stderr
    release_leases()
    assert subprocess.run(second, check=False).returncode == 0


def test_a_lease_is_stolen_only_when_it_has_expired(tmp_path: Path) -> None:
    from looptool.artifacts.lease import Lease

    lake = Store(str(tmp_path))

    def lease(seconds: float) -> Lease:
        return Lease(lake.path("writer.json"), lake.get, lake.put, lake.remove, "lake", seconds)

    dead = lease(0.9)
    dead.acquire()
    dead._stop.set()  # as after kill -9: nobody renews it
    with pytest.raises(CampaignError, match="is writing"):
        lease(30).acquire()
    threading.Event().wait(1.0)
    heir = lease(30)
    heir.acquire()
    heir.ensure()
    with pytest.raises(StoreError, match="lost"):
        dead.ensure()
    heir.release()
    assert lake.get(lake.path("writer.json")) is None
