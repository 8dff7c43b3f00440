"""The page says what the rows say, and nothing where there are none."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from benchmarks.closed_loop.__main__ import RESULTS
from benchmarks.closed_loop.charts import curves, draw
from benchmarks.closed_loop.page import DOCS, make_page, write_page
from benchmarks.closed_loop.rows import Row, RowFile
from benchmarks.closed_loop.tables import Aim, Rows, judge_aims
from tests.evidence.made_up import ground, identity, make_rows, round_row

ABLATED = {
    "no_scout": 0.58,
    "no_jglv": 0.57,
    "no_edde": 0.58,
    "no_high_ppl": 0.59,
    "edde_as_copies": 0.57,
    "edde_as_high_ppl": 0.58,
}


def aims(rows: Sequence[Row]) -> list[Aim]:
    return judge_aims(Rows(rows))


def test_without_rows_every_aim_and_section_says_that_nothing_was_run() -> None:
    assert [aim.verdict for aim in aims([])] == ["not run yet"] * 4
    page = make_page([])
    assert not page.charts
    for command in ("", " --only main", " --only ablations", " --only noise", " --verify loop 0"):
        assert f"Not run yet: `python -m benchmarks.closed_loop{command}`." in page.text


def test_aims_hold_when_the_rows_say_so() -> None:
    rows = make_rows({"loop": 0.6, "static": 0.55} | ABLATED, (0, 1, 2))
    gain, ablations, labels, relevance = aims(rows)
    assert (gain.verdict, ablations.verdict) == ("holds", "holds")
    assert gain.evidence.startswith("+5.0 (")
    assert ablations.evidence == "6 of 6 are below, 6 with an interval below 0"
    assert labels.verdict == "holds"
    assert labels.evidence.startswith("12.0% -> 3.0%")
    assert relevance.verdict == "holds"


def test_a_gain_below_three_points_does_not_hold_however_sure() -> None:
    gain = aims(make_rows({"loop": 0.6, "static": 0.58}, (0, 1, 2)))[0]
    assert gain.verdict == "does not hold"
    assert gain.evidence.startswith("+2.0 (+1.")


def test_one_ablation_above_the_loop_is_named() -> None:
    rows = make_rows({"loop": 0.6, "static": 0.55} | ABLATED | {"no_edde": 0.61}, (0, 1, 2))
    ablations = aims(rows)[1]
    assert ablations.verdict == "does not hold"
    assert "not below: without EDDE" in ablations.evidence


def test_a_verdict_from_too_few_seeds_is_one_so_far() -> None:
    gain, ablations, *_ = aims(make_rows({"loop": 0.6, "static": 0.5, "no_edde": 0.5}, (0,)))
    assert gain.verdict == "holds so far"
    assert ablations.verdict == "holds so far"


def test_few_wrong_labels_from_the_start_prove_nothing_about_their_removal() -> None:
    rows = [ground(0), *(round_row("loop", 0, n, 0.5, wrong=8) for n in range(1, 5))]
    labels = aims(rows)[2]
    assert labels.verdict == "undecided"
    assert "no run starts near 12%" in labels.evidence


def test_a_fall_of_relevance_beyond_the_error_does_not_hold() -> None:
    rows = [ground(0, 0.6), *(round_row("loop", 0, n, 0.4) for n in range(1, 5))]
    assert aims(rows)[3].verdict == "does not hold so far"
    rows = [ground(0, 0.6), *(round_row("loop", 0, n, 0.5925) for n in range(1, 5))]
    assert aims(rows)[3].verdict == "undecided so far"


def test_the_page_shows_arms_sweeps_and_second_runs() -> None:
    rows = make_rows({"loop": 0.6, "static": 0.55} | ABLATED, (0, 1))
    rows += make_rows({"loop": 0.55, "static": 0.5, "no_jglv": 0.51}, (0,), noise=0.24)
    rows += make_rows({"no_jglv_no_scout": 0.57}, (0, 1))
    rows += [r for r in make_rows({"loop": 0.5}, (0,), judge=0.6) if r["kind"] == "round"]
    rows += [round_row(arm, 0, n, 0.6) for arm in ("loop", "static") for n in range(5, 9)]
    counted = {"kind": "gradient", "right": [300, 150], "wrong": [20, 1]}
    rows += [{**identity("loop", 0), **counted, "round": n} for n in (1, 2, 3, 5)]
    same = {"round": 1, "dataset": True, "checkpoint": False, "answers": True}
    rows.append(
        {
            **identity("loop", 0),
            "kind": "verify",
            "threads": 1,
            "rounds": [same],
            "same_code": False,
        }
    )
    page = make_page(rows)
    assert {name.removeprefix("evidence-").removesuffix(".svg") for name in page.charts} == {
        "rounds", "ablations", "labels", "long", "noise", "judge",
    }  # fmt: skip
    assert "| without EDDE | 2 | -2.0 (" in page.text
    assert "| 24% | 12.0 | 3.0 | 55.0 (" in page.text
    assert "Highest: the loop 60.0 after round 4, static training 60.0 after round 5." in page.text
    assert "| scouted, 24% noise | 1 | -4.0 (" in page.text
    assert "| not scouted, 12% noise | 2 | -1.0 (" in page.text
    assert "| loop, 12% noise | 2 | 600 | 50.0 | 40 | 5.0 |" in page.text
    assert "the label of 30 of the loop's 540 mismatches (5.6%)" in page.text
    assert "| `loop`, seed 0 | 1 | 1 | same | **differs** | same |" in page.text
    assert "with another version of the stages' code" in page.text
    assert "Not run yet" not in page.text


def test_another_study_stays_on_the_page_in_short() -> None:
    first = make_rows({"loop": 0.5, "static": 0.55}, (0,), study="first")
    second = make_rows({"loop": 0.6, "static": 0.55}, (0,), study="second")
    page = make_page([*first, *second])
    assert "study `second`" in page.text
    assert "| first | 4 | -5.0 (" in page.text


def test_rows_under_another_setting_are_not_mixed_in() -> None:
    usual = make_rows({"loop": 0.6, "static": 0.55}, (0, 1))
    other = make_rows({"loop": 0.9, "static": 0.2}, (2,), setting="y")
    assert make_page([*usual, *other]).text == make_page(usual).text


def test_rehearsed_rows_are_never_shown_beside_measured_ones() -> None:
    measured = make_rows({"loop": 0.6, "static": 0.55}, (0,))
    rehearsed = [{**row, "rehearsed": True} for row in make_rows({"loop": 0.9}, (1,))]
    assert make_page([*measured, *rehearsed]).text == make_page(measured).text
    assert "A rehearsal" in make_page(rehearsed).text


def test_a_chart_is_drawn_as_svg() -> None:
    rows = [{"series": "<b>", "x": n, "y": 0.5, "low": 0.4, "high": 0.6} for n in range(3)]
    root = ET.fromstring(draw(curves(rows, "x", "y")))
    assert root.tag.endswith("svg")


def test_writing_the_page_removes_the_charts_that_it_no_longer_has(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "rows.jsonl")
    old = tmp_path / "images" / "evidence-noise.svg"
    old.parent.mkdir()
    old.write_text("")
    assert write_page(rows, docs=tmp_path) == [tmp_path / "evidence.md"]
    assert not old.exists()


def test_the_committed_page_is_what_the_committed_rows_say() -> None:
    rows = RowFile(DOCS.parent / RESULTS).read()
    assert make_page(rows).text == (DOCS / "evidence.md").read_text(encoding="utf-8")
