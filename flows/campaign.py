"""Several iterations of a campaign, until there is no more progress or the budget is spent."""

from prefect import flow, get_run_logger

from flows.iterate import looptool
from flows.parameters import AcceptChange, CampaignName, Iterations, Overrides, ProfileName
from flows.runs import advise, name_campaign
from looptool.campaign import IterationRecord
from looptool.errors import BudgetExceeded
from tasks.record import open_iteration, should_stop


@flow(
    name="looptool-campaign",
    flow_run_name=name_campaign,
    on_failure=[advise],
    on_crashed=[advise],
    persist_result=False,
)
def looptool_campaign(
    campaign: CampaignName = "nightly",
    profile: ProfileName = "laptop",
    iterations: Iterations = 4,
    overrides: Overrides = {},  # noqa: B006 - Prefect reads the default as the form's value
    accept_config_change: AcceptChange = False,
) -> list[IterationRecord]:
    """Run the next `iterations` iterations of a campaign; stop on a plateau or an empty budget."""
    log = get_run_logger()
    records: list[IterationRecord] = []
    for _ in range(iterations):
        try:
            records.append(
                looptool(
                    campaign=campaign,
                    profile=profile,
                    iteration=None,
                    overrides=overrides,
                    accept_config_change=accept_config_change,
                )
            )
        except BudgetExceeded as exc:
            log.warning("stopped: %s", exc)
            break
        scope, history = open_iteration(campaign, profile, None, overrides, accept_config_change)
        if reason := should_stop(history, scope.config.stop):
            log.info("stopped: %s", reason)
            break
    return records
