"""The targets of the seed phase: what the next round is to play, and the pool that comes of all rounds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.artifacts import create_markdown_artifact

from looptool.artifacts import ArtifactRef
from looptool.errors import DataError
from looptool.records import JsonObject, Play, Rejection, Sample, Split, ToolSpec
from looptool.seed import split_sides
from looptool.seed.coverage import count_coverage, render_coverage, render_targets
from looptool.seed.targets import (
    Choice,
    Targets,
    choose,
    plan_dialogues,
    read_history,
    set_targets,
)
from tasks.parts import combine, count_failures
from tasks.policies import stage_task
from tasks.progress import in_run, logger
from tasks.scope import Input, Scope, Stage


def rounds_of(scope: Scope) -> Iterator[Scope]:
    """The scopes of the rounds of the seed phase, as many as are allowed."""
    for number in range(1, scope.config.seed.rounds_max + 1):
        yield scope.model_copy(update={"round": number})


def is_empty(plan: ArtifactRef) -> bool:
    """Whether a plan has nothing to play: all targets are met, or out of reach."""
    return not plan.rows["casts"]


@stage_task("plan")
def plan_round(
    scope: Scope,
    tools: ArtifactRef,
    played: Sequence[ArtifactRef],
    accepted: Sequence[ArtifactRef],
) -> ArtifactRef:
    """What is still missing after the rounds so far, as dialogues to play; table `casts`."""
    inputs: dict[str, Input] = {"tools": tools, "played": played, "accepted": accepted}
    stage = Stage("plan", scope, inputs)
    if done := stage.committed():
        return done
    state = _read_state(stage, scope, tools, played, accepted)
    history = read_history(state.plays, state.samples, state.targets)
    casts = plan_dialogues(
        state.targets,
        state.choice.missing,
        history,
        scope.config.seed,
        state.sides,
        scope.config.random_seed,
    )
    missing = sum(state.choice.missing.values())
    logger().info(
        "round %s: %d of %d samples missing, %d dialogues to play",
        scope.label,
        missing,
        state.targets.total,
        len(casts),
    )
    stage.writer.write("casts", "casts", casts)
    return stage.commit({"missing": missing, "dialogues": len(casts)})


@stage_task("pool")
def fill_pool(
    scope: Scope,
    tools: ArtifactRef,
    played: Sequence[ArtifactRef],
    accepted: Sequence[ArtifactRef],
) -> ArtifactRef:
    """The samples that the targets ask for, of all rounds.

    Tables `samples` (exactly the targets, as far as they are met), `surplus` (accepted beyond them),
    `rejections` (repetitions of another round's samples) and `coverage`. Raises DataError when there
    is no sample at all.
    """
    inputs: dict[str, Input] = {"tools": tools, "played": played, "accepted": accepted}
    stage = Stage("pool", scope, inputs)
    if done := stage.committed():
        return done
    state = _read_state(stage, scope, tools, played, accepted)
    choice = state.choice
    stats = _count(stage, state, [*played, *accepted])
    if not choice.chosen:
        raise DataError(
            f"{len(state.plays)} dialogues gave no accepted sample; failures: {stats['failures']}, "
            f"rejections: {stats['rejected']}. Look at the tables `rejections` of the seed and validate "
            "stages, and check the tools and the teacher"
        )
    coverage = count_coverage(choice.chosen, state.sides)
    stage.writer.write("samples", "samples", choice.chosen)
    stage.writer.write("surplus", "samples", choice.surplus)
    doubles = [_reject(sample, twin) for sample, twin in choice.duplicates]
    stage.writer.write("rejections", "rejections", doubles)
    stage.writer.write("coverage", "coverage", coverage)
    _report(state, render_coverage(coverage))
    return stage.commit(stats)


@dataclass(frozen=True, slots=True)
class _State:
    """Where the seed phase stands."""

    targets: Targets
    sides: Mapping[Split, Sequence[ToolSpec]]
    plays: Sequence[Play]
    samples: Sequence[Sample]
    """Accepted in all rounds."""
    choice: Choice


def _read_state(
    stage: Stage,
    scope: Scope,
    tools: ArtifactRef,
    played: Sequence[ArtifactRef],
    accepted: Sequence[ArtifactRef],
) -> _State:
    config, random_seed = scope.config.seed, scope.config.random_seed
    specs = stage.store.read(tools, "tools", ToolSpec)
    samples = [s for ref in accepted for s in stage.store.read(ref, "samples", Sample)]
    targets = set_targets(config)
    return _State(
        targets=targets,
        sides=split_sides(specs, config.unseen_tool_rate, random_seed),
        plays=[play for ref in played for play in stage.store.read(ref, "plays", Play)],
        samples=samples,
        choice=choose(samples, targets, random_seed),
    )


def _reject(sample: Sample, twin: str) -> Rejection:
    return Rejection(
        stage="pool",
        row_id=sample.sample_id,
        rule="duplicate",
        detail=f"says the same as {twin}",
        row=sample.model_dump(mode="json"),
    )


def _count(stage: Stage, state: _State, rounds: Sequence[ArtifactRef]) -> dict[str, Any]:
    """The figures of the manifest, over all rounds."""
    usage: JsonObject = {}
    rejected: Counter[str] = Counter({"duplicate": len(state.choice.duplicates)})
    for ref in rounds:
        stats = stage.store.manifest_of(ref).stats
        usage = combine(usage, stats["teacher"])
        rejected.update(stats["rejected"])
    choice = state.choice
    return {
        "targets": {str(cell): count for cell, count in state.targets.cells.items()},
        "missing": {str(cell): count for cell, count in choice.missing.items()},
        "met": not choice.missing,
        "samples": len(choice.chosen),
        "surplus": len(choice.surplus),
        "dialogues": len(state.plays),
        "dialogues_failed": dict(Counter(play.rule for play in state.plays if play.rule)),
        "rejected": dict(sorted((+rejected).items())),
        "failures": count_failures(usage),
        # Not under `teacher`: the rounds have counted their costs themselves.
        "usage": usage,
    }


def _report(state: _State, coverage: str) -> None:
    """Warn of what is missing, and show targets and coverage beside the run."""
    choice = state.choice
    for cell, count in choice.missing.items():
        logger().warning(
            "target not met: %s lacks %d of %d", cell, count, state.targets.cells[cell]
        )
    tables = render_targets(state.targets, choice.missing, choice.chosen)
    surplus = f"{len(choice.surplus)} accepted samples are beyond the targets."
    met = f"{len(choice.chosen)} of {sum(state.targets.cells.values())} samples"
    _publish("seed-targets", met, f"# Accepted samples\n\n{tables}\n\n{surplus}")
    known = coverage.partition("\n")[0]
    _publish("seed-coverage", known, f"# Calls of each tool by kind\n\n{coverage}")


def _publish(key: str, description: str, markdown: str) -> None:
    if in_run():
        create_markdown_artifact(markdown, key=key, description=description)
    else:
        logger().info("%s", markdown)
