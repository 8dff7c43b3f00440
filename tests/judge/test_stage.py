"""The stage as the flow runs it: planted pairs among the real ones, parts, and what they add up to."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from looptool.artifacts import ArtifactRef
from looptool.calls import render_calls
from looptool.config import parse_config
from looptool.records import (
    Judgement,
    Kind,
    Label,
    Planted,
    ProbeResult,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from tasks.judge import deal_batches, judge
from tasks.scope import Scope, Stage
from tests.rows import BOOK

CANCEL = make_tool(
    "cancel_table",
    "Cancels a table at a restaurant.",
    {
        "type": "object",
        "properties": {"restaurant": {"type": "string", "description": "Name of the restaurant."}},
        "required": ["restaurant"],
    },
)
NAMES = ("Faro", "Luma", "Nero", "Orso", "Pino", "Riva", "Sole", "Tavo", "Ugo", "Vela")


def book(name: str, guests: int) -> ToolCall:
    return ToolCall(name="book_table", arguments={"restaurant": name, "guests": guests})


def make_samples() -> list[Sample]:
    return [
        make_sample(
            kind=Kind.SINGLE,
            split=Split.TRAIN,
            tools=(BOOK, CANCEL),
            messages=(
                UserMessage(
                    content=f"Book a table at the restaurant {name} with number of guests {guests}."
                ),
            ),
            label=Label(calls=(book(name, guests),)),
            dialogue_id=f"d-{name}-{guests}",
        )
        for name in NAMES
        for guests in (2, 3, 4, 5)
    ]


def answer(sample: Sample, call: ToolCall, matched: bool) -> ProbeResult:
    return ProbeResult(
        sample_id=sample.sample_id,
        output=render_calls([{"name": call.name, "arguments": call.arguments}], ""),
        matched=matched,
        relaxed=matched,
        called=True,
        tokens=9,
        ppl_output=1.1,
    )


def make_scope(root: Path, iteration: int = 1, **judging: Any) -> Scope:
    config = parse_config(
        {
            "store": {"root": str(root)},
            "teacher": {"simulator": {"noise": {"wrong_verdict_rate": judging.pop("noise", 0.0)}}},
            "judge": {"planted_min": 60, "shard_size": 8, **judging},
        }
    )
    return Scope(campaign="c", iteration=iteration, config=config)


def make_inputs(scope: Scope) -> tuple[ArtifactRef, ArtifactRef]:
    """Forty samples: 24 mastered, 8 with a wrong prediction, 8 with a wrong label."""
    samples = make_samples()
    dataset, probes = [], []
    for number, sample in enumerate(samples):
        right = sample.label.calls[0]
        wrong = ToolCall(name="book_table", arguments={**right.arguments, "guests": 9})
        if number < 24:
            row, said = sample, right
        elif number < 32:
            row, said = sample, wrong
        else:
            row = sample.model_copy(update={"label": Label(calls=(wrong,))})
            said = right
        dataset.append(row)
        probes.append(answer(row, said, matched=number < 24))
    first = Stage("dataset", scope, {"pool": "p"})
    first.writer.write("samples", "samples", dataset)
    second = Stage("probe", scope, {"policy": "p"})
    second.writer.write("probes", "probes", probes)
    return first.commit({}), second.commit({})


def run(scope: Scope, earlier: tuple[ArtifactRef, ...] = ()) -> ArtifactRef:
    dataset, probes = make_inputs(scope)
    return judge.fn(scope=scope, dataset=dataset, probes=probes, earlier=earlier)


def stats(scope: Scope, ref: ArtifactRef) -> dict[str, Any]:
    return dict(scope.store().manifest_of(ref).stats)


def test_a_sound_judge_is_measured_and_its_labels_are_applied(tmp_path: Path) -> None:
    scope = make_scope(tmp_path, precision_floor=0.5)
    ref = run(scope)
    rows = scope.store().read(ref, "judgements", Judgement)
    assert [row.verdict for row in rows] == ["PRED_WRONG"] * 8 + ["LABEL_WRONG"] * 8
    assert all(row.new_label == row.predicted for row in rows[8:])
    told = stats(scope, ref)
    assert told["judge_trusted"]
    assert told["report"]["mismatches"] == 16
    assert told["report"]["labels_replaced"] == 8
    assert told["measure"]["planted"] == 60
    assert {t: r["rate"] for t, r in told["measure"]["recall"].items()}.keys() >= {"LABEL_WRONG"}


def test_planted_pairs_are_stored_apart_and_never_among_the_judgements(tmp_path: Path) -> None:
    scope = make_scope(tmp_path)
    ref = run(scope)
    planted = scope.store().read(ref, "planted", Planted)
    rows = scope.store().read(ref, "judgements", Judgement)
    assert len(planted) == 60
    assert not {p.sample_id for p in planted} & {row.sample_id for row in rows}
    assert all(len(p.votes) == 2 for p in planted)
    assert {p.truth for p in planted} >= {"PRED_WRONG", "LABEL_WRONG", "BOTH_WRONG"}


def test_a_poor_judge_changes_no_label_and_the_run_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scope = make_scope(tmp_path, noise=0.5, both_orders=False)
    with caplog.at_level(logging.WARNING, "looptool"):
        ref = run(scope)
    rows = scope.store().read(ref, "judgements", Judgement)
    assert all(row.new_label is None for row in rows)
    proposals = [row for row in rows if row.proposed_label]
    assert proposals
    assert all(row.verdict == "LABEL_WRONG" for row in proposals)
    told = stats(scope, ref)
    assert not told["judge_trusted"]
    assert told["judge_trust_reason"]
    assert f"{len(proposals)} proposed labels are withheld" in caplog.text


@pytest.mark.parametrize("damage", ["planted-00001.*.parquet", "usage-00001.json", "manifest.json"])
def test_a_part_that_is_gone_is_judged_again_and_the_rest_is_kept(
    tmp_path: Path, damage: str
) -> None:
    scope = make_scope(tmp_path, noise=0.1)
    before = run(scope)
    told = stats(scope, before)
    folder = Path(scope.store().strip(before.uri))
    numbers = {path.name.split(".")[0] for path in folder.glob("judgements-*.parquet")}
    assert len(numbers) == 4
    for gone in [folder / "manifest.json", *folder.glob(damage)]:
        gone.unlink(missing_ok=True)
    after = run(scope)
    assert after.digest == before.digest
    again = stats(scope, after)
    assert again["report"] == told["report"]
    assert again["measure"] == told["measure"]
    # Two parts share the teacher, so what one of them cost is known to within the other.
    assert told["teacher"]["judge"]["answers"] == 2 * 76
    assert abs(again["teacher"]["judge"]["answers"] - 2 * 76) <= 2 * 19


def test_neither_parts_nor_concurrency_change_a_row(tmp_path: Path) -> None:
    small = make_scope(tmp_path / "small", noise=0.2)
    large = make_scope(tmp_path / "large", noise=0.2, shard_size=256)
    rows = [
        sorted(
            (row.model_dump_json() for row in scope.store().read(ref, "judgements", Judgement)),
        )
        for scope, ref in ((small, run(small)), (large, run(large)))
    ]
    assert rows[0] == rows[1]


def test_rounds_of_the_same_judge_are_pooled_and_those_of_another_are_not(tmp_path: Path) -> None:
    first = make_scope(tmp_path)
    one = run(first)
    second = make_scope(tmp_path, iteration=2)
    measure = stats(second, run(second, (one,)))["measure"]
    assert (measure["planted"], measure["pooled"], measure["rounds"]) == (60, 60, 2)
    other = make_scope(tmp_path, iteration=3, temperature=0.7)
    measure = stats(other, run(other, (one,)))["measure"]
    assert (measure["pooled"], measure["rounds"]) == (0, 1)


def test_who_decides_may_change_without_asking_the_judge_again(tmp_path: Path) -> None:
    before = run(make_scope(tmp_path))
    assert run(make_scope(tmp_path, gate={"mode": "pause"})) == before
    assert run(make_scope(tmp_path, margin=2)) != before


def test_two_models_are_measured_one_by_one(tmp_path: Path) -> None:
    scope = make_scope(tmp_path, noise=0.3, votes=2, models=["scripted", "scripted-expert"])
    found = stats(scope, run(scope))["measure"]["by_model"]
    # The expert never errs: what it gets wrong is a planted pair whose truth is not the teacher's.
    assert found["scripted-expert"]["right"]["rate"] > found["scripted"]["right"]["rate"]


def test_a_round_without_mismatches_asks_nothing(tmp_path: Path) -> None:
    scope = make_scope(tmp_path)
    dataset, _ = make_inputs(scope)
    empty = Stage("probe", scope, {"policy": "other"})
    empty.writer.write("probes", "probes", [])
    ref = judge.fn(scope=scope, dataset=dataset, probes=empty.commit({}))
    told = stats(scope, ref)
    assert told["report"]["mismatches"] == told["measure"]["planted"] == 0
    assert (
        json.dumps(told["teacher"]).count("answers") == 0 or not told["teacher"]["judge"]["answers"]
    )


def test_every_batch_has_its_share_of_the_planted_pairs() -> None:
    pairs, plans = list(range(10)), list(range(5))
    batches = deal_batches(pairs, plans, 4)  # type: ignore[arg-type]
    assert [(len(real), len(planted)) for real, planted in batches] == [(4, 2), (4, 2), (2, 1)]
    assert [p for _, planted in batches for p in planted] == plans
