"""One iteration of the loop (method, section 1), as a Prefect flow.

    D_j, M_{j-1} --train--> M_j --probe--> mismatches --judge--> error seeds --expand--> new samples
    --validate--> merge --> D_{j+1}

Tasks hand references to each other; every one is cached by what its artifact was made from, so running
an iteration again shows Cached, and after a crash the next run goes on at the first missing artifact.
"""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.campaign import IterationRecord
from tasks.evaluate import evaluate
from tasks.expand import expand
from tasks.judge import judge
from tasks.merge import first_dataset, merge
from tasks.policies import run_stage
from tasks.policy import base_policy, trained_policy
from tasks.pool import fill_pool, is_empty, plan_round, rounds_of
from tasks.probe import probe
from tasks.record import conclude, open_iteration, publish_summary
from tasks.scope import Scope
from tasks.seed import collect, seed
from tasks.train import train
from tasks.validate import validate

CampaignName = Annotated[
    str,
    Field(
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$",
        description="Name of the campaign; a new name starts a new one.",
    ),
]
ProfileName = Annotated[
    str, Field(description="A profile under deployments/, or the path of a TOML file.")
]
IterationNumber = Annotated[
    int | None,
    Field(ge=1, description="Iteration to run; empty: the first that is not complete."),
]
Overrides = Annotated[
    dict[str, Any],
    Field(description='Settings over the profile, e.g. {"judge.votes": 3}.'),
]
AcceptChange = Annotated[
    bool,
    Field(description="Go on although the campaign was started with another configuration."),
]


@flow(name="looptool", flow_run_name="{campaign} ({profile})")
def looptool(
    campaign: CampaignName = "nightly",
    profile: ProfileName = "laptop",
    iteration: IterationNumber = None,
    overrides: Overrides = {},  # noqa: B006 - Prefect reads the default as the form's value
    accept_config_change: AcceptChange = False,
) -> IterationRecord:
    """Run one iteration of a campaign: train, evaluate, probe, judge, expand, validate, merge."""
    scope, before = open_iteration(campaign, profile, iteration, overrides, accept_config_change)
    start = scope.model_copy(update={"iteration": 0})

    pool = seed_pool(start)
    base = base_policy(scope, before)
    base_scores = run_stage(evaluate, scope=start, policy=base, pool=pool) if not before else None
    dataset = (
        before[-1].next_dataset if before else run_stage(first_dataset, scope=start, pool=pool)
    )
    return run_round(scope, before, pool, dataset, base, base_scores)


def seed_pool(start: Scope) -> ArtifactRef:
    """Dialogues and their validation, round after round, until the targets are met or out of reach."""
    tools = run_stage(collect, scope=start)
    played: list[ArtifactRef] = []
    accepted: list[ArtifactRef] = []
    for scope in rounds_of(start):
        plan = run_stage(plan_round, scope=scope, tools=tools, played=played, accepted=accepted)
        if is_empty(plan):
            break
        played = [*played, run_stage(seed, scope=scope, tools=tools, plan=plan)]
        accepted = [*accepted, run_stage(validate, scope=scope, candidates=played[-1])]
    return run_stage(fill_pool, scope=start, tools=tools, played=played, accepted=accepted)


def run_round(
    scope: Scope,
    before: list[IterationRecord],
    pool: ArtifactRef,
    dataset: ArtifactRef,
    base: CheckpointRef,
    base_scores: ArtifactRef | None,
) -> IterationRecord:
    """From D_j and M_{j-1} to M_j and D_{j+1}."""
    trained = run_stage(train, scope=scope, dataset=dataset, base=base)
    policy = trained_policy(trained)
    scores = run_stage(evaluate, scope=scope, policy=policy, pool=pool)
    probes = run_stage(probe, scope=scope, policy=policy, dataset=dataset, trained=trained)
    verdicts = run_stage(judge, scope=scope, dataset=dataset, probes=probes)
    grown = run_stage(expand, scope=scope, dataset=dataset, verdicts=verdicts)
    checked = run_stage(validate, scope=scope, candidates=grown)
    merged = run_stage(
        merge,
        scope=scope,
        pool=pool,
        history=[*(record.dataset for record in before), dataset],
        probes=probes,
        verdicts=verdicts,
        expansions=checked,
    )
    record = conclude(
        scope,
        before,
        dataset=dataset,
        policy=policy,
        scores=scores,
        base_scores=base_scores,
        merged=merged,
        stages={
            "train": trained,
            "evaluate": scores,
            "probe": probes,
            "judge": verdicts,
            "expand": grown,
            "validate": checked,
        },
    )
    publish_summary(scope, record)
    return record
