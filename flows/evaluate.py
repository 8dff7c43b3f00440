"""Measure a policy: the held-out set, and the published benchmarks that are asked for."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import CampaignName, Choices, Overrides, ProfileName, Shown
from flows.runs import advise, name_evaluation
from flows.seed import seed_pool
from looptool.artifacts import ArtifactRef
from looptool.records import BenchmarkName
from tasks.benchmark import MEASURES, choose_policy, overrides_for, publish_scores
from tasks.evaluate import evaluate
from tasks.policies import run_stage
from tasks.record import open_iteration
from tasks.report import publish_report

Measured = Annotated[
    int | None,
    Choices(
        (
            {"title": "Best so far", "type": "null"},
            {"title": "Of iteration", "type": "integer", "minimum": 0},
        )
    ),
    Field(ge=0),
    Shown("Whose policy; 0 is the base model."),
]
HeldOut = Annotated[bool, Shown("Also the campaign's own held-out set.")]
Benchmarks = Annotated[
    list[BenchmarkName], Shown("Benchmarks to run; empty: those of the profile's [benchmarks].")
]
Categories = Annotated[
    list[str], Shown('Their categories, e.g. ["simple_python", "multiple"]; empty: all.')
]
Limit = Annotated[
    int | None,
    Choices(
        (
            {"title": "All", "type": "null"},
            {"title": "At most", "type": "integer", "minimum": 1},
        )
    ),
    Field(ge=1),
    Shown("Items of each category."),
]


@flow(
    name="looptool-evaluate",
    flow_run_name=name_evaluation,
    on_failure=[advise],
    on_crashed=[advise],
    persist_result=False,
)
def looptool_evaluate(
    campaign: CampaignName = "nightly",
    profile: ProfileName = "laptop",
    iteration: Measured = None,
    heldout: HeldOut = True,
    benchmarks: Benchmarks = [],  # noqa: B006 - Prefect reads the default as the form's value
    categories: Categories = [],  # noqa: B006
    limit: Limit = None,
    overrides: Overrides = {},  # noqa: B006
) -> dict[str, ArtifactRef]:
    """Score one policy of a campaign; scores are artifacts beside it, shown here and in the report."""
    asked = overrides | overrides_for(benchmarks, categories, limit)
    scope, records = open_iteration(campaign, profile, None, asked, False)
    scope, policy = choose_policy(scope, records, iteration)
    found: dict[str, ArtifactRef] = {}
    if heldout:
        pool = seed_pool(scope.model_copy(update={"iteration": 0}))
        found["heldout"] = run_stage(evaluate, scope=scope, policy=policy, pool=pool)
    for name in benchmarks or scope.config.benchmarks.suites:
        found[name] = run_stage(MEASURES[name], scope=scope, policy=policy)
        publish_scores(scope, name, found[name])
    if scope.iteration:
        publish_report(scope)
    return found
