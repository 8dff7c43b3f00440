"""The seed phase alone (method, section 2): tools in, verified dialogues out.

A campaign's first iteration runs it as well; what this flow has made is then found and not made again.
"""

from prefect import flow

from flows.parameters import AcceptChange, CampaignName, Overrides, ProfileName
from flows.runs import advise, name_seed
from looptool.artifacts import ArtifactRef
from tasks.policies import run_stage
from tasks.pool import fill_pool, is_empty, plan_round, rounds_of
from tasks.record import open_iteration
from tasks.scope import Scope
from tasks.seed import collect, seed
from tasks.validate import validate


@flow(
    name="looptool-seed",
    flow_run_name=name_seed,
    on_failure=[advise],
    on_crashed=[advise],
    persist_result=False,
)
def looptool_seed(
    campaign: CampaignName = "nightly",
    profile: ProfileName = "laptop",
    overrides: Overrides = {},  # noqa: B006 - Prefect reads the default as the form's value
    accept_config_change: AcceptChange = False,
) -> ArtifactRef:
    """Import the tools and make the campaign's pool of samples, with the coverage of tools and kinds."""
    scope, _ = open_iteration(campaign, profile, 1, overrides, accept_config_change)
    return seed_pool(scope.model_copy(update={"iteration": 0}))


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
