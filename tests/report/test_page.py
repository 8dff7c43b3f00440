"""What the page says about a campaign, whole or in pieces."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from looptool.artifacts import Store
from looptool.errors import CampaignError, ConfigError
from looptool.records import Judgement
from looptool.report import render_report
from looptool.report.lake import Lake as Reader
from looptool.report.samples import BYTES, read_browser
from looptool.report.text import script_json
from tests.report.conftest import Lake

SECTIONS = (
    "Accuracy",
    "Learnt and forgotten",
    "Published benchmarks",
    "The data",
    "How sure the model was",
    "From label to fate",
    "The judge, measured",
    "Kinds of errors",
    "What was refused",
    "Cost, tokens, time",
    "Samples",
)
RATE = {"hits": 27, "n": 30, "rate": 0.9, "low": 0.74, "high": 0.97}
MEASURE = {
    "confusion": {
        "LABEL_WRONG": {"LABEL_WRONG": 27, "PRED_WRONG": 2, "unjudged": 1},
        "PRED_WRONG": {"PRED_WRONG": 30},
    },
    "recall": {"LABEL_WRONG": RATE},
    "by_change": {"wrong_value": RATE},
    "by_model": {"scripted": {"right": RATE, "unreadable": 4}},
    "by_order": {"label_first": {"right": RATE, "unreadable": 0}},
    "first_blamed": RATE,
    "precision": {"estimate": 0.93, "low": 0.81, "high": 0.98, "wrong_label_rate": 0.2},
    "trust": {"trusted": False, "reason": "0.81 is below judge.precision_floor 0.85"},
}


class Text(HTMLParser):
    """The words of a page without its style and script, and its headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.headings: list[str] = []
        self.images: list[str] = []
        self._inside: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        if tag == "svg":
            self.images.append(dict(attrs).get("aria-label") or "")

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._inside):
            return
        self.words.append(data)
        if self._inside and self._inside[-1] == "h2":
            self.headings.append(data)


def test_all_sections_of_two_rounds_are_there_with_their_charts(two_rounds: str) -> None:
    page = Text(two_rounds)
    assert tuple(page.headings) == SECTIONS
    assert "rounds complete 2" in page.text
    assert "right, all 40.0% → 60.0%" in page.text
    assert "M2 all 60.0% 50.0% – 70.0% 100" in page.text
    for title in (
        "All held-out samples",
        "Kind single",
        "Held-out samples by state",
        "Learnt (up) and forgotten (down)",
        "Samples by origin",
        "Round 2: samples by perplexity",
        "Samples by pass rate of their rollouts",
        "Error types, by the judge",
        "Refused, by stage and rule",
        "Minutes by stage",
        "US$ by stage",
    ):
        assert title in page.images


def test_the_figures_below_the_charts_are_those_of_the_tables(two_rounds: str) -> None:
    page = Text(two_rounds)
    assert "M0→M1 40 10 0 0.0%" in page.text  # right before, learnt, forgotten
    assert "matched 4 4 PRED_WRONG 4 4 LABEL_WRONG 4 4 BOTH_WRONG 4 4 unjudged 4 4" in page.text
    assert "seed 20 0 0 all 20 20 20" in page.text
    assert "reason round 1 round 2 dropped: both_wrong 3 3" in page.text
    assert "validate: ungrounded 1 all 1" in page.text
    assert "another value 16 16" in page.text


def test_the_measure_of_the_judge_is_shown_with_its_intervals(lake: Lake) -> None:
    lake.round(1, lake.seed_phase(), measure=MEASURE)
    page = Text(lake.report())
    assert "Round 1: truth (rows) and verdict" in page.images
    assert "Round 1: no label was replaced. 0.81 is below judge.precision_floor" in page.text
    assert "LABEL_WRONG 2 27 0 0 1" in page.text
    assert "1 93.0% 81.0% – 98.0%" in page.text
    assert "1 votes of scripted 90.0% 74.0% – 97.0% 30 4" in page.text


def test_the_yield_of_the_expansion_is_shown_by_error_type(lake: Lake) -> None:
    lake.seed_phase()
    group = {"seeds": 3, "wanted": 12, "attempted": 14, "accepted": 9}
    lake.write(1, "expand", {}, report=group | {"by_error_type": {"wrong_value": group}})
    page = Text(lake.report())
    assert "1 wrong_value 3 12 14 9 75.0% 1 all 3 12 14 9 75.0%" in page.text


def test_a_campaign_that_has_not_begun_gives_a_page_that_says_so(lake: Lake) -> None:
    page = Text(lake.report())
    assert "No checkpoint has been evaluated yet." in page.text
    assert "No dataset has been made yet." in page.text
    assert "No round has been judged." in page.text
    assert "0 of 0 samples" in page.text


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("probe", "Round 1 has not been judged."),
        ("judge", "not merged yet"),
        ("merge", "round under way 1"),
    ],
)
def test_an_unfinished_round_is_shown_as_far_as_it_has_got(
    lake: Lake, until: str, said: str
) -> None:
    lake.round(1, lake.seed_phase(), until=until)
    page = Text(lake.report())
    assert tuple(page.headings) == SECTIONS
    assert said in page.text
    assert "20 of 20 samples of all rounds" in page.text


def test_a_damaged_table_is_named_and_the_rest_stands(lake: Lake) -> None:
    lake.finished(rounds=1)
    part = next((lake.root / "campaigns").rglob("0001/judge/*/judgements-00000.*parquet"))
    part.write_bytes(b"not parquet")
    page = Text(lake.report())
    assert page.headings[0] == "What could not be read"
    assert "table judgements of judge" in page.text
    assert "right, all 40.0% → 50.0%" in page.text


def test_statistics_of_an_unknown_shape_cost_one_section_at_most(lake: Lake) -> None:
    lake.round(1, lake.seed_phase(), measure={"confusion": {"LABEL_WRONG": "many"}, "trust": 3})
    page = Text(lake.report())
    assert "Accuracy" in page.headings
    assert "Samples" in page.headings


def test_a_campaign_that_is_not_there_is_an_error(lake: Lake) -> None:
    with pytest.raises(CampaignError, match="no campaign other"):
        render_report(lake.store, "other")


def test_without_the_chart_library_the_error_names_the_extra(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigError, match=r"looptool\[report\]"):
        lake.finished(rounds=1).report()


def test_a_moved_store_gives_the_same_page(two_rounds: str, lake: Lake, tmp_path: Path) -> None:
    shutil.move(lake.finished().root, tmp_path / "elsewhere")
    moved = render_report(Store(str(tmp_path / "elsewhere")), lake.name)
    assert moved == two_rounds


def test_of_two_artifacts_of_a_stage_the_one_counts_that_the_record_was_built_from(
    lake: Lake,
) -> None:
    lake.finished(rounds=1)
    before = Reader(lake.store, "demo").stage(1, "judge")
    stray: list[Judgement] = []
    lake.write(1, "judge", {"judgements": ("judgements", stray)}, key="stray", by_verdict={})
    assert len(Reader(lake.store, "demo").all_of(1, "judge")) == 2
    assert Reader(lake.store, "demo").stage(1, "judge") == before


def test_the_accuracy_of_a_static_campaign_is_a_dashed_line(lake: Lake, two_rounds: str) -> None:
    assert 'stroke-dasharray="5,4"' not in _chart(two_rounds, "All held-out samples")
    lake.finished(rounds=1)
    Lake(lake.root, "demo-static").finished(rounds=1)
    assert 'stroke-dasharray="5,4"' in _chart(lake.report(), "All held-out samples")


def test_a_capped_sample_list_says_so_and_shows_mismatches_first(lake: Lake) -> None:
    html = lake.finished().report(rows=33)
    assert "33 of 40 samples of all rounds are in this page" in Text(html).text
    assert "32 of the 32 whose answer did not match" in Text(html).text
    rows = _data(html)["rows"]
    assert [row["round"] for row in rows] == [2] * 16 + [1] * 16 + [2]
    assert [row["outcome"] == "matched" for row in rows] == [False] * 32 + [True]


def test_each_tool_is_embedded_once(two_rounds: str) -> None:
    data = _data(two_rounds)
    assert [tool["name"] for tool in data["tools"]] == ["get_weather"]
    assert all(row["tools"] == [0] for row in data["rows"])


def test_huge_samples_are_cut_and_their_data_stays_within_its_bytes(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", words="<b>&" * 5_000).finished(rounds=1, size=400)
    browser = read_browser(Reader(lake.store, "demo"))
    assert 50 < len(browser.rows) < browser.total == 400
    assert 0.9 * BYTES < len(script_json(browser.payload()).encode()) < 1.01 * BYTES


def test_a_page_of_huge_texts_is_below_five_megabytes(hostile: str) -> None:
    assert len(hostile.encode()) < 5_000_000


def _chart(html: str, title: str) -> str:
    return next(svg for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL) if title in svg)


def _data(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_what_scouting_found_is_told_by_round(two_rounds: str) -> None:
    said = " ".join(Text(two_rounds).words)
    assert re.search(r"right sometimes.*1\s+new samples\s+12\s+5\s+1\s+4\s+2", said, re.DOTALL)
