"""A campaign keeps to its configuration, and knows which iterations are complete."""

from pathlib import Path

import pytest

from benchmarks.iterations import make_record
from looptool.artifacts import ArtifactRef, CheckpointRef, Store
from looptool.campaign import Campaign, IterationRecord
from looptool.config import parse_config
from looptool.errors import CampaignError, ConfigError


def ref(digest: str) -> ArtifactRef:
    return ArtifactRef(stage="merge", uri="u", key="k", digest=digest, rows={})


def record(iteration: int, previous: str, digest: str) -> IterationRecord:
    made = make_record(
        iteration,
        dataset=ref("d"),
        merged=ref(digest),
        checkpoint=CheckpointRef(uri="u", digest="c"),
        scores=ref("s"),
        verdicts=ref("v"),
    )
    return made.model_copy(update={"previous": previous})


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return Campaign(Store(str(tmp_path)), "c1")


def test_iterations_are_complete_as_an_unbroken_chain(campaign: Campaign) -> None:
    first = record(1, "", "a")
    second = record(2, first.state, "b")
    campaign.finish(second)
    assert campaign.complete() == []
    campaign.finish(first)
    assert campaign.complete() == [first, second]


def test_a_remade_iteration_invalidates_those_after_it(campaign: Campaign) -> None:
    first = record(1, "", "a")
    campaign.finish(first)
    campaign.finish(record(2, first.state, "b"))
    remade = record(1, "", "other")
    campaign.finish(remade)
    assert campaign.complete() == [remade]


def test_another_configuration_is_refused_and_the_difference_named(campaign: Campaign) -> None:
    campaign.adopt(parse_config({}))
    campaign.adopt(parse_config({}))
    with pytest.raises(CampaignError, match=r"judge\.votes: 1 -> 2.*accept_config_change"):
        campaign.adopt(parse_config({"judge": {"votes": 2}}))
    campaign.adopt(parse_config({"judge": {"votes": 2}}), accept_change=True)
    campaign.adopt(parse_config({"judge": {"votes": 2}}))


def test_operational_settings_may_change_at_any_time(campaign: Campaign) -> None:
    campaign.adopt(parse_config({}))
    campaign.adopt(
        parse_config({"teacher": {"timeout_s": 5, "budget_usd": 3}, "store": {"root": "x"}})
    )


def test_a_campaign_name_is_never_a_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not usable"):
        Campaign(Store(str(tmp_path)), "../evil")
