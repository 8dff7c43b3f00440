"""One run: rounds of train, evaluate and refresh, and a row for each.

D_j is trained on from M_{j-1} in every arm. The row of round j tells how D_j was made, the training on it, and
what M_j answers on the held-out samples.
"""

import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ParamSpec

from benchmarks.closed_loop import compose
from benchmarks.closed_loop.arms import ARMS, BASE, Arm, Run
from benchmarks.closed_loop.measure import (
    Items,
    check_equal_work,
    checkpoint_digest,
    count_teacher,
    describe_answers,
    describe_changes,
    describe_data,
    describe_scouting,
    describe_training,
    find_clean,
)
from benchmarks.closed_loop.rows import IDENTITY, Row, RowFile
from benchmarks.closed_loop.study import Study
from benchmarks.seed_noise import run_seed_phase
from looptool.artifacts import ArtifactRef, CheckpointRef, Store
from looptool.engines.client import close_engines
from looptool.records import JsonObject, Judgement, Sample, Split, canonical_json
from tasks.evaluate import evaluate
from tasks.expand import expand
from tasks.judge import judge
from tasks.merge import first_dataset, merge
from tasks.policy import base_policy, trained_policy
from tasks.probe import probe
from tasks.scope import Scope
from tasks.scout import scout
from tasks.train import train
from tasks.validate import validate

Say = Callable[[str], None]
P = ParamSpec("P")


@dataclass(frozen=True)
class Policy:
    """The stages that need a model."""

    train: Callable[[Scope, ArtifactRef, CheckpointRef], ArtifactRef]
    evaluate: Callable[[Scope, CheckpointRef, ArtifactRef], ArtifactRef]
    probe: Callable[[Scope, CheckpointRef, Sequence[ArtifactRef], ArtifactRef], ArtifactRef]
    scout: Callable[
        [Scope, CheckpointRef, ArtifactRef, Sequence[ArtifactRef], ArtifactRef], ArtifactRef
    ]


def _train(scope: Scope, dataset: ArtifactRef, base: CheckpointRef) -> ArtifactRef:
    return train.fn(scope=scope, dataset=dataset, base=base)


def _evaluate(scope: Scope, policy: CheckpointRef, pool: ArtifactRef) -> ArtifactRef:
    return evaluate.fn(scope=scope, policy=policy, pool=pool)


def _probe(
    scope: Scope, policy: CheckpointRef, history: Sequence[ArtifactRef], trained: ArtifactRef
) -> ArtifactRef:
    return probe.fn(scope=scope, policy=policy, history=history, trained=trained)


def _scout(
    scope: Scope,
    policy: CheckpointRef,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef],
    expansions: ArtifactRef,
) -> ArtifactRef:
    return scout.fn(scope=scope, policy=policy, pool=pool, history=history, expansions=expansions)


REAL = Policy(_train, _evaluate, _probe, _scout)


class Clock:
    """What each artifact took, noted in the store by the process that made it.

    What an earlier, killed process had done for it is not counted.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def time(
        self, make: Callable[P, ArtifactRef], *args: P.args, **kwargs: P.kwargs
    ) -> ArtifactRef:
        """The artifact that `make` gives; its seconds are noted if it was made now."""
        start = datetime.now(UTC).isoformat(timespec="seconds")
        began, used = time.monotonic(), _cpu_s()
        ref = make(*args, **kwargs)
        close_engines()  # the processor time of a child counts once it has ended
        if self._store.manifest_of(ref).created_at >= start:
            took = [round(time.monotonic() - began, 2), round(_cpu_s() - used, 2)]
            self._store.create(self._note(ref), canonical_json(took).encode())
        return ref

    def read(self, refs: Sequence[ArtifactRef]) -> dict[str, list[float]]:
        """Seconds by the clock and of the processor, by stage; a stage without a note is left out."""
        found: dict[str, list[float]] = {}
        for ref in refs:
            if data := self._store.get(self._note(ref)):
                before = found.get(ref.stage, [0.0, 0.0])
                found[ref.stage] = [
                    round(a + b, 2) for a, b in zip(before, json.loads(data), strict=True)
                ]
        return found

    def _note(self, ref: ArtifactRef) -> str:
        return self._store.path("times", f"{ref.stage}-{ref.key}.json")


def _cpu_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


@dataclass(frozen=True)
class Ground:
    """What all arms of a seed start from."""

    start: Scope
    """Iteration 0, configured as the base run."""
    pool: ArtifactRef
    policy: CheckpointRef
    """M_0."""
    first: ArtifactRef
    """D_1."""
    heldout: tuple[Sample, ...]
    """The clean ones, in the order of the bits of a row."""


@dataclass(frozen=True)
class Made:
    """D_j, and what it was made from."""

    dataset: ArtifactRef
    """To train on."""
    once: ArtifactRef
    """The same with each sample once: to probe, and to merge from."""
    probes: ArtifactRef | None = None
    """Of M_{j-1} on D_{j-1}; None where nothing was refreshed."""
    verdicts: ArtifactRef | None = None
    scouted: ArtifactRef | None = None
    """How M_{j-1} did on what could enter D_j."""
    stages: tuple[ArtifactRef, ...] = ()
    """Everything that was made for it."""


@dataclass(frozen=True)
class Round:
    """One round, as far as it is done."""

    number: int
    made: Made
    """D_j."""
    trained: ArtifactRef
    training: JsonObject
    scores: ArtifactRef


@dataclass
class State:
    """Where a run stands."""

    policy: CheckpointRef
    """M_j."""
    trained: ArtifactRef | None = None
    history: list[ArtifactRef] = field(default_factory=list)
    """D_1 … D_j, each sample once."""
    verdicts: list[ArtifactRef] = field(default_factory=list)


class Runner:
    """Runs of one study in this process."""

    def __init__(self, study: Study, policy: Policy = REAL, say: Say = print) -> None:
        self.study = study
        self.rows = RowFile(study.out)
        self._policy = policy
        self._say = say

    def run(self, run: Run) -> None:
        """Every round of a run, from what the store and the rows have already."""
        if run.arm == BASE:
            self._run_base(run)
        else:
            self._run_arm(run)

    def _run_base(self, run: Run) -> None:
        """The row of round 0; and what more than one arm asks of round 1, so that it is there."""
        ground, clock = self._prepare(run)
        scores = clock.time(self._policy.evaluate, ground.start, ground.policy, ground.pool)
        shared = Run("loop", run.seed, 1, run.noise)
        state = self._play(shared, ground, clock, with_rows=False)
        self._refresh(ARMS["loop"], ground, state, self._scope(shared, 1), clock)
        store = ground.start.store()
        samples = store.read(ground.pool, "samples", Sample)
        training = [sample for sample in samples if sample.split is Split.TRAIN]
        row = {
            "items": Items.of(ground.heldout).as_row(),
            "left_out": len(samples) - len(training) - len(ground.heldout),
            "pool": {"digest": ground.pool.digest, **describe_data(training)},
            "checkpoint": ground.policy.digest,
            **describe_answers(store, scores, ground.heldout),
            "teacher": count_teacher([store.manifest_of(ground.pool)]),
            "times": clock.read([ground.pool, scores]),
        }
        self._append("ground", run, 0, row)

    def _run_arm(self, run: Run) -> None:
        ground, clock = self._prepare(run)
        self._play(run, ground, clock, with_rows=True)

    def _prepare(self, run: Run) -> tuple[Ground, Clock]:
        config = self.study.config(run.base())
        start = Scope(campaign=f"seed-{run.seed}", iteration=0, config=config)
        store = start.store()
        clock = Clock(store)
        pool = clock.time(run_seed_phase, config, start.campaign)
        first = clock.time(first_dataset.fn, scope=start, pool=pool)
        heldout = tuple(find_clean(store.read(pool, "samples", Sample)))
        return Ground(start, pool, base_policy(start), first, heldout), clock

    def _scope(self, run: Run, number: int) -> Scope:
        config = self.study.config(run)
        return Scope(campaign=f"seed-{run.seed}", iteration=number, config=config)

    def _play(self, run: Run, ground: Ground, clock: Clock, *, with_rows: bool) -> State:
        """The rounds of a run."""
        arm, store = ARMS[run.arm], ground.start.store()
        state = State(policy=ground.policy)
        for number in range(1, run.rounds + 1):
            scope = self._scope(run, number)
            made = Made(ground.first, ground.first, stages=(ground.first,))
            if number > 1:
                made = self._refresh(arm, ground, state, self._scope(run, number - 1), clock)
            began, base = time.monotonic(), state.policy
            trained = clock.time(self._policy.train, scope, made.dataset, base)
            training = describe_training(store, trained)
            check_equal_work(scope.config, training, f"{run.name}, round {number},")
            policy = trained_policy(trained)
            scores = clock.time(self._policy.evaluate, scope, policy, ground.pool)
            self._say(f"{run.name}: M_{number} after {time.monotonic() - began:.0f} s")
            if with_rows:
                done = Round(number, made, trained, training, scores)
                self._describe(run, ground, state, done, clock)
            state.policy, state.trained = policy, trained
            state.history.append(made.once)
            if made.verdicts is not None:
                state.verdicts.append(made.verdicts)
        return state

    def _refresh(self, arm: Arm, ground: Ground, state: State, scope: Scope, clock: Clock) -> Made:
        """D_{j+1} of an arm after round j, the iteration of `scope`."""
        if arm.data == "first":
            return Made(ground.first, ground.first)
        history = state.history
        if arm.data == "pool":
            found: list[ArtifactRef] = []
            if arm.scouted:
                scouting = (scope, state.policy, ground.pool, history, compose.grow_nothing(scope))
                found = [clock.time(self._policy.scout, *scouting)]
            drawn = clock.time(compose.draw_from_pool, scope, ground.pool, history, *found)
            return Made(drawn, drawn, scouted=next(iter(found), None), stages=(*found, drawn))
        dataset, trained = history[-1], state.trained
        assert trained is not None
        probes = clock.time(self._policy.probe, scope, state.policy, history, trained)
        verdicts = clock.time(_find_verdicts, arm, scope, dataset, probes, state.verdicts)
        grown = clock.time(_grow, arm, scope, dataset, verdicts)
        checked = clock.time(_check, arm, scope, grown)
        scouted = None
        if arm.scouted:
            scouting = (scope, state.policy, ground.pool, history, checked)
            scouted = clock.time(self._policy.scout, *scouting)
        ranks = probes if arm.ranked else compose.shuffle_ranks(scope, probes)
        merged = clock.time(
            merge.fn,
            scope=scope,
            pool=ground.pool,
            history=history,
            probes=ranks,
            verdicts=verdicts,
            expansions=checked,
            scouted=scouted,
        )
        copied = compose.repeat_errors(scope, merged) if arm.grown == "copies" else (merged, merged)
        made = (probes, verdicts, grown, checked, scouted, merged)
        stages = {ref.uri: ref for ref in made if ref is not None}
        return Made(*copied, probes, verdicts, scouted, tuple(stages.values()))

    def _describe(self, run: Run, ground: Ground, before: State, done: Round, clock: Clock) -> None:
        """Append the row of a round, unless it is there; `before` is the state that it began with."""
        if done.number not in missing_rounds(run, self.study, self.rows.read()):
            return
        store, made = ground.start.store(), done.made
        samples = store.read(made.dataset, "samples", Sample)
        row = {
            "dataset": {"digest": made.dataset.digest, **describe_data(samples)},
            "training": done.training,
            "checkpoint": checkpoint_digest(store.manifest_of(done.trained)),
            **describe_answers(store, done.scores, ground.heldout),
            "changes": None,
            "forgetting": None,
            "scouting": None,
            "teacher": count_teacher(map(store.manifest_of, made.stages)),
            "times": clock.read([*made.stages, done.trained, done.scores]),
        }
        if made.probes is not None and made.verdicts is not None:
            judged = store.read(made.verdicts, "judgements", Judgement)
            earlier = store.read(before.history[-1], "samples", Sample)
            row["changes"] = describe_changes(earlier, judged)
            row["forgetting"] = store.manifest_of(made.probes).stats["reprobes"]
        if made.scouted is not None:
            row["scouting"] = describe_scouting(store, made.scouted)
        self._append("round", run, done.number, row)

    def _append(self, kind: str, run: Run, number: int, row: JsonObject) -> None:
        identity = dict(zip(IDENTITY, self.study.identity(run), strict=True))
        own = {
            "kind": kind,
            "round": number,
            "code": self.study.code,
            "threads": self.study.threads,
            "rehearsed": self.study.rehearsed,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.rows.append({**identity, **own, **row})


def _find_verdicts(
    arm: Arm, scope: Scope, dataset: ArtifactRef, probes: ArtifactRef, earlier: list[ArtifactRef]
) -> ArtifactRef:
    if not arm.judged:
        return compose.keep_labels(scope, dataset, probes)
    return judge.fn(scope=scope, dataset=dataset, probes=probes, earlier=earlier)


def _grow(arm: Arm, scope: Scope, dataset: ArtifactRef, verdicts: ArtifactRef) -> ArtifactRef:
    if arm.grown != "expansions":
        return compose.grow_nothing(scope)
    return expand.fn(scope=scope, dataset=dataset, verdicts=verdicts)


def _check(arm: Arm, scope: Scope, grown: ArtifactRef) -> ArtifactRef:
    return validate.fn(scope=scope, candidates=grown) if arm.grown == "expansions" else grown


def missing_rounds(run: Run, study: Study, rows: Sequence[Row]) -> list[int]:
    """The rounds of a run that have no row yet; of a base run round 0."""
    identity = study.identity(run)
    wanted = [0] if run.arm == BASE else range(1, run.rounds + 1)
    there = {
        row["round"]
        for row in rows
        if row["kind"] in ("ground", "round") and tuple(row[name] for name in IDENTITY) == identity
    }
    return [number for number in wanted if number not in there]
