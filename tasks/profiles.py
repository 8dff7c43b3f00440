"""From a profile's name to a configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from looptool.config import LoopConfig, load_profile

FOLDER = Path(__file__).resolve().parent.parent / "deployments"


def list_profiles() -> list[str]:
    """Names of the profiles, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def resolve_profile(profile: str, overrides: Mapping[str, Any] | None = None) -> LoopConfig:
    """The configuration of a named profile (`laptop`) or of a TOML file (`path/to/mine.toml`).

    Raises ConfigError naming the profiles that there are.
    """
    path = Path(profile)
    if path.suffix != ".toml":
        path = FOLDER / f"{path.name}.toml"
    return load_profile(path, overrides)
