"""One iteration of the loop (method, section 1), as a Prefect flow.

    D_j, M_{j-1} --train--> M_j --probe--> mismatches --judge--> error seeds --expand--> new samples
    --validate--> scout --> merge --> D_{j+1}

Tasks hand references to each other; every one is cached by what its artifact was made from, so running
an iteration again shows Cached, and after a crash the next run goes on at the first missing artifact.
"""

from collections.abc import Callable

from prefect import flow

from flows.parameters import AcceptChange, CampaignName, IterationNumber, Overrides, ProfileName
from flows.runs import advise, name_iteration, name_profile, rename_run
from flows.seed import seed_pool
from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.campaign import IterationRecord, Standing
from tasks.evaluate import evaluate
from tasks.expand import expand
from tasks.gate import review_changes
from tasks.judge import judge
from tasks.merge import first_dataset, merge
from tasks.policies import run_stage, running_beside
from tasks.policy import base_policy, trained_policy
from tasks.probe import probe
from tasks.record import conclude, open_iteration
from tasks.report import publish_report
from tasks.retracted import find_retracted
from tasks.scope import Scope
from tasks.scout import scout
from tasks.streaming import working_ahead
from tasks.train import train
from tasks.validate import validate


@flow(
    name="looptool",
    flow_run_name=name_iteration,
    on_failure=[advise],
    on_crashed=[advise],
    persist_result=False,
)
def looptool(
    campaign: CampaignName = "nightly",
    profile: ProfileName = "laptop",
    iteration: IterationNumber = None,
    overrides: Overrides = {},  # noqa: B006 - Prefect reads the default as the form's value
    accept_config_change: AcceptChange = False,
) -> IterationRecord:
    """Run one iteration of a campaign: train, evaluate, probe, judge, expand, validate, scout, merge."""
    scope, before = open_iteration(campaign, profile, iteration, overrides, accept_config_change)
    rename_run(f"{campaign} · iteration {scope.iteration} ({name_profile(profile)})")
    start = scope.model_copy(update={"iteration": 0})

    pool = seed_pool(start)
    if before:
        best = before[-1].best
        return run_round(
            scope, before, pool, before[-1].next_dataset, best.checkpoint, lambda: best
        )
    base = base_policy(scope)
    with running_beside(evaluate, scope=start, policy=base, pool=pool) as scores:
        return run_round(
            scope,
            before,
            pool,
            draw_first(start, pool),
            base,
            lambda: Standing(iteration=0, checkpoint=base, scores=scores()),
        )


def draw_first(start: Scope, pool: ArtifactRef) -> ArtifactRef:
    """D_1."""
    retracted = find_retracted(start, pool)
    return run_stage(first_dataset, scope=start, pool=pool, retracted=retracted)


def run_round(
    scope: Scope,
    before: list[IterationRecord],
    pool: ArtifactRef,
    dataset: ArtifactRef,
    base: CheckpointRef,
    best: Callable[[], Standing],
) -> IterationRecord:
    """From D_j and the best policy so far (`base`, the paper's M_{j-1}) to M_j and D_{j+1}.

    `best` gives that policy with its scores, which may still be in the making.
    """
    trained = run_stage(train, scope=scope, dataset=dataset, base=base)
    policy = trained_policy(trained)
    with running_beside(evaluate, scope=scope, policy=policy, pool=pool) as scores:
        made = refresh(scope, before, pool, dataset, trained)
        stages = {"train": trained, "evaluate": scores(), **made}
    merged = stages.pop("merge")
    record = conclude(
        scope,
        before,
        dataset=dataset,
        pool=pool,
        policy=policy,
        scores=stages["evaluate"],
        start=best(),
        merged=merged,
        stages=stages,
    )
    publish_report(scope)
    return record


def refresh(
    scope: Scope,
    before: list[IterationRecord],
    pool: ArtifactRef,
    dataset: ArtifactRef,
    trained: ArtifactRef,
) -> dict[str, ArtifactRef]:
    """From M_j to D_{j+1}: the artifacts of the stages from probe to merge."""
    policy = trained_policy(trained)
    history = [*(record.dataset for record in before), dataset]
    with working_ahead(scope, policy, history, trained):
        probes = run_stage(probe, scope=scope, policy=policy, history=history, trained=trained)
    judged = [record.verdicts for record in before]
    verdicts = run_stage(judge, scope=scope, dataset=dataset, probes=probes, earlier=judged)
    verdicts = review_changes(scope, dataset, probes, verdicts)
    grown = run_stage(expand, scope=scope, dataset=dataset, verdicts=verdicts)
    checked = run_stage(validate, scope=scope, candidates=grown)
    scouted = run_stage(
        scout, scope=scope, policy=policy, pool=pool, history=history, expansions=checked
    )
    merged = run_stage(
        merge,
        scope=scope,
        pool=pool,
        history=history,
        probes=probes,
        verdicts=verdicts,
        expansions=checked,
        scouted=scouted,
        retracted=find_retracted(scope, pool, history, verdicts, checked),
    )
    return {
        "probe": probes,
        "judge": verdicts,
        "expand": grown,
        "validate": checked,
        "scout": scouted,
        "merge": merged,
    }
