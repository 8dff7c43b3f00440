"""What all runs of a study share: the profile, the sizes, where things lie."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.closed_loop.arms import ARMS, BASE, Run
from benchmarks.closed_loop.rows import Identity
from looptool.artifacts import artifact_key
from looptool.config import LoopConfig
from looptool.fingerprint import code_digest
from looptool.prompts import digest as prompt_digest
from tasks.profiles import FOLDER, resolve_profile
from tasks.stages import STAGES

HELDOUT = {"seed.heldout_samples": 800, "seed.heldout_unseen_samples": 400}
"""Twice the profile's: one accuracy of 50% has a standard error of 1.4 points instead of 2.0."""


@dataclass(frozen=True)
class Study:
    """One set of comparable runs; a changed method is measured as a study of another name."""

    name: str
    root: Path
    """The store; it grows by about 10 MB a run."""
    out: Path
    """File of the rows."""
    profile: str = "laptop"
    threads: int | None = None
    """CPU threads of training and inference; None: all cores."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Dotted settings over the profile's."""
    rehearsed: bool = False
    """Whether a simulated policy stands in for the trained one."""

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """All overrides but those of a run.

        Samples whose prompt is too long for training are left out, and a dataset can be short: so that
        every round has the steps of a full one, a further epoch is begun where prompts are missing.
        """
        settings = {**HELDOUT, **self.overrides, "promotion.enabled": False}
        config = resolve_profile(self.profile, settings)
        train = config.train
        steps = train.max_steps or config.merge.dataset_size * train.epochs // train.batch_size
        return settings | {
            "store.root": str(self.root.resolve()),
            "train.max_steps": steps,
            "train.epochs": train.epochs + 1,
            "train.threads": self.threads,
            "policy.threads": self.threads,
            "policy.processes": 1,  # the runs are side by side
        }

    def config(self, run: Run) -> LoopConfig:
        """The configuration of a run's rounds; of the seed phase if the run is a base."""
        noise = "teacher.simulator.noise"
        settings = self._settings | {"random_seed": run.seed}
        if run.noise is not None:
            settings[f"{noise}.wrong_label_rate"] = run.noise
        if run.judge is not None:
            settings[f"{noise}.wrong_verdict_rate"] = round(1 - run.judge, 6)
        if run.arm != BASE:
            settings |= ARMS[run.arm].settings
        return resolve_profile(self.profile, settings)

    @cached_property
    def setting(self) -> str:
        """Digest of what the profile and the overrides say; a new default elsewhere does not change it.

        Nor do the store and the numbers of threads and processes, which the study sets itself.
        """
        path = Path(self.profile)
        path = path if path.suffix == ".toml" else FOLDER / f"{path.name}.toml"
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        said.pop("store", None)
        for section in ("train", "policy"):
            for name in ("threads", "processes"):
                said.get(section, {}).pop(name, None)
        overrides = {**HELDOUT, **self.overrides}
        return artifact_key("study", said, overrides, self.rehearsed)[:12]

    @cached_property
    def code(self) -> str:
        """Digest of the code and the prompts of all stages."""
        modules = sorted({m for stage in STAGES.values() for m in (stage.module, *stage.others)})
        prompts = sorted({prompt for stage in STAGES.values() for prompt in stage.prompts})
        parts = [code_digest(m) for m in (*modules, "looptool.simulator")]
        return artifact_key("code", parts, [prompt_digest(p) for p in prompts])[:12]

    def identity(self, run: Run) -> Identity:
        """What tells the rows of a run from others."""
        noise = self.config(run).teacher.simulator.noise
        judge = round(1 - noise.wrong_verdict_rate, 6)
        return (self.name, self.setting, run.arm, run.seed, noise.wrong_label_rate, judge)
