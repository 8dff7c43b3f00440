"""Published benchmarks on a checkpoint: one stage each, a part for each category."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prefect import Task
from prefect.artifacts import create_markdown_artifact

from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.campaign import IterationRecord, Standing
from looptool.engines.options import engine_options
from looptool.errors import CampaignError
from looptool.records import BENCHMARKS, BenchmarkItem, BenchmarkName, BenchmarkScore
from looptool.suites import (
    HEADS,
    list_categories,
    open_policy_app,
    run_category,
    score_rows,
    serve_on_socket,
)
from tasks.policies import stage_task
from tasks.policy import base_policy, local_folder
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage

ITEMS, SCORES = "benchmark_items", "benchmark_scores"


def measure(name: BenchmarkName, scope: Scope, policy: CheckpointRef) -> ArtifactRef:
    """Run a benchmark; tables `benchmark_items` and `benchmark_scores`, a part for each category.

    Categories that an earlier run finished are taken over.
    """
    stage = Stage(name, scope, {"policy": policy})
    if done := stage.committed():
        return done
    categories = list_categories(name, scope.config)
    missing = [pair for pair in enumerate(categories) if not _finished(stage, pair[0])]
    if missing:
        folder = local_folder(scope, policy)
        with (
            open_policy_app(scope.config, folder, engine_options(scope.config)) as app,
            serve_on_socket(app) as socket,
            Progress(name.replace("_", "-"), scope.iteration, "categories") as progress,
        ):
            for number, category in missing:
                tell = partial(_tell, progress, number, len(categories), category)
                items, score = run_category(name, category, socket, scope.config, tell)
                stage.writer.write(ITEMS, ITEMS, items, number)
                stage.writer.write(SCORES, SCORES, [score], number)
                _log(score)
    return stage.commit({"categories": list(categories)})


def _finished(stage: Stage, number: int) -> bool:
    return (
        stage.load_part(ITEMS, number, BenchmarkItem) is not None
        and stage.load_part(SCORES, number, BenchmarkScore) is not None
    )


def _tell(
    progress: Callable[..., None], number: int, total: int, category: str, answered: int
) -> None:
    progress(number, total, f"{category}: {answered} answered")


def _log(score: BenchmarkScore) -> None:
    (row,) = score_rows([score])
    shown = ", ".join(f"{head} {cell}" for head, cell in zip(HEADS[1:], row[1:], strict=True))
    logger().info("%s %s: %s", score.benchmark, score.category, shown)
    if score.errors:
        logger().warning(
            "%s %s: %d of %d requests failed; they are in neither accuracy",
            score.benchmark,
            score.category,
            score.errors,
            score.n,
        )


def _task(name: BenchmarkName) -> Task[..., ArtifactRef]:
    def run(scope: Scope, policy: CheckpointRef) -> ArtifactRef:
        return measure(name, scope, policy)

    return stage_task(name, retries=1)(run)


MEASURES: Mapping[BenchmarkName, Task[..., ArtifactRef]] = {
    name: _task(name) for name in BENCHMARKS
}
"""The task of each benchmark."""


def choose_policy(
    scope: Scope, records: list[IterationRecord], iteration: int | None
) -> tuple[Scope, CheckpointRef]:
    """The policy to measure, and the scope of the iteration that trained it.

    None: the best one so far; 0: the base model. Raises CampaignError for an iteration that is not complete.
    """
    best: Standing | None = records[-1].best if records else None
    number = iteration if iteration is not None else best.iteration if best else 0
    if number > len(records):
        raise CampaignError(
            f"campaign {scope.campaign} has {len(records)} complete iterations; there is no M_{number} yet"
        )
    policy = records[number - 1].checkpoint if number else base_policy(scope)
    return scope.model_copy(update={"iteration": number}), policy


def overrides_for(
    benchmarks: list[BenchmarkName], categories: list[str], limit: int | None
) -> dict[str, Any]:
    """Categories and limit of a run, as settings over the profile."""
    given = {"categories": categories or None, "limit": limit}
    return {
        f"benchmarks.{name}.{key}": value
        for name in benchmarks
        for key, value in given.items()
        if value is not None
    }


def publish_scores(scope: Scope, name: BenchmarkName, ref: ArtifactRef) -> None:
    """The scores of one benchmark as a markdown artifact of the run."""
    scores = scope.store().read(ref, SCORES, BenchmarkScore)
    lines = [
        f"# {name} of M_{scope.iteration}, campaign {scope.campaign}",
        "",
        f"Accuracies in percent with 95% intervals, harness {scores[0].version}. Failed requests are in "
        "neither of them; `strict` is our matching rule on the same answers.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|" + "---|" * len(HEADS),
        *("| " + " | ".join(row) + " |" for row in score_rows(scores)),
    ]
    create_markdown_artifact(
        "\n".join(lines),
        key=f"{name.replace('_', '-')}-{scope.iteration}",
        description=f"{name}, official and strict",
    )
