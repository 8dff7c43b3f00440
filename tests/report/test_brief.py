"""An iteration in short: what the page says, and that nobody else's text becomes markup."""

from pathlib import Path

import pytest

from looptool.errors import CampaignError
from looptool.report import draw_accuracy, render_brief
from tests.report.conftest import HOSTILE, Lake


def test_it_says_what_became_of_the_policy_and_by_how_much(lake: Lake) -> None:
    text = render_brief(lake.finished(rounds=2).store, "demo", 2)
    assert text.startswith("# demo · iteration 2\n")
    assert "**M2 is promoted:** the next round starts from it." in text
    assert "Held-out accuracy **60.0 %**, +10.0 points over M1." in text
    assert "| all | 50.0 | **60.0** | +10.0 | 50–70 | 100 |" in text


def test_data_verdicts_and_costs_are_counted(lake: Lake) -> None:
    text = render_brief(lake.finished(rounds=1).store, "demo", 1)
    assert "| samples | D1, trained on | D2, next |" in text
    assert "| seed | 20 | 0 |" in text
    assert "| error seed | 0 | 20 |" in text
    assert "Of 12 new samples that were scouted M1 gets 5 right sometimes." in text
    assert "unused seeds that were scouted" not in text  # none were
    assert "16 answers differed from their label." in text
    assert "| `LABEL_WRONG` | 4 | 25 % |" in text
    assert "Labels changed: 4 of 4 proposed." in text
    assert "| judge | – | 16 | 9 | 750 | 0.50 |" in text


def test_the_curve_is_a_picture_within_the_page(lake: Lake) -> None:
    lake.finished(rounds=1)
    curve = draw_accuracy(lake.store, "demo")
    assert curve.startswith(b"\x89PNG")
    assert "](data:image/png;base64,iVBOR" in render_brief(lake.store, "demo", 1, curve)
    assert "data:image" not in render_brief(lake.store, "demo", 1)


def test_an_iteration_that_is_not_complete_has_no_page(lake: Lake) -> None:
    lake.finished(rounds=1)
    with pytest.raises(CampaignError, match="iteration 2 of campaign demo is not complete"):
        render_brief(lake.store, "demo", 2)
    with pytest.raises(CampaignError, match="no campaign other"):
        draw_accuracy(lake.store, "other")


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    hostile = Lake(tmp_path / "lake", words=HOSTILE)
    dataset = hostile.seed_phase()
    hostile.round(1, dataset, judge_trust_reason=HOSTILE)
    text = render_brief(hostile.store, "demo", 1)
    assert "\\<script\\>" in text
    assert "<script" not in text.replace("\\<", "")
    assert all(line.count("\n") == 0 for line in text.splitlines())
