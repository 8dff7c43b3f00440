"""From a profile's name to a configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from looptool.config import LoopConfig, load_profile
from looptool.errors import ConfigError

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


def read_override(text: str) -> tuple[str, Any]:
    """`judge.votes=3` as a key and a value; the value is JSON, or text if it is not."""
    key, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--set {text}: expected key=value, for example --set random_seed=1")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
