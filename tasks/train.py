"""GRPO on D_j."""

from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import create_table_artifact

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.engines.client import close_engines
from looptool.records import Sample, StepMetrics
from looptool.train import train_policy
from tasks.policies import stage_task
from tasks.policy import CHECKPOINT, local_folder
from tasks.progress import Progress, in_run, logger
from tasks.scope import Scope, Stage

LOG = "log"
"""File group of a training artifact that holds the output of the trainer's processes."""
TABLE_ROWS = 100
"""Most steps that the metrics artifact shows."""
SHOWN = {
    "step": "step",
    "reward_mean": "reward",
    "pass_any_rate": "pass@k",
    "zero_variance_rate": "no signal",
    "response_tokens_mean": "tokens",
    "truncated_rate": "truncated",
    "parse_error_rate": "unreadable",
    "masked": "masked",
    "entropy": "entropy",
    "clip_rate": "clipped",
    "seconds": "seconds",
}
"""Columns of the metrics artifact, by field of `StepMetrics`."""


@stage_task("train", retries=1)
def train(scope: Scope, dataset: ArtifactRef, base: CheckpointRef) -> ArtifactRef:
    """Train M_{j-1} on D_j; file groups `checkpoint` and `log`, tables `steps` and `rollouts`."""
    stage = Stage("train", scope, {"dataset": dataset, "base": base})
    if done := stage.committed():
        return done
    close_engines()
    with Progress("train", scope.iteration, "steps") as progress:

        def show(step: StepMetrics, total: int) -> None:
            progress(step.step, total, f"reward {step.reward_mean:.2f}")

        outcome = train_policy(
            stage.store.read(dataset, "samples", Sample),
            local_folder(scope, base),
            stage.work_folder("train") / CHECKPOINT,
            scope.config.train,
            random_seed=scope.config.random_seed + scope.iteration,
            on_progress=show,
            on_log=logger().info,
        )
    stage.writer.write_files(CHECKPOINT, outcome.checkpoint_dir)
    stage.writer.write("steps", "steps", outcome.steps)
    stage.writer.write("rollouts", "rollouts", outcome.rollouts)
    if outcome.log_file is not None:
        stage.writer.write_files(LOG, _alone(outcome.log_file))
    show_steps(scope.iteration, outcome.steps)
    report = outcome.report
    logger().info("%d steps in %.0f s", report.steps, report.seconds)
    stats = {"report": report, "per_second": report.rollouts / report.seconds}
    # Steps have times, logs have more of them: the same weights made twice are the same artifact.
    ref = stage.commit(stats, aside=("steps", LOG))
    stage.drop_work_folder()
    return ref


def show_steps(iteration: int, steps: Sequence[StepMetrics]) -> None:
    """The metrics of the steps as a Prefect table, thinned out evenly; silent outside of a run."""
    if not in_run():  # Prefect would start a server of its own to hold the table
        return
    stride = -(-len(steps) // TABLE_ROWS) or 1
    table = [_row(step) for step in steps[::-stride]][::-1]  # the last step is always shown
    create_table_artifact(table, key=f"train-{iteration}-steps", description="GRPO, by step")


def _row(step: StepMetrics) -> dict[str, float | int | None]:
    values = {title: getattr(step, field) for field, title in SHOWN.items()}
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


def _alone(file: Path) -> Path:
    """The file in a folder of its own."""
    folder = file.with_suffix(".files")
    folder.mkdir(exist_ok=True)
    file.replace(folder / file.name)
    return folder
