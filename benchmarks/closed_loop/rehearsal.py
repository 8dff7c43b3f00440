"""The stages that need a model, by the simulated policy of `benchmarks.judging`.

Everything else is real, so the whole plan can be gone through in minutes. Its accuracies depend on the round
alone and mean nothing: they are never shown beside measured ones.
"""

import shutil
from collections.abc import Sequence

from benchmarks.closed_loop.run import Policy
from benchmarks.judging import ROUNDS, probe_as_policy
from looptool.artifacts import ArtifactRef, CheckpointRef
from looptool.probe import draw_retired
from looptool.records import ProbeResult, RolloutStat, Sample, Split, StepMetrics
from looptool.schema import Fate
from looptool.scout import summarise_scouting
from looptool.train.rows import plan_batches
from tasks.policy import CHECKPOINT
from tasks.scope import Input, Scope, Stage
from tasks.scout import find_candidates


def _answer(sample: Sample, scope: Scope) -> ProbeResult:
    iteration = min(max(1, scope.iteration), ROUNDS)
    return probe_as_policy(sample, iteration, scope.config.random_seed)


def _train(scope: Scope, dataset: ArtifactRef, base: CheckpointRef) -> ArtifactRef:
    stage = Stage("train", scope, {"dataset": dataset, "base": base, "arm": "rehearsed"})
    if done := stage.committed():
        return done
    config = scope.config.train
    samples = stage.store.read(dataset, "samples", Sample)
    seed = scope.config.random_seed + scope.iteration
    plan = plan_batches(len(samples), config.batch_size, config.epochs, config.max_steps, seed)
    folder = stage.work_folder("train") / CHECKPOINT
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "trained.txt").write_text(f"{base.digest} {dataset.digest}\n")
    stage.writer.write_files(CHECKPOINT, folder)
    steps = [
        StepMetrics(
            step=number,
            loss=0.0,
            reward_mean=0.5,
            reward_std=0.5,
            zero_variance_rate=0.0,
            response_tokens_mean=1.0,
            truncated_rate=0.0,
            seconds=0.0,
        )
        for number in range(1, len(plan.batches) + 1)
    ]
    stage.writer.write("steps", "steps", steps)
    stage.writer.write(
        "rollouts", "rollouts", [_roll(s, scope, config.group_size) for s in samples]
    )
    report = {
        "steps": len(plan.batches),
        "rollouts": len(plan.batches) * config.batch_size * config.group_size,
        "samples": len(samples),
        "used": len(plan.used),
        "too_long": [],
    }
    ref = stage.commit({"report": report})
    stage.drop_work_folder()
    return ref


def _roll(sample: Sample, scope: Scope, group: int) -> RolloutStat:
    rate = _answer(sample, scope).pass_rate or 0.0
    return RolloutStat(
        sample_id=sample.sample_id, rollouts=group, passed=round(rate * group), parse_errors=0
    )


def _evaluate(scope: Scope, policy: CheckpointRef, pool: ArtifactRef) -> ArtifactRef:
    stage = Stage("evaluate", scope, {"policy": policy, "pool": pool, "arm": "rehearsed"})
    if done := stage.committed():
        return done
    samples = [s for s in stage.store.read(pool, "samples", Sample) if s.split is not Split.TRAIN]
    stage.writer.write("probes", "probes", [_answer(sample, scope) for sample in samples])
    return stage.commit({})


def _probe(
    scope: Scope, policy: CheckpointRef, history: Sequence[ArtifactRef], trained: ArtifactRef
) -> ArtifactRef:
    inputs: dict[str, Input] = {
        "policy": policy,
        "history": list(history),
        "trained": trained,
        "arm": "rehearsed",
    }
    stage = Stage("probe", scope, inputs)
    if done := stage.committed():
        return done
    datasets = [stage.store.read(ref, "samples", Sample) for ref in history]
    retired = draw_retired(
        datasets,
        [stage.store.read(ref, "fates", Fate) for ref in history[1:]],
        scope.config.probe.reprobe_samples,
        random_seed=scope.config.random_seed,
        iteration=scope.iteration,
    )
    again = [_answer(sample, scope) for sample in retired]
    stage.writer.write("probes", "probes", [_answer(sample, scope) for sample in datasets[-1]])
    stage.writer.write("reprobes", "probes", again)
    forgotten = sum(not row.matched for row in again)
    return stage.commit({"reprobes": {"asked": len(again), "forgotten": forgotten}})


def _scout(
    scope: Scope,
    policy: CheckpointRef,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef],
    expansions: ArtifactRef,
) -> ArtifactRef:
    inputs: dict[str, Input] = {"policy": policy, "pool": pool, "history": list(history)}
    stage = Stage("scout", scope, inputs | {"expansions": expansions, "arm": "rehearsed"})
    if done := stage.committed():
        return done
    candidates = find_candidates(stage, pool, history, expansions)
    rows = [_roll(sample, scope, scope.config.scout.answers) for sample in candidates.all()]
    stage.writer.write("rollouts", "rollouts", rows)
    return stage.commit({"report": summarise_scouting(candidates, rows, 1.0, len(rows))})


SIMULATED = Policy(_train, _evaluate, _probe, _scout)
