"""What people have taken out of the campaign, as an input of the merge like any other."""

from collections.abc import Sequence

from looptool.artifacts import ArtifactRef
from looptool.campaign import Campaign
from looptool.lineage import find_effect
from looptool.records import Retracted
from tasks.progress import logger
from tasks.scope import Scope


def find_retracted(
    scope: Scope,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef] = (),
    verdicts: ArtifactRef | None = None,
    expansions: ArtifactRef | None = None,
) -> Retracted:
    """What the retractions of this moment change in a merge; without history, in the first dataset."""
    found = find_effect(
        Campaign(scope.store(), scope.campaign),
        pool=pool,
        history=history,
        verdicts=verdicts,
        expansions=expansions,
    )
    if found != Retracted():
        logger().info(
            "retracted: %d samples are left out, %d keep or get back their old label",
            len(found.samples),
            len(found.unchanged) + len(found.restored),
        )
    return found
