"""What every trainer takes and gives, and the one function that the stage calls.

A training by TRL that is killed is started anew, not resumed: on the machines that it is for it takes
minutes, and a resumed run would not repeat the random numbers of an uninterrupted one. One by veRL
resumes at its last checkpoint, as hours of many GPUs are at stake.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from looptool.config import TrainConfig
from looptool.engines import check_model_folder
from looptool.errors import ConfigError
from looptool.records import RolloutStat, Sample, StepMetrics
from looptool.train.checkpoint import CheckpointReport

OnStep = Callable[[StepMetrics, int], None]
"""Called after each optimiser step with its metrics and the number of steps in all."""
OnLog = Callable[[str], None]
"""Called with each line that the trainer's processes write."""


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """One iteration's training."""

    samples: Sequence[Sample]
    base_checkpoint_dir: Path
    out_dir: Path
    """Folder of the new checkpoint; appears only when whole, replaces what was there."""
    config: TrainConfig
    random_seed: int
    on_log: OnLog | None = None
    """Where a trainer of many processes sends their output as it comes."""


@dataclass(frozen=True, slots=True)
class TrainReport:
    """Counts and times of one training."""

    samples: int
    used: int
    """Samples that were in at least one batch."""
    too_long: tuple[str, ...]
    """Ids of samples left out because their prompt does not fit."""
    defects: tuple[str, ...]
    """Ids of samples left out because their label breaks its own tools' schemas."""
    steps: int
    unused_tail: int
    """Prompts at the end of the last epoch that did not fill a batch or lay beyond max_steps."""
    rollouts: int
    generated_tokens: int
    seconds: float
    """Wall time, the start of the process included."""
    timings: dict[str, float]
    """Seconds in `load`, `generate`, `reward`, `update`, `save`, in all, as far as measured."""
    checkpoint: CheckpointReport
    resumed_from: int = 0
    """Step of the checkpoint at which this call took up an earlier, broken one; 0: none."""


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """The new checkpoint, and what was measured on the way."""

    checkpoint_dir: Path
    steps: tuple[StepMetrics, ...]
    rollouts: tuple[RolloutStat, ...]
    report: TrainReport
    log_file: Path | None = None
    """Output of the trainer's processes, where it is kept."""


class Trainer(Protocol):
    """Something that trains: TRL here, veRL on GPUs."""

    def __call__(self, request: TrainRequest, on_step: OnStep | None) -> TrainOutcome:
        """Train; raises ConfigError for what cannot work, TrainingError for what went wrong."""
        ...


def _train_with_trl(request: TrainRequest, on_step: OnStep | None) -> TrainOutcome:
    from looptool.train.trl import train_with_trl

    return train_with_trl(request, on_step)


def _train_with_verl(request: TrainRequest, on_step: OnStep | None) -> TrainOutcome:
    from looptool.train.verl.run import train_with_verl

    return train_with_verl(request, on_step)


TRAINERS: dict[str, Trainer] = {"trl": _train_with_trl, "verl": _train_with_verl}
"""Trainers by the name that `train.trainer` gives."""


def train_policy(
    samples: Sequence[Sample],
    base_checkpoint_dir: str | Path,
    out_dir: str | Path,
    config: TrainConfig,
    *,
    random_seed: int,
    on_progress: OnStep | None = None,
    on_log: OnLog | None = None,
) -> TrainOutcome:
    """Train the base checkpoint on the samples; the same inputs give the same metrics."""
    trainer = TRAINERS.get(config.trainer)
    if trainer is None:
        raise ConfigError(f"unknown train.trainer {config.trainer!r}; known: {', '.join(TRAINERS)}")
    request = TrainRequest(
        samples=samples,
        base_checkpoint_dir=check_model_folder(base_checkpoint_dir),
        out_dir=Path(out_dir).expanduser().resolve(),
        config=config,
        random_seed=random_seed,
        on_log=on_log,
    )
    return trainer(request, on_progress)
