"""JGLV: was the prediction wrong, or the label?"""

import time
from collections import Counter
from collections.abc import Sequence

from looptool.artifacts import ArtifactRef, shards
from looptool.judge import JudgeOutcome, judge_mismatches
from looptool.records import JsonObject, Judgement, ProbeResult, Sample
from looptool.validate import find_label_problems
from tasks.policies import stage_task
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage, run_async
from tasks.teacher import open_teacher

Pair = tuple[Sample, ProbeResult]


@stage_task("judge")
def judge(scope: Scope, dataset: ArtifactRef, probes: ArtifactRef) -> ArtifactRef:
    """Judge every mismatch of the probe, part by part; table `judgements`."""
    stage = Stage("judge", scope, {"dataset": dataset, "probes": probes})
    if done := stage.committed():
        return done
    samples = {s.sample_id: s for s in stage.store.read(dataset, "samples", Sample)}
    pairs = [
        (samples[result.sample_id], result)
        for result in stage.store.read(probes, "probes", ProbeResult)
        if not result.matched and not result.failure
    ]
    judgements: list[Judgement] = []
    reports: list[JsonObject] = []
    usage: list[JsonObject] = []
    began = time.monotonic()
    with Progress("judge", scope.iteration, "mismatches") as progress:
        for number, rows in shards(pairs, scope.config.judge.shard_size):
            found = stage.writer.load_part("judgements", "judgements", number, Judgement)
            if found is None:
                outcome, cost = run_async(_judge(scope, rows))
                found = list(outcome.judgements)
                stage.writer.write("judgements", "judgements", found, number)
                reports.append(outcome.report.model_dump(mode="json"))
                usage.append(cost)
            judgements += found
            progress(len(judgements), len(pairs))
    verdicts = Counter(judgement.verdict for judgement in judgements)
    logger().info("verdicts: %s", dict(verdicts))
    seconds = max(1e-9, time.monotonic() - began)
    return stage.commit(
        {
            "by_verdict": dict(verdicts),
            "parts": reports,
            "teacher": usage,
            "per_second": len(judgements) / seconds,
        }
    )


async def _judge(scope: Scope, pairs: Sequence[Pair]) -> tuple[JudgeOutcome, JsonObject]:
    async with open_teacher(scope) as teacher:
        outcome = await judge_mismatches(
            pairs, scope.config.judge, teacher, rule_check=find_label_problems
        )
        return outcome, teacher.usage_report()
