"""The measured precision holds the true one, and labels change only above the floor."""

from collections import Counter
from random import Random
from typing import Any, get_args

import pytest

from looptool.config import JudgeConfig
from looptool.judge import apply_trust, decide_trust, estimate_precision, measure_judge
from looptool.judge.plant import MIX
from looptool.judge.precision import count_confusion
from looptool.records import Judgement, Label, Planted, Verdict4, Vote

TRUTHS: tuple[Verdict4, ...] = get_args(Verdict4)
REAL: dict[Verdict4, float] = {
    "PRED_WRONG": 0.72, "LABEL_WRONG": 0.2, "BOTH_CORRECT": 0.03, "BOTH_WRONG": 0.05,
}  # fmt: skip
"""What real mismatches are; quite another mix than that of planted pairs."""


def say(truth: Verdict4, accuracy: float, rng: Random) -> Verdict4:
    others = [verdict for verdict in TRUTHS if verdict != truth]
    return truth if rng.random() < accuracy else rng.choice(others)


def judge(truth: Verdict4, accuracy: float, rng: Random) -> str:
    """One vote in each order; they must agree."""
    one, other = say(truth, accuracy, rng), say(truth, accuracy, rng)
    return one if one == other else "unjudged"


def true_precision(accuracy: float) -> float:
    hit, miss = accuracy**2, ((1 - accuracy) / 3) ** 2
    said = {t: p * (hit if t == "LABEL_WRONG" else miss) for t, p in REAL.items()}
    return said["LABEL_WRONG"] / sum(said.values())


def run(accuracy: float, seed: int) -> Any:
    rng = Random(seed)
    planted = [
        (t, judge(t, accuracy, rng)) for t, share in MIX.items() for _ in range(int(200 * share))
    ]
    truths = rng.choices(list(REAL), list(REAL.values()), k=300)
    verdicts = Counter(judge(truth, accuracy, rng) for truth in truths)
    return estimate_precision(count_confusion(planted), verdicts, seed)


@pytest.mark.parametrize("accuracy", [0.9, 0.75, 0.6])
def test_the_interval_holds_the_true_precision_in_90_of_100_repetitions(accuracy: float) -> None:
    found = [run(accuracy, seed) for seed in range(100)]
    true = true_precision(accuracy)
    assert sum(p.low <= true <= p.high for p in found) >= 90
    # An interval that always holds everything would say nothing.
    assert sum(p.high - p.low for p in found) / 100 < {0.9: 0.25, 0.75: 0.5, 0.6: 0.8}[accuracy]


def test_a_good_judge_is_trusted_and_a_poor_one_is_not() -> None:
    config = JudgeConfig()
    good = [decide_trust(run(0.95, seed), config).trusted for seed in range(20)]
    poor = [decide_trust(run(0.6, seed), config).trusted for seed in range(20)]
    assert sum(good) >= 18
    assert sum(poor) <= 2


def test_the_mix_of_the_planted_pairs_does_not_decide_the_precision() -> None:
    confusion = {
        "PRED_WRONG": {"PRED_WRONG": 95, "LABEL_WRONG": 5},
        "LABEL_WRONG": {"LABEL_WRONG": 90, "unjudged": 10},
        "BOTH_CORRECT": {"BOTH_CORRECT": 100},
        "BOTH_WRONG": {"BOTH_WRONG": 100},
    }
    # 1000 mismatches with 100 wrong labels: 90 found, and 45 right ones blamed.
    found = estimate_precision(
        confusion, {"PRED_WRONG": 855, "LABEL_WRONG": 135, "unjudged": 10}, 0
    )
    assert found is not None
    assert found.estimate == pytest.approx(90 / 135, abs=0.02)
    assert found.wrong_label_rate == pytest.approx(0.1, abs=0.01)


def test_without_planted_pairs_of_each_truth_nothing_is_measured() -> None:
    assert estimate_precision({}, {"LABEL_WRONG": 9}, 0) is None
    trust = decide_trust(None, JudgeConfig())
    assert not trust.trusted
    assert "planted" in trust.reason
    assert decide_trust(None, JudgeConfig(precision_floor=0)).trusted


NEW = Label(text="Which room?")


def proposal(sample_id: str = "s-1") -> Judgement:
    return Judgement(
        sample_id=sample_id, verdict="LABEL_WRONG", votes=(), predicted=NEW, proposed_label=NEW
    )


def test_below_the_floor_the_proposal_stays_visible_and_nothing_is_replaced() -> None:
    config = JudgeConfig()
    trust = decide_trust(run(0.6, 0), config)
    (withheld,) = apply_trust([proposal()], config, trust)
    assert (withheld.verdict, withheld.new_label) == ("LABEL_WRONG", None)
    assert withheld.proposed_label == NEW
    assert "precision_floor" in withheld.note


def test_applying_trust_twice_is_the_same_as_once() -> None:
    config = JudgeConfig()
    poor, good = decide_trust(run(0.6, 0), config), decide_trust(run(0.99, 0), config)
    (once,) = apply_trust([proposal()], config, good)
    assert once.new_label == NEW
    assert list(apply_trust(apply_trust([proposal()], config, poor), config, good)) == [once]


def planted(truth: Verdict4, *votes: tuple[str, bool, str], verdict: str = "unjudged") -> Planted:
    return Planted.model_validate(
        {
            "sample_id": "s-p", "source_id": "s-q", "truth": truth, "label_change": "wrong_value",
            "predicted_change": "", "label": NEW, "predicted": NEW, "verdict": verdict,
            "votes": [Vote.model_validate({"model": m, "label_first": f, "verdict": v})
                      for m, f, v in votes],
        }
    )  # fmt: skip


def test_the_judge_is_measured_by_model_and_by_order() -> None:
    # `a` is always right; `b` always blames the first answer.
    rows = [
        planted(
            "LABEL_WRONG",
            ("a", True, "LABEL_WRONG"), ("a", False, "LABEL_WRONG"),
            ("b", True, "LABEL_WRONG"), ("b", False, "PRED_WRONG"),
        )
        for _ in range(10)
    ]  # fmt: skip
    found = measure_judge(rows, [rows[:4]], [], JudgeConfig(), 0)
    assert (found.planted, found.pooled, found.rounds) == (10, 4, 2)
    assert (found.by_model["a"].right.rate, found.by_model["b"].right.rate) == (1.0, 0.5)
    assert found.by_model["a"].first_blamed.rate == 0.5
    assert found.by_model["b"].first_blamed.rate == 1.0
    assert found.by_order["label_first"].right.rate == 1.0
    assert found.by_order["prediction_first"].right.rate == 0.5
    low, high = found.first_blamed.low, found.first_blamed.high
    assert low < found.first_blamed.rate == 0.75 < high
    assert found.confusion["LABEL_WRONG"]["unjudged"] == 14
    assert found.by_change["wrong_value"].n == 14
    assert not found.trust.trusted


def test_unreadable_votes_are_counted_apart() -> None:
    rows = [planted("PRED_WRONG", ("a", True, "unreadable"), ("a", False, "PRED_WRONG"))]
    report = measure_judge(rows, [], [], JudgeConfig(), 0).by_model["a"]
    assert (report.unreadable, report.right.n, report.right.hits) == (1, 1, 1)
