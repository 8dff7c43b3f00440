"""Scouting: what M_j gets right sometimes, among the samples that could enter D_{j+1}. Not in the paper.

A group of rollouts that are all right or all wrong has no gradient in GRPO. Of what is in D_j, training
has measured that by itself; of expansions, of what found no place earlier and of unused seeds nobody
knows, and most of them carry no signal. So M_j answers some of them a few times, as it would in
training, and the merge (`looptool.merge.places`) prefers those with mixed outcome. It costs inference
alone.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from looptool.artifacts import ArtifactWriter, shards
from looptool.calls import parse_reply
from looptool.config import ScoutConfig, TrainConfig
from looptool.engines import Engine, Generation, Limits, Sampling
from looptool.engines.grading import build_prompt, is_right
from looptool.records import RolloutStat, Sample, draw

__all__ = [
    "Candidates",
    "ScoutReport",
    "Scouted",
    "choose_candidates",
    "scout_parts",
    "summarise_scouting",
]

T = TypeVar("T")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Candidates:
    """What could enter the next dataset, or the part of it that is scouted."""

    expansions: Sequence[Sample] = ()
    """Validated ones of this round."""
    waiting: Sequence[Sample] = ()
    """What found no place in earlier rounds."""
    new_seeds: Sequence[Sample] = ()
    """Seeds that no dataset has used."""

    def all(self) -> list[Sample]:
        """One after the other."""
        return [*self.expansions, *self.waiting, *self.new_seeds]


@dataclass(frozen=True, slots=True)
class Scouted:
    """Counts of one sort of candidates."""

    asked: int
    mixed: int
    """Some answers right and some wrong: a group of rollouts would carry signal."""
    solved: int
    """All right."""
    unsolved: int
    """None right."""
    failed: int
    """No answer at all, such as a prompt that training would leave out as too long."""


@dataclass(frozen=True, slots=True)
class ScoutReport:
    """What was found, and what it cost."""

    expansions: Scouted
    waiting: Scouted
    new_seeds: Scouted
    answers: int
    seconds: float
    samples_per_s: float


def choose_candidates(
    offered: Candidates,
    config: ScoutConfig,
    dataset_size: int,
    *,
    random_seed: int,
    iteration: int,
) -> Candidates:
    """As many as are to be scouted: expansions of each error seed in turn, the others drawn.

    The order of the inputs plays no part.
    """
    if not config.answers:
        return Candidates()

    def place(sample: Sample) -> str:
        return draw(random_seed, "scout", iteration, sample.sample_id)

    def some(samples: Sequence[Sample], rate: float) -> list[Sample]:
        return sorted(samples, key=place)[: round(rate * dataset_size)]

    turns: Counter[str | None] = Counter()
    dealt: list[tuple[int, Sample]] = []
    for sample in sorted(offered.expansions, key=place):
        dealt.append((turns[sample.parent_id], sample))
        turns[sample.parent_id] += 1
    dealt.sort(key=lambda pair: pair[0])
    return Candidates(
        expansions=[sample for _, sample in dealt][: round(config.expansions * dataset_size)],
        waiting=some(offered.waiting, config.waiting),
        new_seeds=some(offered.new_seeds, config.new_seeds),
    )


def scout_parts(
    candidates: Candidates,
    config: ScoutConfig,
    training: TrainConfig,
    writer: ArtifactWriter,
    open_engine: Callable[[], AbstractContextManager[Engine]],
    *,
    random_seed: int,
    at_once: int = 1,
    on_progress: Progress | None = None,
) -> tuple[list[RolloutStat], ScoutReport]:
    """Draw answers to each candidate, part by part, into table `rollouts`; finished parts are kept.

    A candidate without an answer has a row with no rollouts. `at_once` parts are worked on at the same
    time, each with an engine of its own; the answers do not depend on it.
    """
    everything = candidates.all()
    found: dict[int, Sequence[RolloutStat]] = {}
    missing: dict[int, Sequence[Sample]] = {}
    for number, samples in shards(everything, config.shard_size):
        rows = writer.load_part("rollouts", "rollouts", number, RolloutStat)
        if rows is None:
            missing[number] = samples
        else:
            found[number] = rows
    began = time.monotonic()
    kept = sum(map(len, found.values()))
    progress = _PartsDone(kept, len(everything), on_progress)

    def ask(number: int) -> list[RolloutStat]:
        seed = int(draw(random_seed, "scout", number)[:8], 16)
        with open_engine() as engine:
            answers = engine.sample(
                [build_prompt(sample) for sample in missing[number]],
                Limits(training.max_response_tokens, training.max_prompt_tokens, config.batch_size),
                Sampling(config.answers, training.temperature, seed),
                on_progress=lambda done, _: progress.show(number, done),
            )
        return [_count(*pair) for pair in zip(missing[number], answers, strict=True)]

    for number, answered in side_by_side(ask, list(missing), at_once):
        found[number] = answered
        writer.write("rollouts", "rollouts", answered, number)
    if not everything:
        writer.write("rollouts", "rollouts", [])
    rows = [row for number in sorted(found) for row in found[number]]
    seconds = time.monotonic() - began
    return rows, summarise_scouting(candidates, rows, seconds, len(rows) - kept)


class _PartsDone:
    """Progress of parts that are worked on at the same time."""

    def __init__(self, kept: int, total: int, on_progress: Progress | None) -> None:
        self._kept, self._total, self._on_progress = kept, total, on_progress
        self._done: dict[int, int] = {}
        self._lock = threading.Lock()

    def show(self, number: int, done: int) -> None:
        with self._lock:
            self._done[number] = done
            if self._on_progress is not None:
                self._on_progress(self._kept + sum(self._done.values()), self._total)


def side_by_side(
    work: Callable[[int], T], numbers: Sequence[int], at_once: int
) -> Iterator[tuple[int, T]]:
    """`work` for each number, `at_once` at the same time, results as they come.

    After a failure nothing new begins; what ends well meanwhile is still given, then the failure raised.
    """
    if min(at_once, len(numbers)) < 2:  # in this thread, which a cancellation can interrupt
        yield from ((number, work(number)) for number in numbers)
        return
    failure: BaseException | None = None
    with ThreadPoolExecutor(at_once) as threads:
        # A thread sees the context of the caller: which Prefect run its log lines belong to.
        futures = {threads.submit(copy_context().run, work, n): n for n in numbers}
        try:
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                if (error := future.exception()) is None:
                    yield futures[future], future.result()
                else:
                    failure = failure or error
                    _cancel(futures)
        finally:
            _cancel(futures)
    if failure is not None:
        raise failure


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


def _count(sample: Sample, answers: Sequence[Generation]) -> RolloutStat:
    replies = [parse_reply(answer.text) for answer in answers if not answer.failure]
    return RolloutStat(
        sample_id=sample.sample_id,
        rollouts=len(replies),
        passed=sum(is_right(sample, reply) for reply in replies),
        parse_errors=sum(reply.error is not None for reply in replies),
    )


def summarise_scouting(
    candidates: Candidates, found: Sequence[RolloutStat], seconds: float, fresh: int
) -> ScoutReport:
    """Counts by sort of candidate, `found` in their order; `fresh` were scouted in `seconds`."""
    waiting = len(candidates.expansions)
    seeds = waiting + len(candidates.waiting)
    return ScoutReport(
        expansions=_describe(found[:waiting]),
        waiting=_describe(found[waiting:seeds]),
        new_seeds=_describe(found[seeds:]),
        answers=sum(row.rollouts for row in found),
        seconds=seconds,
        samples_per_s=fresh / seconds if seconds > 0 else 0.0,
    )


def _describe(rows: Sequence[RolloutStat]) -> Scouted:
    known = [row for row in rows if row.rollouts]
    solved = sum(row.passed == row.rollouts for row in known)
    unsolved = sum(row.passed == 0 for row in known)
    return Scouted(
        asked=len(rows),
        mixed=len(known) - solved - unsolved,
        solved=solved,
        unsolved=unsolved,
        failed=len(rows) - len(known),
    )
