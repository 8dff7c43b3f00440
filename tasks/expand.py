"""EDDE: new samples that keep the trap and change everything else."""

import time
from collections.abc import Sequence

from looptool.artifacts import ArtifactRef, shards
from looptool.expand import ErrorSeed, ExpandOutcome, choose_seeds, error_seeds, expand_seeds
from looptool.records import JsonObject, Judgement, Rejection, Sample
from looptool.seed.people import load_people
from tasks.policies import stage_task
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage, run_async
from tasks.teacher import open_teacher


@stage_task("expand")
def expand(scope: Scope, dataset: ArtifactRef, verdicts: ArtifactRef) -> ArtifactRef:
    """Grow new samples from the error seeds; tables `samples` and `rejections`."""
    stage = Stage("expand", scope, {"dataset": dataset, "verdicts": verdicts})
    if done := stage.committed():
        return done
    config = scope.config.expand
    samples = {s.sample_id: s for s in stage.store.read(dataset, "samples", Sample)}
    judgements = stage.store.read(verdicts, "judgements", Judgement)
    seeds = choose_seeds(
        error_seeds(samples, judgements, scope.iteration),
        config.max_seeds,
        scope.config.random_seed,
    )
    grown: list[Sample] = []
    reports: list[JsonObject] = []
    usage: list[JsonObject] = []
    began, done_seeds = time.monotonic(), 0
    with Progress("expand", scope.iteration, "error seeds") as progress:
        for number, part in shards(seeds, config.shard_size):
            found = stage.writer.load_part("samples", "samples", number, Sample)
            if found is None or stage.writer.load_part(*_REJECTED, number, Rejection) is None:
                outcome, cost = run_async(_expand(scope, part))
                found = list(outcome.samples)
                stage.writer.write("samples", "samples", found, number)
                stage.writer.write(*_REJECTED, outcome.rejections, number)
                reports.append(outcome.report.model_dump(mode="json"))
                usage.append(cost)
            grown += found
            done_seeds += len(part)
            progress(done_seeds, len(seeds))
    logger().info("%d new samples from %d error seeds", len(grown), len(seeds))
    seconds = max(1e-9, time.monotonic() - began)
    return stage.commit(
        {
            "error_seeds": len(seeds),
            "parts": reports,
            "teacher": usage,
            "per_second": len(grown) / seconds,
        }
    )


_REJECTED = ("rejections", "rejections")


async def _expand(scope: Scope, seeds: Sequence[ErrorSeed]) -> tuple[ExpandOutcome, JsonObject]:
    voices = scope.config.seed
    people = load_people(voices.people)
    async with open_teacher(scope) as teacher:
        outcome = await expand_seeds(
            seeds,
            scope.config.expand,
            teacher,
            random_seed=scope.config.random_seed,
            iteration=scope.iteration,
            personas=tuple(map(people.persona, people.choose_personas(voices.personas))),
            styles=people.choose_styles(voices.styles),
            date="",
        )
        return outcome, teacher.usage_report()
