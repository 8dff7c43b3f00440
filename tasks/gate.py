"""People in the loop: the run pauses until the proposed label changes of a round are decided on.

The table is an artifact of the Prefect run, the whole evidence a page beside the judge's artifact, the
decision a file there: a run that is started again does not ask again. What comes out is an artifact of
the judge's stage, with the decision among its inputs.
"""

import posixpath
from typing import Literal

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field, ValidationError

from looptool.artifacts import ArtifactRef, Store
from looptool.errors import ArtifactCorrupt, DataError, shorten
from looptool.judge.review import (
    Decision,
    Proposal,
    apply_decision,
    check_decision,
    list_proposals,
    render_page,
    render_table,
)
from looptool.judge.run import report_judgements
from looptool.records import Judgement, Planted, Sample
from tasks.progress import logger
from tasks.scope import Input, Scope, Stage

PAGE, DECISION = "review.html", "decision.json"
ASKED_EVERY_S = 5


class Review(RunInput):
    """The form that resumes a paused run."""

    accepted: list[str] = Field([], description="Sample ids whose label is replaced.")
    rejected: list[str] = Field([], description="Sample ids on which the judge is overruled.")
    others: Literal["accept", "reject", "quarantine"] = Field(
        "quarantine", description="What becomes of the rest."
    )
    by: str = Field("", description="Who decides.")


def review_changes(
    scope: Scope, dataset: ArtifactRef, probes: ArtifactRef, verdicts: ArtifactRef
) -> ArtifactRef:
    """The verdicts after people have decided; as they are where `judge.gate` is off or nothing changes.

    To be called from a flow, as only a flow run can pause. The decision is kept beside the verdicts.
    """
    if scope.config.judge.gate.mode == "off":
        return verdicts
    store = scope.store()
    proposals = read_proposals(store, dataset, verdicts)
    if not proposals:
        return verdicts
    decision = load_decision(store, verdicts)
    if decision is None:
        show_proposals(scope, verdicts, proposals)
        decision = save_decision(store, verdicts, ask_people(scope, proposals))
    return settle(scope, dataset, probes, verdicts, decision)


def read_proposals(store: Store, dataset: ArtifactRef, verdicts: ArtifactRef) -> list[Proposal]:
    """The label changes that the judge proposes, applied or withheld."""
    samples = {s.sample_id: s for s in store.read(dataset, "samples", Sample)}
    return list_proposals(samples, store.read(verdicts, "judgements", Judgement))


def show_proposals(scope: Scope, verdicts: ArtifactRef, proposals: list[Proposal]) -> str:
    """Publish the table and the page; the page's address."""
    store = scope.store()
    title = f"Label changes of {scope.campaign}, iteration {scope.iteration}"
    page = posixpath.join(verdicts.uri, PAGE)
    store.put(store.strip(page), render_page(title, proposals).encode("utf-8", "replace"))
    text = (
        f"# {title}\n\nThe whole evidence: `{page}`\n\nResume this run with the ids of the samples "
        f"whose label is to be replaced, and of those on which the judge is wrong.\n\n"
        f"{render_table(proposals)}"
    )
    create_markdown_artifact(
        text, key=f"review-{scope.iteration}", description="Label changes to decide on"
    )
    return page


def ask_people(scope: Scope, proposals: list[Proposal]) -> Decision:
    """Pause the run until a usable decision or the timeout comes."""
    gate = scope.config.judge.gate
    log = logger()
    tries = 0
    while True:
        tries += 1
        log.info("%d label changes wait for review", len(proposals))
        try:
            review = pause_flow_run(
                wait_for_input=Review,
                timeout=gate.timeout_s,
                poll_interval=ASKED_EVERY_S,
                key=f"review-{scope.iteration}-{tries}",
            )
        except FlowPauseTimeout:
            log.warning("nobody decided within %d s: %s", gate.timeout_s, gate.on_timeout)
            return Decision(others=gate.on_timeout, by="timeout")
        decision = Decision(
            accepted=tuple(review.accepted),
            rejected=tuple(review.rejected),
            others=review.others,
            by=review.by,
        )
        problems = check_decision(decision, proposals)
        if not problems:
            return decision
        log.warning("the review cannot be used, please give another: %s", "; ".join(problems[:5]))


def load_decision(store: Store, verdicts: ArtifactRef) -> Decision | None:
    """The decision of an earlier run; None if there is none yet."""
    path = store.strip(posixpath.join(verdicts.uri, DECISION))
    data = store.get(path)
    if data is None:
        return None
    try:
        return Decision.model_validate_json(data)
    except ValidationError as exc:
        raise ArtifactCorrupt(
            f"{path} is no decision: {shorten(exc, 200)}; delete it to be asked again"
        ) from exc


def save_decision(store: Store, verdicts: ArtifactRef, decision: Decision) -> Decision:
    """Keep the decision; where another run was first, its decision holds."""
    path = store.strip(posixpath.join(verdicts.uri, DECISION))
    if store.create(path, decision.model_dump_json(indent=1).encode()):
        return decision
    found = load_decision(store, verdicts)
    if found is None:
        raise DataError(f"{path} was deleted while it was read; run the iteration again")
    return found


@task(name="gate", task_run_name="gate-{scope.label}")
def settle(
    scope: Scope,
    dataset: ArtifactRef,
    probes: ArtifactRef,
    verdicts: ArtifactRef,
    decision: Decision,
) -> ArtifactRef:
    """The verdicts with the decision applied; tables `judgements` and `planted`."""
    inputs: dict[str, Input] = {
        "dataset": dataset,
        "probes": probes,
        "verdicts": verdicts,
        "decision": decision.model_dump_json(),
    }
    stage = Stage("judge", scope, inputs)
    if done := stage.committed():
        return done
    before = stage.store.read(verdicts, "judgements", Judgement)
    after = list(apply_decision(before, decision))
    stage.writer.write("judgements", "judgements", after)
    stage.writer.write("planted", "planted", stage.store.read(verdicts, "planted", Planted))
    report = report_judgements(after)
    logger().info("%d labels replaced after review", report.labels_replaced)
    stats = stage.store.manifest_of(verdicts).stats
    own = {"report": report, "by_verdict": report.by_verdict, "decision": decision}
    return stage.commit({**stats, **own, "teacher": {}})
