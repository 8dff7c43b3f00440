"""Scores of a benchmark: what is counted where, in the store, the report and the store's cleaning."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from looptool.artifacts import ArtifactWriter, Store
from looptool.campaign import Campaign, CampaignFile, computed_settings
from looptool.cli import app
from looptool.config import LoopConfig, parse_config
from looptool.errors import ConfigError
from looptool.records import BenchmarkItem, BenchmarkScore
from looptool.report import render_report
from looptool.retention import plan_removals
from looptool.suites import list_categories, narrow, score_category, score_rows
from looptool.suites.harness import grade
from looptool.suites.strict import Verdict
from tasks.scope import Scope, stage_key

HOSTILE = "<script>window.pwned=1</script>"


def item(official: bool | None, strict: bool | None, **more: str) -> BenchmarkItem:
    return BenchmarkItem(
        benchmark="bfcl_v4", category="multiple", item_id="multiple_0", official=official,
        strict=strict, called=True, answer=f"[{HOSTILE}]", **more,
    )  # fmt: skip


ITEMS = [
    item(True, True),
    item(True, False),
    item(False, True),
    item(False, False),
    item(True, None),
    item(None, None, error="Error during inference: 500"),
]
SUMMARY = {"version": "2026.3.23", "available": 200, "reported": 0.5}


def test_failed_requests_and_undecided_items_are_in_no_accuracy() -> None:
    score = score_category(ITEMS, SUMMARY)
    assert (score.n, score.available, score.errors, score.decided) == (6, 200, 1, 4)
    assert (score.official, score.strict) == (3 / 5, 2 / 4)
    assert (score.only_official, score.only_strict) == (1, 1)
    assert score.official_low is not None
    assert score.official_low < 0.6 < (score.official_high or 0)


def test_without_a_single_answer_there_is_no_accuracy() -> None:
    score = score_category(ITEMS[-1:], SUMMARY)
    assert (score.errors, score.official, score.strict) == (1, None, None)
    (row,) = score_rows([score])
    assert row == ("multiple", "1 of 200", "1", "–", "–", "0", "0")


def test_a_failed_request_has_no_verdict_whatever_the_grader_made_of_it() -> None:
    """BFCL counts it as right where no call was due."""
    row = {"id": "irrelevance_0", "answer": "Error during inference: 500", "failed": True,
           "valid": True, "why": "", "functions": [], "label": None}  # fmt: skip
    graded = grade("bfcl_v4", "irrelevance", row, lambda *_: Verdict(True))
    assert (graded.official, graded.strict, graded.error) == (None, None, row["answer"])


def write_scores(store: Store, iteration: int, score: BenchmarkScore) -> None:
    folder = Campaign(store, "demo").folder(iteration)
    writer = ArtifactWriter(store, folder, score.benchmark, f"k{iteration}-{score.n}")
    writer.write("benchmark_items", "benchmark_items", ITEMS)
    writer.write("benchmark_scores", "benchmark_scores", [score])
    writer.commit({}, {}, {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    body = CampaignFile(name="demo", settings={}).model_dump_json()
    store.put(store.path("campaigns", "demo", "campaign.json"), body.encode())
    return store


def test_the_report_has_a_table_for_each_benchmark_and_never_one_for_two(store: Store) -> None:
    v4 = score_category(ITEMS, SUMMARY)
    v3 = v4.model_copy(update={"benchmark": "bfcl_v3", "version": "2025.8.6.2", "available": 6})
    write_scores(store, 0, v4)
    write_scores(store, 1, v4.model_copy(update={"n": 5, "official": 0.123, "version": HOSTILE}))
    write_scores(store, 1, v4.model_copy(update={"official": 0.789}))
    write_scores(store, 1, v3)
    page = render_report(store, "demo")
    assert "bfcl_v4 (2026.3.23)" in page
    assert "bfcl_v3 (2025.8.6.2)" in page
    section = page[page.index("Published benchmarks") :]
    assert "6 of 200" in section
    assert "78.9%" in section
    assert "12.3%" not in section  # of two measurements the one of more items
    assert "<script>window.pwned" not in page


def test_a_campaign_without_a_benchmark_says_how_to_run_one(store: Store) -> None:
    assert "No benchmark has been run: looptool-evaluate runs them." in render_report(store, "demo")


def test_results_of_benchmarks_survive_the_cleaning_of_the_store(store: Store) -> None:
    write_scores(store, 0, score_category(ITEMS, SUMMARY))
    plan = plan_removals(store, keep_checkpoints=1, age_s=0.0, now=4e9)
    assert not [removal for removal in plan.removals if removal.why == "unreachable"]


def test_settings_of_a_benchmark_bind_no_campaign_but_name_its_result() -> None:
    few = parse_config({"benchmarks": {"bfcl_v4": {"limit": 5}, "threads": 3}})
    assert computed_settings(few) == computed_settings(LoopConfig())

    def key(config: LoopConfig, stage: str) -> str:
        return stage_key(stage, Scope(campaign="demo", iteration=1, config=config), {})

    assert key(few, "bfcl_v4") != key(LoopConfig(), "bfcl_v4")
    assert key(few, "bfcl_v3") == key(LoopConfig(), "bfcl_v3")
    assert key(few, "evaluate") == key(LoopConfig(), "evaluate")


def test_what_cannot_be_run_is_said_before_anything_is_started(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    config = parse_config({"benchmarks": {"bfcl_v4": {"python": str(python)}}})
    assert list_categories("bfcl_v4", narrow(config, "bfcl_v4", ["multiple"], 3)) == ("multiple",)
    with pytest.raises(
        ConfigError, match=r"web_search_base cannot be run; there are simple_python"
    ):
        list_categories("bfcl_v4", narrow(config, "bfcl_v4", ["web_search_base"], None))
    said = CliRunner().invoke(
        app, ["evaluate", "nobody", "--benchmark", "bfcl_v4", "--root", str(tmp_path)]
    )
    assert said.exit_code == 1
    assert "no campaign of 1 complete iterations" in said.output
