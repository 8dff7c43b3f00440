"""GRPO on D_j."""

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.engines.client import close_engines
from looptool.records import Sample, StepMetrics
from looptool.train import train_policy
from tasks.policies import stage_task
from tasks.policy import CHECKPOINT, local_folder
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage


@stage_task("train", retries=1)
def train(scope: Scope, dataset: ArtifactRef, base: CheckpointRef) -> ArtifactRef:
    """Train M_{j-1} on D_j; file group `checkpoint`, tables `steps` and `rollouts`."""
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
        )
    stage.writer.write_files(CHECKPOINT, outcome.checkpoint_dir)
    stage.writer.write("steps", "steps", outcome.steps)
    stage.writer.write("rollouts", "rollouts", outcome.rollouts)
    report = outcome.report
    logger().info("%d steps in %.0f s", report.steps, report.seconds)
    ref = stage.commit({"report": report, "per_second": report.rollouts / report.seconds})
    stage.drop_work_folder()
    return ref
