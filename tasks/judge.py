"""JGLV: was the prediction wrong, or the label?"""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from looptool.artifacts import ArtifactRef, artifact_key
from looptool.judge import (
    JudgeMeasure,
    Pair,
    Plan,
    Planting,
    apply_trust,
    find_mismatch,
    judge_batch,
    measure_judge,
    pair_key,
    report_judgements,
)
from looptool.prompts import digest as prompt_digest
from looptool.records import Judgement, Planted, ProbeResult, Sample
from looptool.schema import records_of
from looptool.validate import find_label_problems
from tasks.ahead import Ahead
from tasks.parts import AT_ONCE, Parts, Tables, combine, count_failures, make_parts
from tasks.policies import stage_task
from tasks.progress import Progress, logger
from tasks.scope import Input, Scope, Stage, run_async
from tasks.teacher import open_teacher

Batch = tuple[Sequence[Pair], Sequence[Plan]]


@stage_task("judge")
def judge(
    scope: Scope, dataset: ArtifactRef, probes: ArtifactRef, earlier: Sequence[ArtifactRef] = ()
) -> ArtifactRef:
    """Judge every mismatch of the probe, planted pairs among them; tables `judgements`, `planted`.

    `earlier` are the artifacts of this stage in the rounds before: the planted pairs of those with the
    same judge count in the measure of it. In parts of half of `judge.shard_size` mismatches, of which
    two are under way: that is what a killed run repeats. What was judged ahead is not asked for again.
    """
    inputs: dict[str, Input] = {"dataset": dataset, "probes": probes, "earlier": list(earlier)}
    stage = Stage("judge", scope, inputs)
    if done := stage.committed():
        return done
    config, random_seed = scope.config.judge, scope.config.random_seed
    samples = stage.store.read(dataset, "samples", Sample)
    pairs, plans = find_questions(stage, samples, probes)
    ahead = Ahead("judge", scope, dataset)
    known = take_known(ahead, [*pairs, *(plan.pair for plan in plans)])
    began = time.monotonic()
    parts = run_async(_judge(stage, scope, pairs, plans, known))
    judge_id = identify_judge(stage)
    measure = measure_judge(
        parts.rows("planted", Planted),
        read_planted(stage, earlier, judge_id),
        parts.rows("judgements", Judgement),
        config,
        random_seed,
    )
    judgements = _settle(stage, parts, measure)
    report = report_judgements(judgements)
    logger().info("verdicts: %s", report.by_verdict)
    tell_trust(measure, report.labels_withheld)
    taken = sum(pair_key(pair) in known for pair in pairs)
    judged = (len(pairs) - taken) * parts.fresh / max(1, len(parts.tables))
    usage = combine(parts.usage, ahead.usage())
    return stage.commit(
        {
            "report": report,
            "by_verdict": report.by_verdict,
            "measure": measure,
            "judge": judge_id,
            "judge_trusted": measure.trust.trusted,
            "judge_trust_reason": measure.trust.reason,
            "judged_ahead": taken,
            "failures": count_failures(usage),
            "teacher": usage,
            "per_second": judged / max(1e-9, time.monotonic() - began),
        }
    )


def find_questions(
    stage: Stage, samples: Sequence[Sample], probes: ArtifactRef
) -> tuple[list[Pair], list[Plan]]:
    """The mismatches of a probe and the pairs to plant among them, shard by shard."""
    by_id = {sample.sample_id: sample for sample in samples}
    planting = start_planting(stage.scope, probes.rows["probes"])
    pairs: list[Pair] = []
    plans: list[Plan] = []
    for results in stage.store.read_parts(probes, "probes", ProbeResult):
        shard = [by_id[result.sample_id] for result in results]
        pairs += find_pairs(shard, results)
        plans += planting.add(shard, results)
    return pairs, plans


def start_planting(scope: Scope, rows: int) -> Planting:
    """The planted pairs of a round whose dataset has so many rows."""
    # Another round has other pairs, so that pooled ones say more than one round's.
    random_seed = scope.config.random_seed + scope.iteration
    return Planting(rows, scope.config.judge, find_label_problems, random_seed)


def find_pairs(samples: Iterable[Sample], results: Iterable[ProbeResult]) -> list[Pair]:
    """The mismatches of a shard, those that match by the relaxed rule alone among them, marked."""
    return [
        find_mismatch(sample, result)
        for sample, result in zip(samples, results, strict=True)
        if not result.matched and not result.failure
    ]


async def _judge(
    stage: Stage,
    scope: Scope,
    pairs: Sequence[Pair],
    plans: Sequence[Plan],
    known: Mapping[str, Judgement],
) -> Parts:
    config = scope.config.judge
    batches = deal_batches(pairs, plans, max(1, config.shard_size // AT_ONCE))
    async with open_teacher(scope) as teacher:
        with Progress("judge", scope.iteration, "mismatches") as progress:
            ended = 0

            def show(rows: Tables) -> None:
                nonlocal ended
                ended += len(rows["judgements"])
                progress(ended, len(pairs), cost_usd=teacher.total().cost_usd or None)

            async def judge_one(batch: Batch) -> Tables:
                judgements, planted = await judge_batch(
                    *batch,
                    config,
                    teacher,
                    rule_check=find_label_problems,
                    random_seed=scope.config.random_seed,
                    known=known,
                )
                rows: Tables = {"judgements": judgements, "planted": planted}
                show(rows)
                return rows

            return await make_parts(
                stage,
                {"judgements": Judgement, "planted": Planted},
                [partial(judge_one, batch) for batch in batches],
                teacher,
                show,
            )


def take_known(ahead: Ahead, pairs: Iterable[Pair]) -> dict[str, Judgement]:
    """What was judged ahead of the stage, by the key of the pair."""
    keys = {key for pair in pairs if (key := pair_key(pair)) in ahead}
    return {key: records_of(ahead.take(key)["judgements"], Judgement)[0] for key in keys}


def deal_batches(pairs: Sequence[Pair], plans: Sequence[Plan], size: int) -> list[Batch]:
    """Mismatches in batches of at most `size`, each with its share of the planted pairs."""
    starts = range(0, max(1, len(pairs)), size)
    batches: list[Batch] = []
    for start in starts:
        end = min(start + size, len(pairs))
        first, last = (round(len(plans) * at / max(1, len(pairs))) for at in (start, end))
        batches.append((pairs[start:end], plans[first:last]))
    return batches


def _settle(stage: Stage, parts: Parts, measure: JudgeMeasure) -> list[Judgement]:
    """All judgements, labels replaced or withheld, in the parts too: only now is the judge measured."""
    settled: list[Judgement] = []
    for number, tables in enumerate(parts.tables):
        rows = records_of(tables["judgements"], Judgement)
        rows = list(apply_trust(rows, stage.scope.config.judge, measure.trust))
        # Both tables anew: a part is taken over only if all of its tables are of one run.
        stage.writer.write("judgements", "judgements", rows, number)
        stage.writer.write("planted", "planted", tables["planted"], number)
        settled += rows
    return settled


def identify_judge(stage: Stage) -> str:
    """Digest of who judges and by which rule: planted pairs of one judge may be counted together."""
    aside = {"random_seed", "judge.planted_rate", "judge.planted_min", "judge.precision_floor"}
    aside |= {"judge.replace_labels", "judge.shard_size"}
    settings = {name: value for name, value in stage.settings.items() if name not in aside}
    return artifact_key("judge", settings, prompt_digest("judge_compare"))


def read_planted(
    stage: Stage, earlier: Sequence[ArtifactRef], judge_id: str
) -> list[list[Planted]]:
    """The planted pairs of earlier rounds in which the same judge judged."""
    return [
        stage.store.read(ref, "planted", Planted)
        for ref in earlier
        if stage.store.manifest_of(ref).stats.get("judge") == judge_id
    ]


def tell_trust(measure: JudgeMeasure, withheld: int) -> None:
    """Say in the log whether labels are replaced, and why not."""
    if measure.trust.trusted:
        logger().info("labels are replaced: %s", measure.trust.reason)
    elif withheld:
        logger().warning(
            "%d proposed labels are withheld, their samples quarantined: %s",
            withheld,
            measure.trust.reason,
        )
