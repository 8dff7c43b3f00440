"""Model card and dataset card: Markdown with the metadata that the hub reads, filled from the manifests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from looptool.records import JsonObject, Score

SHOWN_SLICES = ("all", "seen", "unseen", "calls", "relevance", "irrelevance")
SHOWN_SETTINGS = (
    "train.trainer", "train.batch_size", "train.group_size", "train.epochs", "train.learning_rate",
    "train.clip_low", "train.clip_high", "train.kl_coef", "train.temperature",
    "train.max_prompt_tokens", "train.max_response_tokens", "random_seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What the cards say."""

    campaign: str
    iteration: int
    base: str
    """Name of the base model; never a path of this machine."""
    settings: Mapping[str, Any]
    before: tuple[Score, ...]
    """Held-out scores of the base model."""
    after: tuple[Score, ...]
    dataset: JsonObject
    """Statistics of D_j's manifest."""
    versions: Mapping[str, str]
    digests: Mapping[str, str]
    languages: tuple[str, ...]


def render_card(name: str, facts: Facts) -> str:
    """`model_card` or `dataset_card`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown; names are checked, the rest are numbers
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    before = {score.slice: score for score in facts.before}
    after = {score.slice: score for score in facts.after}
    shown = [
        (before[name], after[name]) for name in SHOWN_SLICES if name in before and name in after
    ]
    settings = {key: facts.settings[key] for key in SHOWN_SETTINGS if key in facts.settings}
    return environment.get_template(f"{name}.md.j2").render(
        facts=facts, shown=shown, settings=settings
    )
