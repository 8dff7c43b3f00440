"""The parameters that the flows share, as the form of the Prefect UI shows them."""

from typing import Annotated, Any

from pydantic import Field

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
