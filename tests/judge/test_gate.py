"""The gate pauses a real run, takes typed input, and never asks twice."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.flow_runs import resume_flow_run
from prefect.testing.utilities import prefect_test_harness

from looptool.artifacts import ArtifactRef, Store
from looptool.config import LoopConfig, parse_config
from looptool.records import (
    Judgement,
    Kind,
    Label,
    Planted,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    Vote,
    make_sample,
    make_tool,
)
from tasks.gate import PAGE, review_changes
from tasks.scope import Scope, Stage

LAMP = make_tool("dim", "Dims.", {"type": "object", "properties": {"level": {"type": "integer"}}})


def call(level: int) -> Label:
    return Label(calls=(ToolCall(name="dim", arguments={"level": level}),))


SAMPLES = [
    make_sample(
        kind=Kind.SINGLE,
        split=Split.TRAIN,
        tools=(LAMP,),
        messages=(UserMessage(content=f"Dim it to {n} <script>alert(1)</script>|"),),
        label=call(n),
        dialogue_id=f"d-{n}",
    )
    for n in range(3)
]
IDS = [sample.sample_id for sample in SAMPLES]


def judged(sample: Sample) -> Judgement:
    vote = Vote(model="m", label_first=True, verdict="LABEL_WRONG", error_analysis="<b>wrong</b>")
    return Judgement(
        sample_id=sample.sample_id,
        verdict="LABEL_WRONG",
        votes=(vote,),
        predicted=call(9),
        proposed_label=call(9),
        new_label=call(9),
    )


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def make_scope(root: Path, **gate: object) -> Scope:
    config: LoopConfig = parse_config(
        {"store": {"root": str(root)}, "judge": {"gate": {"mode": "pause", **gate}}}
    )
    return Scope(campaign="g", iteration=1, config=config)


def make_inputs(scope: Scope) -> tuple[ArtifactRef, ArtifactRef, ArtifactRef]:
    """Dataset, probes (empty here) and verdicts with three proposed changes."""
    dataset = Stage("dataset", scope, {"pool": "p"})
    dataset.writer.write("samples", "samples", SAMPLES)
    probes = Stage("probe", scope, {"policy": "p"})
    probes.writer.write("probes", "probes", [])
    verdicts = Stage("judge", scope, {"probes": "p"})
    verdicts.writer.write("judgements", "judgements", [judged(s) for s in SAMPLES])
    verdicts.writer.write("planted", "planted", [])
    return dataset.commit({}), probes.commit({}), verdicts.commit({"judge_trusted": True})


def run_gate(
    name: str, scope: Scope, refs: tuple[ArtifactRef, ArtifactRef, ArtifactRef]
) -> ArtifactRef:
    @flow(name="gated", flow_run_name=name)
    def gated() -> ArtifactRef:
        return review_changes(scope, *refs)

    return gated()


def resume_when_paused(name: str, *inputs: dict[str, object]) -> threading.Thread:
    """A reviewer who answers each pause of the run in turn."""

    def review() -> None:
        with get_client(sync_client=True) as client:
            for given in inputs:
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    found = client.read_flow_runs(
                        flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name]))
                    )
                    if found and found[0].state and found[0].state.is_paused():
                        resume_flow_run(found[0].id, run_input=given)
                        time.sleep(1)
                        break
                    time.sleep(0.2)

    thread = threading.Thread(target=review, daemon=True)
    thread.start()
    return thread


def after(scope: Scope, ref: ArtifactRef) -> list[tuple[str, Label | None, str]]:
    rows = scope.store().read(ref, "judgements", Judgement)
    return [(row.verdict, row.new_label, row.note) for row in rows]


def test_a_decision_is_applied_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.gate.ASKED_EVERY_S", 1)
    scope = make_scope(tmp_path)
    refs = make_inputs(scope)
    wrong = {"accepted": ["s-unknown"]}
    right = {"accepted": IDS[:1], "rejected": IDS[1:2], "by": "Ada"}
    reviewer = resume_when_paused("one", wrong, right)
    ref = run_gate("one", scope, refs)
    reviewer.join(60)
    assert after(scope, ref) == [
        ("LABEL_WRONG", call(9), "accepted in review by Ada"),
        ("unjudged", None, "replacement rejected in review by Ada"),
        ("LABEL_WRONG", None, "label not replaced: left open in review"),
    ]
    rows = scope.store().read(ref, "judgements", Judgement)
    assert all(row.votes and row.proposed_label == call(9) for row in rows)
    again = run_gate("two", scope, refs)
    assert again == ref
    page = Store(str(tmp_path)).get(f"{refs[2].uri.removeprefix('file://')}/{PAGE}")
    assert page is not None
    assert b"&lt;script&gt;" in page
    assert b"<script" not in page
    assert all(sample_id.encode() in page for sample_id in IDS)


@pytest.mark.parametrize(
    ("rule", "verdict", "replaced"),
    [("accept", "LABEL_WRONG", True), ("reject", "unjudged", False)],
)
def test_the_timeout_rule_decides_when_nobody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, verdict: str, replaced: bool
) -> None:
    monkeypatch.setattr("tasks.gate.ASKED_EVERY_S", 1)
    scope = make_scope(tmp_path, timeout_s=1, on_timeout=rule)
    ref = run_gate(f"late-{rule}", scope, make_inputs(scope))
    rows = after(scope, ref)
    assert {row[0] for row in rows} == {verdict}
    assert all((row[1] is not None) is replaced for row in rows)
    assert scope.store().manifest_of(ref).stats["decision"]["by"] == "timeout"
    assert scope.store().read(ref, "planted", Planted) == []


def test_switched_off_it_asks_nobody(tmp_path: Path) -> None:
    scope = make_scope(tmp_path, mode="off")
    refs = make_inputs(scope)
    assert review_changes(scope, *refs) is refs[2]
