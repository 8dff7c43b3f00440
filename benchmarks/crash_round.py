"""The seed phase and one round, task by task, with or without a model.

Training, evaluation and probe need torch and minutes. `hand-made` writes rows of their kinds through the
same writer in their place: a checkpoint of two small files, scores, and answers of which two in three are
wrong. `engine` stores the base model as what training made, and evaluates and probes it by the tasks
themselves, in the transformers engine's process. `real` trains as well.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.iterations import make_record
from benchmarks.seed_noise import run_seed_phase
from looptool.artifacts import ArtifactRef, CheckpointRef, Store, shards
from looptool.campaign import Campaign, IterationRecord
from looptool.config import LoopConfig
from looptool.engines import Generation
from looptool.engines.grading import grade, render_label
from looptool.records import ProbeResult, RolloutStat, Sample, Score
from tasks.expand import expand
from tasks.judge import judge
from tasks.merge import first_dataset, merge
from tasks.policy import base_policy, trained_policy
from tasks.scope import Input, Scope, Stage
from tasks.scout import find_candidates, scout
from tasks.streaming import working_ahead
from tasks.validate import validate

CAMPAIGN = "noise"
"""The one that `run_seed_phase` works in."""
SHARD_S = 0.5
"""How long a hand-made shard takes where something works ahead of the stages meanwhile, seconds."""
WRONG = '<tool_call>\n{"name": "no_such_tool", "arguments": {}}\n</tool_call>'


@dataclass(frozen=True)
class Policy:
    """The stages that need a model."""

    train: Callable[[Scope, ArtifactRef], ArtifactRef]
    evaluate: Callable[[Scope, CheckpointRef, ArtifactRef], ArtifactRef]
    probe: Callable[[Scope, CheckpointRef, ArtifactRef, ArtifactRef], ArtifactRef]
    scout: Callable[[Scope, CheckpointRef, ArtifactRef, ArtifactRef, ArtifactRef], ArtifactRef]


def run_round(config: LoopConfig, policy: Policy) -> IterationRecord:
    """From nothing to the record of the first iteration."""
    start = Scope(campaign=CAMPAIGN, iteration=0, config=config)
    pool = run_seed_phase(config)
    dataset = first_dataset.fn(scope=start, pool=pool)
    scope = start.model_copy(update={"iteration": 1})
    trained = policy.train(scope, dataset)
    checkpoint = trained_policy(trained)
    scores = policy.evaluate(scope, checkpoint, pool)
    with working_ahead(scope, checkpoint, [dataset], trained):
        probes = policy.probe(scope, checkpoint, dataset, trained)
    verdicts = judge.fn(scope=scope, dataset=dataset, probes=probes)
    grown = expand.fn(scope=scope, dataset=dataset, verdicts=verdicts)
    checked = validate.fn(scope=scope, candidates=grown)
    scouted = policy.scout(scope, checkpoint, pool, dataset, checked)
    merged = merge.fn(
        scope=scope,
        pool=pool,
        history=[dataset],
        probes=probes,
        verdicts=verdicts,
        expansions=checked,
        scouted=scouted,
    )
    record = make_record(
        1,
        dataset=dataset,
        merged=merged,
        checkpoint=checkpoint,
        scores=scores,
        verdicts=verdicts,
    )
    Campaign(scope.store(), CAMPAIGN).finish(record)
    return record


def _write_checkpoint(scope: Scope, dataset: ArtifactRef) -> ArtifactRef:
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.bin").write_bytes(bytes(range(256)) * 1024)

    return _store_checkpoint(scope, dataset, make)


def _copy_base(scope: Scope, dataset: ArtifactRef) -> ArtifactRef:
    base = Path(scope.config.policy.base)
    return _store_checkpoint(scope, dataset, lambda folder: shutil.copytree(base, folder))


def _store_checkpoint(
    scope: Scope, dataset: ArtifactRef, make: Callable[[Path], object]
) -> ArtifactRef:
    stage = Stage("train", scope, {"dataset": dataset, "base": "hand-made"})
    if done := stage.committed():
        return done
    folder = stage.work_folder("train") / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    make(folder)
    stage.writer.write_files("checkpoint", folder)
    samples = stage.store.read(dataset, "samples", Sample)
    rows = [
        RolloutStat(sample_id=s.sample_id, rollouts=8, passed=4, parse_errors=0) for s in samples
    ]
    stage.writer.write("rollouts", "rollouts", rows)
    ref = stage.commit({})
    stage.drop_work_folder()
    return ref


def _write_scores(scope: Scope, checkpoint: CheckpointRef, pool: ArtifactRef) -> ArtifactRef:
    stage = Stage("evaluate", scope, {"policy": checkpoint, "pool": pool})
    if done := stage.committed():
        return done
    row = Score(iteration=1, slice="all", n=4, correct=2, accuracy=0.5, low=0.1, high=0.9)
    stage.writer.write("scores", "scores", [row])
    return stage.commit({})


def _write_probes(
    scope: Scope, checkpoint: CheckpointRef, dataset: ArtifactRef, trained: ArtifactRef
) -> ArtifactRef:
    inputs = {"policy": checkpoint, "history": [dataset], "trained": trained}
    stage = Stage("probe", scope, inputs)
    if done := stage.committed():
        return done
    samples = stage.store.read(dataset, "samples", Sample)
    for number, part in shards(samples, scope.config.probe.shard_size):
        if stage.writer.load_part("probes", "probes", number, ProbeResult) is None:
            rows = [_answer(sample, n) for n, sample in enumerate(part)]
            stage.writer.write("probes", "probes", rows, number)
            time.sleep(SHARD_S * scope.config.streams)
    return stage.commit({"mismatched": 0})


def _answer(sample: Sample, number: int) -> ProbeResult:
    text = WRONG if number % 3 else render_label(sample)
    generation = Generation(
        text=text, token_ids=(1,), token_logprobs=(-0.1,), token_ends=(len(text),)
    )
    return grade(sample, generation)


def _write_scouting(
    scope: Scope,
    checkpoint: CheckpointRef,
    pool: ArtifactRef,
    dataset: ArtifactRef,
    expansions: ArtifactRef,
) -> ArtifactRef:
    inputs: dict[str, Input] = {"policy": checkpoint, "pool": pool, "history": [dataset]}
    stage = Stage("scout", scope, inputs | {"expansions": expansions})
    if done := stage.committed():
        return done
    candidates = find_candidates(stage, pool, [dataset], expansions)
    for number, part in shards(candidates.all(), scope.config.scout.shard_size):
        if stage.writer.load_part("rollouts", "rollouts", number, RolloutStat) is None:
            rows = [
                RolloutStat(sample_id=s.sample_id, rollouts=8, passed=n % 9, parse_errors=0)
                for n, s in enumerate(part)
            ]
            stage.writer.write("rollouts", "rollouts", rows, number)
    return stage.commit({})


def _train(scope: Scope, dataset: ArtifactRef) -> ArtifactRef:
    from tasks.train import train

    return train.fn(scope=scope, dataset=dataset, base=base_policy(scope))


def _evaluate(scope: Scope, checkpoint: CheckpointRef, pool: ArtifactRef) -> ArtifactRef:
    from tasks.evaluate import evaluate

    return evaluate.fn(scope=scope, policy=checkpoint, pool=pool)


def _probe(
    scope: Scope, checkpoint: CheckpointRef, dataset: ArtifactRef, trained: ArtifactRef
) -> ArtifactRef:
    from tasks.probe import probe

    return probe.fn(scope=scope, policy=checkpoint, history=[dataset], trained=trained)


def _scout(
    scope: Scope,
    checkpoint: CheckpointRef,
    pool: ArtifactRef,
    dataset: ArtifactRef,
    expansions: ArtifactRef,
) -> ArtifactRef:
    return scout.fn(
        scope=scope, policy=checkpoint, pool=pool, history=[dataset], expansions=expansions
    )


POLICIES = {
    "hand-made": Policy(_write_checkpoint, _write_scores, _write_probes, _write_scouting),
    "engine": Policy(_copy_base, _evaluate, _probe, _scout),
    "real": Policy(_train, _evaluate, _probe, _scout),
}


def outcome(root: Path) -> dict[str, str]:
    """The digest of every committed artifact, by its folder."""
    store = Store(str(root))
    found: dict[str, str] = {}
    for manifest in sorted(root.glob("campaigns/*/iterations/*/*/*/manifest.json")):
        ref = store.ref(store.uri(manifest.parent.relative_to(root).as_posix()))
        assert ref
        found[manifest.parent.relative_to(root).as_posix()] = ref.digest
    return found
