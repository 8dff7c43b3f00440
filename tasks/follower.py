"""Follows a probe: judges every shard that it has finished, and expands what is certain to be expanded.

    probe ──shard──> mismatches, planted pairs ──judge──> PRED_WRONG ──expand, review──> new samples

It makes rows that the stages `judge` and `expand` would make themselves, by the same functions, and
stores them as work done ahead (`tasks.ahead`); the stages settle the rest: the measure of the judge, new
labels, people's decisions, and whatever was not reached. So nothing that may still change is worked on:
a LABEL_WRONG is not expanded, and with `expand.max_seeds` no seed that others may still displace.

What the teacher refuses is left to the stage, which meets and reports it. Once the probe has ended
nothing new is begun.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from looptool.artifacts import ArtifactRef, shards
from looptool.chat import Teacher
from looptool.errors import EngineError, TeacherError, shorten
from looptool.expand import ErrorSeed, error_seeds, expand_seeds, find_certain, seed_key
from looptool.judge import Pair, judge_mixed, pair_key
from looptool.records import JsonObject, Judgement, ProbeResult, Sample
from looptool.schema import records_of
from looptool.validate import find_label_problems
from tasks.ahead import Ahead, Piece
from tasks.expand import make_setting, plan_variety
from tasks.judge import deal_batches, find_pairs, start_planting
from tasks.parts import AT_ONCE, combine
from tasks.progress import Progress, logger
from tasks.scope import Scope, Stage
from tasks.teacher import open_teacher

POLL_S = 0.3
"""How often the store is asked for the next shard; a shard is minutes of work."""
FAILURES_MAX = 3
"""Pieces that the teacher fails one after the other before the rest is left to the stages."""

Job = Callable[[], Awaitable[None]]


class Halt:
    """How the one who probes tells the follower that it is over; for use between threads."""

    def __init__(self) -> None:
        self._finish = threading.Event()
        self._stop = threading.Event()

    def finish(self) -> None:
        """The probe has ended: begin nothing new, finish what is under way."""
        self._finish.set()

    def stop(self) -> None:
        """The run is cancelled: end at once."""
        self._finish.set()
        self._stop.set()

    @property
    def finishing(self) -> bool:
        """Whether nothing new may be begun."""
        return self._finish.is_set()

    @property
    def stopped(self) -> bool:
        """Whether to end at once."""
        return self._stop.is_set()


class Lane:
    """Jobs of one kind in their order, `AT_ONCE` under way at a time."""

    def __init__(self) -> None:
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self._closed = False
        self._failures = 0

    def put(self, job: Job) -> None:
        """Queue a job; one that comes too late is dropped."""
        if not self._closed:
            self._jobs.put_nowait(job)

    def close(self) -> None:
        """Drop what waits; `work` ends with what is under way."""
        self._closed = True
        while not self._jobs.empty():
            self._jobs.get_nowait()
        for _ in range(AT_ONCE):
            self._jobs.put_nowait(None)

    async def work(self) -> None:
        """One of the `AT_ONCE` workers."""
        while (job := await self._jobs.get()) is not None:
            try:
                await job()
                self._failures = 0
            except TeacherError as exc:
                self._failures += 1
                if self._failures >= FAILURES_MAX:
                    raise
                logger().warning("a piece is left to its stage: %s", shorten(exc, 300))


class Follower:
    """The work ahead of one round."""

    def __init__(self, scope: Scope, dataset: ArtifactRef, probe: Stage, halt: Halt) -> None:
        """`probe`: the artifact that the probe is about to write."""
        self._scope = scope
        self._dataset = dataset
        self._probe = probe
        self._halt = halt
        self._samples = probe.store.read(dataset, "samples", Sample)
        self._by_id = {sample.sample_id: sample for sample in self._samples}
        self._planting = start_planting(scope, len(self._samples))
        self._judge, self._expand = Lane(), Lane()
        self._judged, self._expanded = (Ahead(n, scope, dataset) for n in ("judge", "expand"))
        self._open = set(self._by_id)
        """Samples that may still become error seeds, beside those that are."""
        self._seeds: list[ErrorSeed] = []
        self._begun: set[str] = set()
        """Judged samples whose expansion was begun."""
        self._counts = {"found": 0, "judged": 0, "expanded": 0}

    def run(self) -> JsonObject:
        """Work until the halt; how many mismatches were judged and seeds expanded.

        Raises what made it end early: of the teacher, the budget or the store.
        """
        asyncio.run(self._run_until_stopped())
        return {name: self._counts[name] for name in ("judged", "expanded")}

    async def _run_until_stopped(self) -> None:
        work = asyncio.create_task(self._run())
        while not work.done():
            await asyncio.wait([work], timeout=POLL_S)
            if (
                self._halt.stopped and not work.cancelling()
            ):  # a second time would interrupt its closing
                work.cancel()
        if work.cancelled():
            raise EngineError("the run was cancelled while it worked ahead; what was stored stays")
        work.result()

    async def _run(self) -> None:
        async with open_teacher(self._scope) as teacher:
            with Progress("ahead", self._scope.iteration, "mismatches") as progress:
                self._begin(teacher, progress)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._watch())
                        for lane in (self._judge, self._expand):
                            for _ in range(AT_ONCE):
                                group.create_task(lane.work())
                except BaseExceptionGroup as failures:
                    raise failures.exceptions[0] from None

    def _begin(self, teacher: Teacher, progress: Progress) -> None:
        self._teacher = teacher
        self._progress = progress
        variety = plan_variety(self._scope.config, self._samples)
        self._setting = make_setting(self._scope, variety, teacher)
        self._spent: dict[bool, JsonObject] = {}

    async def _watch(self) -> None:
        """Hand out the work of each shard as soon as it is there."""
        for number, rows in shards(self._samples, self._scope.config.probe.shard_size):
            results = await self._wait_for(number)
            if results is None:
                break
            batches, pairs = await asyncio.to_thread(self._cut, rows, results)
            self._open -= {row.sample_id for row in rows} - {
                pair.sample.sample_id for pair in pairs
            }
            self._counts["found"] += len(pairs)
            for real, planted in batches:
                self._judge.put(partial(self._judge_piece, real, planted))
        while not self._halt.finishing:
            await asyncio.sleep(POLL_S)
        self._judge.close()
        self._expand.close()

    async def _wait_for(self, number: int) -> list[ProbeResult] | None:
        """The results of a shard; None if the probe ended without it."""
        read = partial(self._probe.read_finished, "probes", number, ProbeResult)
        while not self._halt.finishing:
            if (results := await asyncio.to_thread(read)) is not None:
                return results
            await asyncio.sleep(POLL_S)
        return None

    def _cut(
        self, rows: Sequence[Sample], results: Sequence[ProbeResult]
    ) -> tuple[list[tuple[Sequence[Pair], list[Pair]]], list[Pair]]:
        """The batches of a shard (mismatches, planted pairs), and all of its mismatches."""
        pairs = find_pairs(rows, results)
        plans = self._planting.add(rows, results)
        size = max(1, self._scope.config.judge.shard_size // AT_ONCE)
        dealt = deal_batches(pairs, plans, size)
        return [(real, [plan.pair for plan in planted]) for real, planted in dealt], pairs

    async def _judge_piece(self, pairs: Sequence[Pair], planted: Sequence[Pair]) -> None:
        new = [pair for pair in (*pairs, *planted) if pair_key(pair) not in self._judged]
        if new:
            made = await judge_mixed(
                new,
                self._scope.config.judge,
                self._teacher,
                rule_check=find_label_problems,
                random_seed=self._scope.config.random_seed,
            )
            keys = {row.sample_id: key for key, row in made.items()}
            piece = Piece(keys, {"judgements": list(made.values())}, self._account(judging=True))
            await asyncio.to_thread(self._judged.add, piece)
        rows = [row for pair in pairs for row in self._judged.take(pair_key(pair))["judgements"]]
        self._count(judged=len(pairs))
        self._sort(records_of(rows, Judgement))
        self._offer_seeds()

    def _sort(self, judgements: Sequence[Judgement]) -> None:
        """Note what has become an error seed, and what no longer can."""
        for judgement in judgements:
            if judgement.proposed_label is None:  # else it stays open until it is decided on
                self._open.discard(judgement.sample_id)
            if judgement.verdict == "PRED_WRONG":
                self._seeds += error_seeds(self._by_id, [judgement], self._scope.iteration)

    def _offer_seeds(self) -> None:
        config = self._scope.config.expand
        random_seed = self._scope.config.random_seed
        certain = find_certain(self._seeds, self._open, config.max_seeds, random_seed)
        new = [seed for seed in certain if seed.judgement.sample_id not in self._begun]
        self._begun |= {seed.judgement.sample_id for seed in new}
        for _, some in shards(new, max(1, config.shard_size // AT_ONCE)):
            self._expand.put(partial(self._expand_piece, some))

    async def _expand_piece(self, seeds: Sequence[ErrorSeed]) -> None:
        new = [seed for seed in seeds if seed_key(seed) not in self._expanded]
        if new:
            made = await expand_seeds(new, self._setting, self._teacher)
            keys = {seed.sample.sample_id: seed_key(seed) for seed in new}
            tables = {"samples": made.samples, "rejections": made.rejections}
            piece = Piece(keys, tables, self._account(judging=False))
            await asyncio.to_thread(self._expanded.add, piece)
        self._count(expanded=len(seeds))

    def _account(self, *, judging: bool) -> JsonObject:
        """What the teacher has cost since the last piece of the kind; two pieces share what lies between."""
        used = {
            name: stage
            for name, stage in self._teacher.usage_report().items()
            if (name == "judge") is judging
        }
        cost: JsonObject = combine(used, self._spent.get(judging, {}), sign=-1)
        self._spent[judging] = used
        return cost

    def _count(self, **more: int) -> None:
        for name, count in more.items():
            self._counts[name] += count
        self._progress(
            self._counts["judged"],
            self._counts["found"],
            f"{self._counts['expanded']} error seeds expanded",
            cost_usd=self._teacher.total().cost_usd or None,
        )
