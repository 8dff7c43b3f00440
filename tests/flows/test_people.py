"""People in the deployed loop: a run that waits for a review, and a sample that is taken out afterwards."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.api import post
from looptool.artifacts import ArtifactRef, Store
from looptool.campaign import Campaign, IterationRecord
from looptool.judge.review import list_proposals
from looptool.records import Judgement, Origin, Sample
from tests.flows.conftest import Prefect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(580)]

CAMPAIGN = "people"
OVERRIDES = {
    # Wrong labels that a careless reviewer lets pass, so that so small a round has something to decide.
    "teacher.simulator.noise.wrong_label_rate": 0.4,
    "teacher.simulator.noise.wrong_review_rate": 0.8,
    "judge.gate.mode": "pause",
}


class Reviewed:
    """A run that paused, was resumed with the first proposal accepted, and ended."""

    def __init__(self, prefect: Prefect) -> None:
        self.store = Store(str(prefect.lake))
        run_id = prefect.press_run(**prefect.parameters(CAMPAIGN, overrides=OVERRIDES))
        wait_for_pause(prefect, run_id)
        self.paused = prefect.tasks(run_id)
        samples, judgements = self.proposals()
        self.accepted, *self.others = list_proposals(samples, judgements)
        answer = prefect.client.post(
            f"/flow_runs/{run_id}/resume",
            json={"run_input": {"accepted": [self.accepted.sample.sample_id], "by": "Ada"}},
        ).raise_for_status()
        assert answer.json()["status"] == "ACCEPT", answer.text
        assert prefect.wait(run_id) == "COMPLETED", prefect.explain(run_id)
        self.states = prefect.settled(run_id)
        shown = post(
            prefect.client, "/artifacts/filter", {"artifacts": {"key": {"any_": ["review-1"]}}}
        )
        self.shown = str(shown[0]["data"])

    def proposals(self) -> tuple[dict[str, Sample], list[Judgement]]:
        """The round's samples, and what the judge said of them."""
        samples = self.store.read(self.artifact("0000", "dataset"), "samples", Sample)
        judged = self.store.read(self.artifact("0001", "judge"), "judgements", Judgement)
        return {sample.sample_id: sample for sample in samples}, judged

    def artifact(self, iteration: str, stage: str) -> ArtifactRef:
        """The one artifact of a stage."""
        folder = self.store.path("campaigns", CAMPAIGN, "iterations", iteration, stage, "*")
        (path,) = self.store.fs.glob(folder)
        found = self.store.ref(self.store.fs.unstrip_protocol(path))
        assert found is not None
        return found

    def record(self) -> IterationRecord:
        """The iteration as the campaign has it now."""
        (record,) = Campaign(self.store, CAMPAIGN).complete()
        return record

    def trained_next(self) -> dict[str, Sample]:
        """D_2."""
        return {
            s.sample_id: s for s in self.store.read(self.record().next_dataset, "samples", Sample)
        }


def wait_for_pause(prefect: Prefect, run_id: str, seconds: float = 280.0) -> None:
    """Until the run waits for input."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        kind, _ = prefect.state(run_id)
        if kind == "PAUSED":
            return
        assert kind not in ("COMPLETED", "FAILED", "CRASHED"), prefect.explain(run_id)
        time.sleep(0.5)
    raise AssertionError(prefect.explain(run_id))


@pytest.fixture(scope="module")
def reviewed(prefect: Prefect) -> Reviewed:
    return Reviewed(prefect)


def test_the_run_waits_after_the_judge_and_goes_on_with_the_decision(reviewed: Reviewed) -> None:
    assert reviewed.paused["judge-1"] == "Completed"
    assert not {"expand-1", "merge-1"} & set(reviewed.paused)
    assert reviewed.states["gate-1"] == reviewed.states["merge-1"] == "Completed"
    for proposal in (reviewed.accepted, *reviewed.others[:100]):
        assert proposal.sample.sample_id in reviewed.shown


def test_only_the_label_that_was_accepted_is_replaced(reviewed: Reviewed) -> None:
    rows = reviewed.trained_next().values()
    corrected = {s.parent_id: s for s in rows if s.parent_id and s.origin is Origin.ERROR_SEED}
    assert set(corrected) == {reviewed.accepted.sample.sample_id}
    (sample,) = corrected.values()
    assert sample.label == reviewed.accepted.new_label


def test_a_retracted_sample_is_gone_after_the_next_run_which_merges_and_asks_nobody(
    reviewed: Reviewed, prefect: Prefect
) -> None:
    grown = next(s for s in reviewed.trained_next().values() if s.origin is Origin.EXPANSION)
    subprocess.run(
        [Path(sys.executable).with_name("looptool"), "retract", grown.sample_id,
         "--campaign", CAMPAIGN, "--root", str(prefect.lake), "--reason", "wrong unit"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    states = prefect.run(CAMPAIGN, iteration=1, overrides=OVERRIDES)
    assert {name for name, state in states.items() if state != "Cached"} == {"merge-1", "gate-1"}
    assert grown.sample_id not in reviewed.trained_next()
