"""GRPO by TRL's `GRPOTrainer` in a child process: the light trainer for machines without a GPU.

The caller's side: writes the rows, streams the steps, publishes the checkpoint when it is whole.
"""

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from looptool.engines.process import run_in_child, thread_env
from looptool.errors import ConfigError, TrainingError
from looptool.records import RolloutStat, StepMetrics
from looptool.train.api import OnStep, TrainOutcome, TrainReport, TrainRequest
from looptool.train.checkpoint import publish, read_report
from looptool.train.rows import build_row, find_defects, plan_batches

JsonObject = dict[str, Any]

JOB = "looptool.train.trl_job"


def train_with_trl(request: TrainRequest, on_step: OnStep | None) -> TrainOutcome:
    """See `looptool.train.api.Trainer`."""
    started = time.monotonic()
    config = request.config
    defects = find_defects(request.samples)
    samples = [s for s in request.samples if s.sample_id not in set(defects)]
    # Refuse what cannot work before a process is started; the job plans again without long prompts.
    plan_batches(len(samples), config.batch_size, config.epochs, config.max_steps, 0)
    steps: list[StepMetrics] = []

    def receive(line: JsonObject) -> None:
        step = StepMetrics.model_validate(line["step"])
        steps.append(step)
        if on_step is not None:
            on_step(step, line["total"])

    partial = _make_partial(request.out_dir)
    try:
        rows = partial / "rows.jsonl"
        with rows.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(build_row(s)) + "\n" for s in samples)
        result = run_in_child(
            JOB,
            _job_request(request, rows, partial),
            timeout_s=config.timeout_s,
            on_line=receive,
            env=thread_env(config.threads),
            error=TrainingError,
        )
        checkpoint = read_report(result["checkpoint"])
        if checkpoint.problems:
            raise TrainingError(
                "the trained checkpoint is not usable: " + "; ".join(checkpoint.problems)
            )
        publish(partial / "checkpoint", request.out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    report = TrainReport(
        samples=len(request.samples),
        defects=defects,
        too_long=tuple(result["too_long"]),
        seconds=time.monotonic() - started,
        steps=len(steps),
        checkpoint=checkpoint,
        **result["counts"],
    )
    stats = tuple(RolloutStat.model_validate(row) for row in result["rollouts"])
    return TrainOutcome(request.out_dir, tuple(steps), stats, report)


def _make_partial(out_dir: Path) -> Path:
    """A fresh folder beside the final one; those that killed runs left behind are removed."""
    prefix = f".{out_dir.name}.partial-"
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        for stale in out_dir.parent.glob(f"{prefix}*"):
            shutil.rmtree(stale, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=out_dir.parent))
    except OSError as exc:
        raise ConfigError(f"checkpoint folder {out_dir} cannot be written: {exc}") from exc


def _job_request(request: TrainRequest, rows: Path, partial: Path) -> JsonObject:
    return {
        "op": "train",
        "rows": str(rows),
        "base": str(request.base_checkpoint_dir),
        "work": str(partial / "work"),
        "out": str(partial / "checkpoint"),
        "config": request.config.model_dump(mode="json"),
        "random_seed": request.random_seed,
    }
