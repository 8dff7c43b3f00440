"""The parameters that the flows share, as the form of the Prefect UI shows them.

Prefect replaces the description of an annotated field by that of the flow's docstring, so each type
writes its own into the JSON schema.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tasks.profiles import list_profiles


@dataclass(frozen=True, slots=True)
class Shown:
    """What the form says about a parameter."""

    description: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema with the description."""
        return handler(schema) | {"description": self.description}


@dataclass(frozen=True, slots=True)
class Choices:
    """Alternatives that the form offers as tabs, each with a title of its own."""

    alternatives: tuple[JsonSchemaValue, ...]

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The alternatives in place of the schema."""
        return {"anyOf": list(self.alternatives)}


CampaignName = Annotated[
    str,
    Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$"),
    Shown("Name of the campaign. A known name goes on where it stands, a new one starts anew."),
]
ProfileName = Annotated[
    str,
    Choices(
        (
            {"title": "Profile", "type": "string", "enum": list_profiles()},
            {"title": "TOML file", "type": "string", "pattern": r"\.toml$"},
        )
    ),
    Shown("Hardware, models and sizes: a profile under deployments/, or the path of your own."),
]
IterationNumber = Annotated[
    int | None,
    Choices(
        (
            {"title": "Next", "type": "null"},
            {"title": "Number", "type": "integer", "minimum": 1},
        )
    ),
    Field(ge=1),
    Shown("Next: the first iteration that is not complete. A number runs that one again."),
]
Overrides = Annotated[
    dict[str, Any],
    Shown('Settings over the profile, for example {"judge.votes": 3}.'),
]
AcceptChange = Annotated[
    bool,
    Shown("Go on although the campaign was started with another configuration."),
]
Iterations = Annotated[int, Field(ge=1, le=100), Shown("Iterations to run, at most.")]
