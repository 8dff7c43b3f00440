"""EDDE: new samples that keep the trap and change everything else."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from looptool.artifacts import ArtifactRef, shards
from looptool.chat import Teacher
from looptool.config import LoopConfig, read_range
from looptool.expand import (
    ErrorSeed,
    ExpandOutcome,
    Setting,
    Variety,
    choose_seeds,
    error_seeds,
    expand_seeds,
    load_variety,
    seed_key,
    summarise,
    tools_of,
)
from looptool.records import Judgement, Record, Rejection, Sample
from looptool.schema import records_of
from looptool.seed.difficulty import name_difficulty
from looptool.seed.people import load_people
from looptool.validate import validate_samples
from tasks.ahead import Ahead, Rows
from tasks.parts import AT_ONCE, Parts, Tables, combine, count_failures, make_parts
from tasks.policies import stage_task
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage, run_async
from tasks.teacher import open_teacher


@stage_task("expand")
def expand(scope: Scope, dataset: ArtifactRef, verdicts: ArtifactRef) -> ArtifactRef:
    """Grow validated samples from the error seeds; tables `samples` and `rejections`.

    In parts of half of `expand.shard_size` error seeds, of which two are under way: that is what a
    killed run repeats. Seeds that were expanded ahead are not expanded again.
    """
    stage = Stage("expand", scope, {"dataset": dataset, "verdicts": verdicts})
    if done := stage.committed():
        return done
    config = scope.config.expand
    samples = stage.store.read(dataset, "samples", Sample)
    judgements = stage.store.read(verdicts, "judgements", Judgement)
    rows = {sample.sample_id: sample for sample in samples}
    found = error_seeds(rows, judgements, scope.iteration)
    seeds = choose_seeds(found, config.max_seeds, scope.config.random_seed)
    ahead = Ahead("expand", scope, dataset)
    known = take_known(ahead, seeds)
    began = time.monotonic()
    parts = run_async(_expand(stage, scope, seeds, plan_variety(scope.config, samples), known))
    grown, rejected = parts.rows("samples", Sample), parts.rows("rejections", Rejection)
    report = summarise(seeds, grown, rejected, config.per_seed)
    logger().info(
        "%d new samples from %d error seeds, %d attempts",
        report.accepted,
        report.seeds,
        report.attempted,
    )
    taken = sum(len(rows["samples"]) for rows in known.values())
    made = (len(grown) - taken) * parts.fresh / max(1, len(parts.tables))
    usage = combine(parts.usage, ahead.usage())
    return stage.commit(
        {
            "error_seeds": len(seeds),
            "reviewed": True,
            "report": report,
            "expanded_ahead": len(known),
            "failures": count_failures(usage),
            "teacher": usage,
            "per_second": made / max(1e-9, time.monotonic() - began),
        }
    )


def plan_variety(config: LoopConfig, samples: Sequence[Sample]) -> Variety:
    """What new samples vary over: the profile's people, and the tools of the training samples."""
    people = load_people(config.seed.people)
    scenarios, values = load_variety()
    ranges = [read_range(text)[1] for text in config.seed.targets.tools]
    return Variety(
        personas=people.choose_personas(config.seed.personas),
        styles=people.choose_styles(config.seed.styles),
        scenarios=config.expand.scenarios or scenarios,
        values=values,
        tools=tools_of(samples) if config.expand.vary_tools else (),
        tools_max=max(ranges, default=config.seed.tools_max),
    )


def take_known(ahead: Ahead, seeds: Iterable[ErrorSeed]) -> dict[str, Rows]:
    """What was grown ahead of the stage, by the key of the seed."""
    return {key: ahead.take(key) for seed in seeds if (key := seed_key(seed)) in ahead}


async def _expand(
    stage: Stage,
    scope: Scope,
    seeds: Sequence[ErrorSeed],
    variety: Variety,
    known: Mapping[str, Rows],
) -> Parts:
    config = scope.config.expand
    batches = [some for _, some in shards(seeds, max(1, config.shard_size // AT_ONCE))]
    async with open_teacher(scope) as teacher:
        setting = make_setting(scope, variety, teacher)
        with Progress("expand", scope.iteration, "new samples") as progress:
            tried, accepted = 0, 0

            def show(seeds_done: int, more: int) -> None:
                nonlocal tried, accepted
                tried += seeds_done * config.per_seed
                accepted += more
                cost = teacher.total().cost_usd
                total = len(seeds) * config.per_seed
                progress(tried, total, accepted=accepted, cost_usd=cost or None)

            async def work(some: Sequence[ErrorSeed]) -> Tables:
                missing = [seed for seed in some if seed_key(seed) not in known]
                made = await expand_seeds(missing, setting, teacher, partial(show, 1))
                return insert_known(some, known, made)

            def show_stored(rows: Tables) -> None:
                samples = records_of(rows["samples"], Sample)
                rejections = records_of(rows["rejections"], Rejection)
                parents = {sample.parent_id for sample in samples}
                parents |= {rejection.row["parent_id"] for rejection in rejections}
                show(len(parents), len(samples))

            return await make_parts(
                stage,
                {"samples": Sample, "rejections": Rejection},
                [partial(work, some) for some in batches],
                teacher,
                show_stored,
            )


def insert_known(
    seeds: Sequence[ErrorSeed], known: Mapping[str, Rows], made: ExpandOutcome
) -> Tables:
    """The rows of all these seeds in their order, those that were known among the made."""
    samples, rejections = group_rows(made)
    tables: dict[str, list[Record]] = {"samples": [], "rejections": []}
    for seed in seeds:
        parent = seed.sample.sample_id
        own: Rows = {"samples": [*samples[parent]], "rejections": [*rejections[parent]]}
        for table, rows in known.get(seed_key(seed), own).items():
            tables[table] += rows
    return tables


def group_rows(made: ExpandOutcome) -> tuple[dict[str, list[Sample]], dict[str, list[Rejection]]]:
    """What became of each seed, by its sample's id."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    rejections: dict[str, list[Rejection]] = defaultdict(list)
    for sample in made.samples:
        samples[sample.parent_id].append(sample)
    for rejection in made.rejections:
        rejections[rejection.row["parent_id"]].append(rejection)
    return samples, rejections


def make_setting(scope: Scope, variety: Variety, teacher: Teacher) -> Setting:
    """How the seeds of a round are expanded: every attempt is validated as in the seed phase."""
    rules = scope.config.validate_

    async def check(sample: Sample) -> Rejection | None:
        found = await validate_samples([sample], rules, teacher, stage="expand")
        return found.rejected[0] if found.rejected else None

    return Setting(
        config=scope.config.expand,
        variety=variety,
        people=load_people(scope.config.seed.people),
        check=check,
        name_difficulty=name_difficulty,
        random_seed=scope.config.random_seed,
        iteration=scope.iteration,
    )
