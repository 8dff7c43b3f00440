"""Artifacts are whole or absent, checked when read, and committed once."""

import json
import threading
from pathlib import Path

import pytest

from looptool.artifacts import (
    ArtifactRef,
    ArtifactWriter,
    Store,
    artifact_key,
    check_name,
    folder_digest,
    shards,
)
from looptool.errors import ArtifactCorrupt, ArtifactMissing, ConfigError, StoreError
from looptool.records import Rejection


def rejection(name: str) -> Rejection:
    return Rejection(stage="seed", row_id=name, rule="r", detail="d", row={"a": [1, None, "é"]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "lake"))


def write(store: Store, names: list[str], key: str = "k1") -> ArtifactRef:
    writer = ArtifactWriter(store, "campaigns/c/iterations/0001", "seed", key)
    writer.write("rejections", "rejections", [rejection(n) for n in names])
    return writer.commit({"tools": "d"}, {"seed.n": 1}, {"rows": len(names)})


def part_of(store: Store, ref: ArtifactRef) -> Path:
    """The file of the artifact's only part."""
    (part,) = Path(store.strip(ref.uri)).glob("rejections-00000.*.parquet")
    return part


def test_rows_come_back_as_they_were_written(store: Store) -> None:
    ref = write(store, ["a", "b"])
    assert store.read(ref, "rejections", Rejection) == [rejection("a"), rejection("b")]
    assert ref.rows == {"rejections": 2}


def test_an_artifact_without_manifest_does_not_exist(store: Store) -> None:
    writer = ArtifactWriter(store, "campaigns/c/iterations/0001", "seed", "k1")
    writer.write("rejections", "rejections", [rejection("a")])
    assert writer.committed() is None


def test_the_digest_depends_on_content_alone(store: Store) -> None:
    assert write(store, ["a"], "k1").digest == write(store, ["a"], "k2").digest
    assert write(store, ["a"], "k3").digest != write(store, ["b"], "k4").digest


def test_of_two_writers_of_one_artifact_the_first_wins(store: Store) -> None:
    first = write(store, ["a"])
    assert write(store, ["a"]) == first
    winners: list[bool] = []
    barrier = threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        winners.append(store.create(store.path("race.json"), b"x"))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(winners) == 1


def test_a_changed_part_is_noticed(store: Store) -> None:
    ref = write(store, ["a"])
    part = part_of(store, ref)
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactCorrupt, match="rejections-00000"):
        store.read(ref, "rejections", Rejection)


def test_a_deleted_part_is_named(store: Store) -> None:
    ref = write(store, ["a"])
    part_of(store, ref).unlink()
    with pytest.raises(ArtifactMissing, match="fsck"):
        store.read(ref, "rejections", Rejection)


def test_parts_of_a_killed_run_are_taken_over(store: Store) -> None:
    killed = ArtifactWriter(store, "campaigns/c/iterations/0001", "probe", "k")
    killed.write("rejections", "rejections", [rejection("a")], number=0)
    again = ArtifactWriter(store, "campaigns/c/iterations/0001", "probe", "k")
    assert again.load_part("rejections", "rejections", 0, Rejection) == [rejection("a")]
    assert again.load_part("rejections", "rejections", 1, Rejection) is None
    again.write("rejections", "rejections", [rejection("b")], number=1)
    ref = again.commit({}, {}, {})
    assert [r.row_id for r in store.read(ref, "rejections", Rejection)] == ["a", "b"]


def test_no_temporary_file_is_left_behind(store: Store) -> None:
    ref = write(store, ["a"])
    folder = Path(store.strip(ref.uri))
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    part = part_of(store, ref).name
    assert names == ["manifest.json", "receipts/rejections-00000.json", part]


def test_files_are_stored_with_their_folders(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "w.bin").write_bytes(b"\x00\x01")
    writer = ArtifactWriter(store, "campaigns/c/iterations/0001", "train", "k")
    writer.write_files("checkpoint", folder)
    ref = writer.commit({}, {}, {})
    fetched = store.fetch_files(ref, "checkpoint", tmp_path / "cache")
    assert folder_digest(fetched) == folder_digest(folder)


@pytest.mark.parametrize(
    "path", ["../../other/part", "/etc/passwd", "a/../../b", "a//b", "./a", "..", "a\x00b"]
)
@pytest.mark.parametrize("field", ["name", "stored_as"])
def test_a_manifest_that_names_what_is_outside_of_its_folder_is_corrupt(
    store: Store, path: str, field: str
) -> None:
    ref = write(store, ["a"])
    manifest = json.loads(store.manifest_of(ref).model_dump_json())
    manifest["parts"][0][field] = path
    store.put(f"{store.strip(ref.uri)}/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ArtifactCorrupt, match="below the artifact's folder"):
        store.fetch_files(ref, "rejections", Path(store.path("cache")))


def test_files_of_a_remote_store_are_copied_once(tmp_path: Path) -> None:
    remote = Store("memory://lake")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").write_bytes(b"abc")
    writer = ArtifactWriter(remote, "campaigns/c/iterations/0001", "train", "k")
    writer.write_files("checkpoint", folder)
    ref = writer.commit({}, {}, {})
    first = remote.fetch_files(ref, "checkpoint", tmp_path / "cache")
    assert (first / "w.bin").read_bytes() == b"abc"
    assert remote.fetch_files(ref, "checkpoint", tmp_path / "cache") == first


def test_a_store_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(str(tmp_path / "file" / "lake")).check()


def test_an_unknown_protocol_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="fsspec URL"):
        Store("nosuch://bucket")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a b", "a\n"])
def test_names_that_are_not_safe_in_a_path_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        check_name(name, "campaign")


def test_keys_do_not_depend_on_the_order_of_facts_in_a_mapping() -> None:
    assert artifact_key("s", {"a": 1, "b": 2}) == artifact_key("s", {"b": 2, "a": 1})
    assert artifact_key("s", {"a": 1}) != artifact_key("s", {"a": True})


def test_shards_cover_all_rows_in_order() -> None:
    rows = [rejection(str(n)) for n in range(5)]
    assert [(n, len(part)) for n, part in shards(rows, 2)] == [(0, 2), (1, 2), (2, 1)]
