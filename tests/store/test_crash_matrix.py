"""A run that is killed at any write goes on to the same artifacts: a few points of the whole matrix."""

from pathlib import Path

import pytest

from benchmarks.crash_matrix import open_runner, run_undisturbed, spread, try_point

pytestmark = pytest.mark.timeout(580)


def test_points_are_spread_evenly() -> None:
    points = [(number, when) for number in range(1, 6) for when in ("before", "after")]
    assert spread(points, 3) == [(1, "before"), (2, "after"), (4, "before")]
    assert spread(points, None) == spread(points, 99) == points


@pytest.mark.slow
def test_killed_at_six_writes_the_run_goes_on_to_the_same_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPTOOL_CACHE", str(tmp_path / "cache"))
    with open_runner(tmp_path) as runner:
        calm = run_undisturbed(runner)
        stages = {path.split("/")[4] for path in calm.digests}
        assert stages == {
            "tools", "plan", "seed", "validate", "pool", "dataset", "train", "evaluate", "probe",
            "judge", "expand", "scout", "merge",
        }  # fmt: skip
        assert len(calm.points) >= 60
        for point in spread(calm.points, 6):
            row = try_point(runner, calm, point)
            assert row["passed"], row
