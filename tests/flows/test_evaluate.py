"""The deployment `looptool-evaluate/evaluate`: a policy measured from the UI, its scores beside it."""

import sys
from pathlib import Path

import pytest

from deployments.api import post
from looptool.artifacts import Store
from looptool.records import BenchmarkScore, Score
from tests.flows.conftest import Prefect
from tests.suites.clone import make_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_base_policy_is_scored_on_held_out_samples_and_on_a_benchmark(
    prefect: Prefect, tmp_path: Path
) -> None:
    clone, commit = make_clone(tmp_path / "clone")
    section = {"clone": str(clone), "commit": commit, "python": sys.executable}
    overrides = {f"benchmarks.acebench.{key}": value for key, value in section.items()}
    parameters = prefect.parameters("measured", overrides=overrides) | {
        "benchmarks": ["acebench"],
        "categories": ["normal_atom_bool", "special_irrelevant"],
        "limit": 4,
    }
    run_id = prefect.press_run(of="looptool-evaluate/evaluate", **parameters)
    assert prefect.wait(run_id) == "COMPLETED", prefect.explain(run_id)
    tasks = prefect.settled(run_id)
    assert {"evaluate-0", "acebench-0"} <= tasks.keys()

    store = Store(str(prefect.lake))
    (folder,) = Path(prefect.lake, "campaigns/measured/iterations/0000/acebench").iterdir()
    ref = store.ref(folder.as_uri())
    assert ref is not None
    scores = store.read(ref, "benchmark_scores", BenchmarkScore)
    assert [(s.category, s.n, s.available) for s in scores] == [
        ("normal_atom_bool", 4, 6),
        ("special_irrelevant", 4, 6),
    ]
    assert ref.rows["benchmark_items"] == 8
    (held_out,) = Path(prefect.lake, "campaigns/measured/iterations/0000/evaluate").iterdir()
    held_out_ref = store.ref(held_out.as_uri())
    assert held_out_ref is not None
    assert store.read(held_out_ref, "scores", Score)
    shown = post(prefect.client, "/artifacts/filter", {"limit": 100})
    (table,) = [row for row in shown if row["key"] == "acebench-0" and row["type"] == "markdown"]
    assert "| normal_atom_bool | 4 of 6 |" in table["data"]

    again = prefect.press_run(of="looptool-evaluate/evaluate", **parameters)
    assert prefect.wait(again) == "COMPLETED", prefect.explain(again)
    assert prefect.settled(again)["acebench-0"] == "Cached"
    missing = prefect.press_run(of="looptool-evaluate/evaluate", **(parameters | {"iteration": 3}))
    assert prefect.wait(missing) == "FAILED"
    assert "there is no M_3 yet" in prefect.explain(missing)
