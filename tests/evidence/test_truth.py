"""What the measurement says about labels, with the truth that the pipeline never sees."""

from benchmarks.closed_loop.gradients import count_groups
from benchmarks.closed_loop.measure import describe_changes, describe_data
from looptool.records import (
    Judgement,
    Kind,
    Label,
    RolloutStat,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
)
from tests.rows import BOOK


def book(name: str, guests: int) -> Label:
    call = ToolCall(name="book_table", arguments={"restaurant": name, "guests": guests})
    return Label(calls=(call,))


def sample(name: str, label: Label) -> Sample:
    return make_sample(
        kind=Kind.SINGLE,
        split=Split.TRAIN,
        tools=(BOOK,),
        messages=(UserMessage(content=f"Please book a table at {name} for 4 guests."),),
        label=label,
        dialogue_id=name,
    )


def replace(one: Sample, label: Label | None) -> Judgement:
    return Judgement(
        sample_id=one.sample_id,
        verdict="LABEL_WRONG" if label else "PRED_WRONG",
        votes=(),
        predicted=label or Label(text="?"),
        new_label=label,
    )


def test_label_changes_are_told_by_what_they_did() -> None:
    wrong, right = book("Faro", 7), book("Luma", 4)
    samples = [
        sample("Faro", wrong),
        sample("Luma", right),
        sample("Nero", book("Nero", 1)),
        sample("Orso", book("Orso", 4)),
    ]
    judgements = [
        replace(samples[0], book("Faro", 4)),
        replace(samples[1], book("Luma", 9)),
        replace(samples[2], book("Nero", 2)),
        replace(samples[3], None),
    ]
    found = describe_changes(samples, judgements)
    assert found["by_verdict"] == {"LABEL_WRONG": 3, "PRED_WRONG": 1}
    assert (found["changed"], found["corrected"], found["spoilt"], found["still_wrong"]) == (
        3,
        1,
        1,
        1,
    )


def test_each_copy_of_a_wrong_label_counts() -> None:
    good, bad = sample("Faro", book("Faro", 4)), sample("Luma", book("Luma", 5))
    found = describe_data([good, bad, bad])
    assert (found["size"], found["distinct"], found["wrong"]) == (3, 2, 2)
    assert found["wrong_by_origin"] == {"seed": 2}


def test_a_group_with_both_rewards_carries_a_gradient_and_one_without_rollouts_is_none() -> None:
    stats = [
        RolloutStat(sample_id=name, rollouts=rollouts, passed=passed, parse_errors=0)
        for name, rollouts, passed in (
            ("mixed", 8, 3), ("never", 8, 0), ("always", 8, 8), ("wrong", 8, 0), ("unused", 0, 0),
        )
    ]  # fmt: skip
    assert count_groups(stats, {"wrong", "unused"}) == {"right": [3, 1], "wrong": [1, 0]}
