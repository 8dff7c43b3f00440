"""A store that fails: the run goes on, or ends and says why; going on gives what nothing would have changed."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.seed_noise import run_seed_phase
from looptool.artifacts import ArtifactRef, ArtifactWriter, Store
from looptool.config import LoopConfig, parse_config
from looptool.errors import StoreError
from looptool.fsck import survey
from looptool.records import Rejection

PARTS = 4


def rejection(number: int) -> Rejection:
    return Rejection(stage="seed", row_id=str(number), rule="r", detail="d" * 50, row={"n": number})


def run_stage(store: Store) -> tuple[ArtifactRef, int]:
    """A stage of four parts, as the tasks run one; its reference and how many parts were made now."""
    writer = ArtifactWriter(store, "campaigns/c/iterations/0001", "judge", "k")
    made = 0
    for number in range(PARTS):
        if writer.load_part("rejections", "rejections", number, Rejection) is None:
            rows = [rejection(10 * number + n) for n in range(10)]
            writer.write("rejections", "rejections", rows, number)
            made += 1
    return writer.commit({}, {}, {}), made


@pytest.fixture
def digest(tmp_path: Path) -> str:
    """What the stage gives when nothing happens."""
    return run_stage(Store(str(tmp_path / "calm")))[0].digest


@pytest.fixture
def faulty(
    s3: Callable[..., str], endpoints: Callable[[str], str], proxy: Callable[[str], Any]
) -> tuple[Any, str]:
    """A proxy in front of an S3 server, and a root behind it."""
    between = proxy(endpoints("moto"))
    between.hang_s = 2.0
    return between, s3(endpoint=between.endpoint)


def quick(root: str) -> Store:
    return Store(root, timeout_s=1.0, attempts=3)


@pytest.mark.parametrize("fault", [500, 503, "reset", "hang", "lost"])
def test_a_fault_that_passes_changes_nothing(
    faulty: tuple[Any, str], digest: str, fault: int | str
) -> None:
    between, root = faulty
    between.fault = lambda method, path: fault if len(between.seen) % 5 == 3 else None
    ref, made = run_stage(quick(root))
    assert (ref.digest, made) == (digest, PARTS)
    assert len(between.broken) >= 3
    between.fault = lambda method, path: None
    assert survey(quick(root)).findings == []


@pytest.mark.parametrize("fault", [500, 503, "reset", "hang"])
def test_a_fault_that_stays_ends_the_run_with_the_reason_and_it_goes_on_later(
    faulty: tuple[Any, str], digest: str, fault: int | str
) -> None:
    between, root = faulty
    third = f"rejections-{2:05d}."
    between.fault = lambda method, path: fault if method == "PUT" and third in path else None
    with pytest.raises(
        StoreError, match=r"cannot write .*rejections-00002.*finished parts"
    ) as ended:
        run_stage(quick(root))
    assert ended.value.retryable
    said = str(ended.value).lower()
    reasons = {500: "no", 503: "no", "reset": "connect", "hang": "timeout"}
    assert reasons[fault] in said
    between.fault = lambda method, path: None
    ref, made = run_stage(quick(root))
    assert (ref.digest, made) == (digest, PARTS - 2)


def test_a_commit_whose_answer_is_lost_is_a_commit(faulty: tuple[Any, str], digest: str) -> None:
    between, root = faulty

    def lose_once(method: str, path: str) -> str | None:
        first = not between.broken
        return "lost" if method == "PUT" and "manifest.json" in path and first else None

    between.fault = lose_once
    assert run_stage(quick(root))[0].digest == digest
    assert len(between.broken) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_the_run_with_the_reason_and_it_goes_on_later(
    small_disk: Path, digest: str
) -> None:
    store = Store(str(small_disk / "lake"))
    (small_disk / "ballast").write_bytes(bytes(44 << 10))
    with pytest.raises(StoreError, match=r"No space left.*free space") as ended:
        run_stage(store)
    assert ended.value.retryable
    assert not list(small_disk.rglob("*.tmp"))
    assert survey(store).faults == []
    (small_disk / "ballast").unlink()
    ref, made = run_stage(store)
    assert ref.digest == digest
    assert made < PARTS


LIMITED = """
import resource, sys
from looptool.artifacts import ArtifactWriter, Store
from looptool.records import Rejection
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
writer = ArtifactWriter(Store(sys.argv[1]), "campaigns/c/iterations/0001", "seed", "k")
rows = [Rejection(stage=str(n) * 99, row_id=f"{n}", rule="r", detail="", row={}) for n in range(999)]
writer.write("rejections", "rejections", rows)
"""


def test_a_file_that_the_system_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "StoreError: cannot write" in ended.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def make(root: str) -> LoopConfig:
    seed = {
        "train_samples": 8, "heldout_samples": 3, "heldout_unseen_samples": 2, "tools_min": 3,
        "tools_max": 4, "turns_max": 2, "shard_size": 8,
    }  # fmt: skip
    teacher = {"attempts": 6, "simulator": {"noise": {"wrong_label_rate": 0.1}}}
    store = {"root": root, "timeout_s": 20, "attempts": 5}
    return parse_config({"store": store, "teacher": teacher, "seed": seed})


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the pool that the seed phase makes on a local folder."""
    return run_seed_phase(make(str(tmp_path_factory.mktemp("lake")))).digest


def test_the_seed_phase_on_a_failing_s3_store_gives_the_pool_of_a_folder(
    faulty: tuple[Any, str], pool: str
) -> None:
    between, root = faulty
    kinds = (500, 503, "reset", "lost")

    def sometimes(method: str, path: str) -> int | str | None:
        number = len(between.seen)
        return kinds[number // 9 % len(kinds)] if number % 9 == 0 else None

    between.fault = sometimes
    assert run_seed_phase(make(root)).digest == pool
    assert len(between.broken) >= 8


def test_the_seed_phase_on_another_s3_server_gives_the_same_pool(
    s3: Callable[[str], str], pool: str
) -> None:
    root = s3("localbucket")
    assert run_seed_phase(make(root)).digest == pool
    assert survey(Store(root)).findings == []
