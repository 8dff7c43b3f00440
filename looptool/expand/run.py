"""The attempts on each error seed, bounded and reproducible."""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from looptool.chat import Teacher, gather_bounded
from looptool.chat.outage import raise_if_down
from looptool.config import ExpandConfig
from looptool.decisions import relabel
from looptool.errors import DataError, TeacherError, TeacherMalformed, TeacherRefused, shorten
from looptool.expand.reply import ExpandReply, build_sample
from looptool.prompts import render
from looptool.records import (
    JsonObject,
    Judgement,
    Label,
    Message,
    Origin,
    Record,
    Rejection,
    Sample,
    Split,
    canonical_json,
    content_id,
)

STAGE = "expand"

_FAILURE_RULES = {TeacherMalformed: "unreadable", TeacherRefused: "refused"}


@dataclass(frozen=True, slots=True)
class ErrorSeed:
    """A sample on which the policy, or its label, was wrong."""

    sample: Sample
    """With its right label."""
    wrong: Label
    """The wrong answer: the policy's, or the label that was replaced."""
    judgement: Judgement


class ExpandReport(Record):
    """Counts of one expansion."""

    seeds: int
    wanted: int
    attempts: int
    accepted: int
    rejected_by_rule: dict[str, int]
    short_seeds: int
    """Seeds with fewer than k accepted samples after all attempts."""
    accepted_by_kind: dict[str, int]


@dataclass(frozen=True, slots=True)
class ExpandOutcome:
    """New samples in the order of their seeds, and what could not be used."""

    samples: tuple[Sample, ...]
    rejections: tuple[Rejection, ...]
    report: ExpandReport


def error_seeds(
    samples_by_id: Mapping[str, Sample], judgements: Sequence[Judgement], iteration: int
) -> list[ErrorSeed]:
    """The error seeds among judged samples, in the order of the judgements.

    Raises DataError for a held-out sample: these are never expanded.
    """
    seeds: list[ErrorSeed] = []
    for judgement in judgements:
        sample = samples_by_id.get(judgement.sample_id)
        if sample is None or sample.split is not Split.TRAIN:
            raise DataError(
                f"judged sample {judgement.sample_id} is not among the training samples"
            )
        if judgement.verdict == "PRED_WRONG":
            seed = sample.model_copy(update={"origin": Origin.ERROR_SEED})
            seeds.append(ErrorSeed(seed, judgement.predicted, judgement))
        elif judgement.verdict == "LABEL_WRONG" and judgement.new_label is not None:
            seeds.append(ErrorSeed(relabel(sample, judgement, iteration), sample.label, judgement))
    return seeds


def choose_seeds(
    seeds: Sequence[ErrorSeed], max_seeds: int | None, random_seed: int
) -> list[ErrorSeed]:
    """At most so many seeds, drawn without regard to their order and returned in it."""
    if max_seeds is None or len(seeds) <= max_seeds:
        return list(seeds)
    ranked = sorted(seeds, key=lambda s: _draw(random_seed, "seed", s.sample.sample_id))
    chosen = {seed.sample.sample_id for seed in ranked[:max_seeds]}
    return [seed for seed in seeds if seed.sample.sample_id in chosen]


async def expand_seeds(
    seeds: Sequence[ErrorSeed],
    config: ExpandConfig,
    teacher: Teacher,
    *,
    random_seed: int,
    iteration: int,
    personas: Sequence[str],
    styles: Sequence[str],
    date: str,
) -> ExpandOutcome:
    """k usable samples for each seed, in at most 2k attempts each.

    `date` stands in where the seed has none. The same arguments give the same requests in any order
    of completion; `config.max_seeds` is applied first.
    """
    chosen = choose_seeds(seeds, config.max_seeds, random_seed)
    workers = [
        _Expander(
            seed=seed,
            config=config,
            teacher=teacher,
            random_seed=random_seed,
            iteration=iteration,
            plan=plan_voices(
                personas, styles, seed.sample, 2 * config.per_seed, random_seed + iteration
            ),
            date=seed.sample.date or date,
        )
        for seed in chosen
    ]
    found = await gather_bounded([worker.run() for worker in workers])
    failures = [error for results in found for error in results.failures]
    raise_if_down(failures, sum(results.attempts for results in found))
    samples = tuple(sample for results in found for sample in results.samples)
    rejections = tuple(rejection for results in found for rejection in results.rejections)
    return ExpandOutcome(samples, rejections, _report(found, config.per_seed))


@dataclass(slots=True)
class _Results:
    """What one seed gave."""

    samples: list[Sample]
    rejections: list[Rejection]
    failures: list[TeacherError]
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class _Expander:
    """The attempts on one seed."""

    seed: ErrorSeed
    config: ExpandConfig
    teacher: Teacher
    random_seed: int
    iteration: int
    plan: list[tuple[str, str]]
    date: str

    async def run(self) -> _Results:
        wanted = self.config.per_seed
        results = _Results([], [], [])
        seen = {_context_key(self.seed.sample.messages)}
        while len(results.samples) < wanted and results.attempts < 2 * wanted:
            missing = min(wanted - len(results.samples), 2 * wanted - results.attempts)
            numbers = range(results.attempts, results.attempts + missing)
            results.attempts += missing
            replies = await gather_bounded([self._ask(number) for number in numbers])
            for number, reply in zip(numbers, replies, strict=True):
                self._take(number, reply, results, seen)
        return results

    async def _ask(self, number: int) -> ExpandReply | TeacherError:
        sample, judgement = self.seed.sample, self.seed.judgement
        persona, style = self.plan[number]
        messages = render(
            "expand_sample",
            tools=sample.tool_specs(),
            conversation=sample.chat(),
            right_answer=_render_answer(sample.label),
            wrong_answer=_render_answer(self.seed.wrong),
            error_analysis=judgement.error_analysis,
            right_approach=judgement.right_approach,
            persona=persona,
            style=style,
            date=self.date,
            nonce=self._nonce(number),
        )
        try:
            answer: ExpandReply = await self.teacher.ask(
                messages,
                reply=ExpandReply,
                stage=STAGE,
                temperature=self.config.temperature,
                top_p=self.config.top_p,
                seed=_draw(self.random_seed, self._nonce(number)) % 2**31,
            )
        except TeacherError as error:
            return error
        return answer

    def _nonce(self, number: int) -> str:
        return content_id("x", self.seed.sample.sample_id, self.iteration, number)

    def _take(
        self,
        number: int,
        reply: ExpandReply | TeacherError,
        results: _Results,
        seen: set[str],
    ) -> None:
        row: JsonObject = {"parent_id": self.seed.sample.sample_id, "nonce": self._nonce(number)}
        if not isinstance(reply, ExpandReply):
            rule = _FAILURE_RULES.get(type(reply), "unavailable")
            results.rejections.append(self._reject(number, rule, shorten(reply, 300), row))
            results.failures.append(reply)
            return
        row["reply"] = reply.model_dump(mode="json")
        try:
            sample = build_sample(
                self.seed.sample, reply, self.iteration, self.plan[number], self.date
            )
        except DataError as error:
            results.rejections.append(self._reject(number, "structure", str(error), row))
            return
        key = _context_key(sample.messages)
        if key in seen:
            detail = "the same context as its seed or as another sample of it"
            results.rejections.append(self._reject(number, "copy", detail, row))
            return
        seen.add(key)
        results.samples.append(sample)

    def _reject(self, number: int, rule: str, detail: str, row: JsonObject) -> Rejection:
        return Rejection(stage=STAGE, row_id=self._nonce(number), rule=rule, detail=detail, row=row)


def plan_voices(
    personas: Sequence[str], styles: Sequence[str], parent: Sample, count: int, random_seed: int
) -> list[tuple[str, str]]:
    """`count` pairs of persona and style, different from each other and from the parent's.

    Both lists are gone through in a cycle from a place drawn for this parent, so that over many
    seeds each pair is used about equally often.
    """
    people = [p for p in personas if p != parent.persona] or list(personas) or [parent.persona]
    manners = [s for s in styles if s != parent.style] or list(styles) or [parent.style]
    draw = random.Random(_draw(random_seed, "voices", parent.sample_id))
    first, second = draw.randrange(len(people)), draw.randrange(len(manners))
    # After a full cycle of both lists the pairs would repeat: shift one list by one.
    cycle = math.lcm(len(people), len(manners))
    return [
        (people[(first + n) % len(people)], manners[(second + n + n // cycle) % len(manners)])
        for n in range(count)
    ]


def _render_answer(label: Label) -> JsonObject:
    return {"content": label.text, "tool_calls": label.as_calls()}


def _context_key(messages: Sequence[Message]) -> str:
    return canonical_json([message.model_dump(mode="json") for message in messages])


def _draw(random_seed: int, *parts: str) -> int:
    """A number that depends on the arguments alone, never on the order of anything."""
    text = canonical_json([random_seed, *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _report(found: Sequence[_Results], per_seed: int) -> ExpandReport:
    rules = Counter(rejection.rule for results in found for rejection in results.rejections)
    kinds = Counter(str(sample.kind) for results in found for sample in results.samples)
    return ExpandReport(
        seeds=len(found),
        wanted=len(found) * per_seed,
        attempts=sum(results.attempts for results in found),
        accepted=sum(len(results.samples) for results in found),
        rejected_by_rule=dict(sorted(rules.items())),
        short_seeds=sum(len(results.samples) < per_seed for results in found),
        accepted_by_kind=dict(sorted(kinds.items())),
    )
