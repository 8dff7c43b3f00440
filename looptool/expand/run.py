"""The attempts on each error seed: bounded, validated one by one, reproducible."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from looptool.chat import Teacher, gather_bounded
from looptool.chat.outage import raise_if_down
from looptool.config import ExpandConfig
from looptool.errors import DataError, TeacherError, TeacherMalformed, TeacherRefused, shorten
from looptool.expand.plan import Descriptions, Variation, Variety, plan_variations
from looptool.expand.repeats import Family, find_lost_trap
from looptool.expand.reply import ExpandReply, build_sample
from looptool.expand.seeds import ErrorSeed, draw
from looptool.expand.toolset import NameDifficulty, find_difficulty
from looptool.prompts import render
from looptool.records import JsonObject, Label, Rejection, Sample, content_id

STAGE = "expand"
HANDFUL = 16
"""Requests that may all be refused by an endpoint that is known to work."""

_FAILURE_RULES = {TeacherMalformed: "unreadable", TeacherRefused: "refused"}

Check = Callable[[Sample], Awaitable[Rejection | None]]
"""What the validation has against a new sample; raises TeacherError for a review that did not come."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all attempts of a round share."""

    config: ExpandConfig
    variety: Variety
    people: Descriptions
    check: Check
    """The validation of the seed phase; its review, too, is asked for once a sample."""
    name_difficulty: NameDifficulty
    """For a seed whose difficulty is unknown."""
    random_seed: int
    iteration: int
    date: str = ""
    """Stands in where a seed has none."""
    proven: bool = True
    """The endpoint is known to answer: when it refuses a handful of requests, the fault is with them."""


@dataclass(frozen=True, slots=True)
class ExpandOutcome:
    """New samples in the order of their seeds, and each attempt that gave none."""

    samples: tuple[Sample, ...]
    rejections: tuple[Rejection, ...]


def count_attempts(config: ExpandConfig) -> int:
    """Attempts on one seed, at most."""
    return 2 * config.per_seed if config.max_attempts is None else config.max_attempts


async def expand_seeds(
    seeds: Sequence[ErrorSeed],
    setting: Setting,
    teacher: Teacher,
    on_done: Callable[[int], None] = lambda accepted: None,
) -> ExpandOutcome:
    """k validated samples for each seed, in at most 2k attempts each (`expand.max_attempts`).

    The same arguments give the same requests in any order of seeds and of completion. `on_done` is told
    the accepted samples of each seed. Raises what failed when it is the endpoint and not a row.
    """
    workers = [_Expander.of(seed, setting, teacher) for seed in seeds]

    async def run(worker: _Expander) -> None:
        await worker.run()
        on_done(len(worker.samples))

    await gather_bounded([run(worker) for worker in workers])
    failures = [error for worker in workers for error in worker.failures]
    asked = sum(worker.asked for worker in workers)
    if setting.proven and asked <= HANDFUL:
        failures = [error for error in failures if not isinstance(error, TeacherRefused)]
    raise_if_down(failures, asked)
    return ExpandOutcome(
        tuple(sample for worker in workers for sample in worker.samples),
        tuple(rejection for worker in workers for rejection in worker.rejections),
    )


@dataclass(slots=True)
class _Expander:
    """The attempts on one seed, and what they gave."""

    seed: ErrorSeed
    setting: Setting
    teacher: Teacher
    plan: list[Variation]
    family: Family
    samples: list[Sample] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    failures: list[TeacherError] = field(default_factory=list)
    asked: int = 0
    """Requests to the teacher: attempts, and reviews at most."""

    @classmethod
    def of(cls, seed: ErrorSeed, setting: Setting, teacher: Teacher) -> "_Expander":
        attempts = count_attempts(setting.config)
        number = setting.random_seed + setting.iteration
        plan = plan_variations(seed, setting.variety, attempts, number)
        return cls(seed, setting, teacher, plan, Family(seed.sample))

    async def run(self) -> None:
        """As many attempts at once as samples are missing, until none is or the plan is at its end."""
        begun = 0
        while missing := self.setting.config.per_seed - len(self.samples):
            numbers = range(begun, min(begun + missing, len(self.plan)))
            if not numbers:
                break
            begun = numbers.stop
            replies = await gather_bounded([self._ask(number) for number in numbers])
            read = [self._read(n, reply) for n, reply in zip(numbers, replies, strict=True)]
            new = [(number, sample) for number, sample in zip(numbers, read, strict=True) if sample]
            found = await gather_bounded([self._check(sample) for _, sample in new])
            for (number, sample), fault in zip(new, found, strict=True):
                self._take(number, sample, fault)

    async def _ask(self, number: int) -> ExpandReply | TeacherError:
        self.asked += 1
        try:
            answer: ExpandReply = await self.teacher.ask(
                self._render(number),
                reply=ExpandReply,
                stage=STAGE,
                temperature=self.setting.config.temperature,
                top_p=self.setting.config.top_p,
                seed=draw(self.setting.random_seed, self._nonce(number)) % 2**31,
            )
        except TeacherError as error:
            return error
        return answer

    def _render(self, number: int) -> list[dict[str, str]]:
        sample, judgement, variation = self.seed.sample, self.seed.judgement, self.plan[number]
        people = self.setting.people
        return render(
            "expand_sample",
            tools=[tool.as_openai() for tool in variation.tools],
            conversation=sample.chat(),
            right_answer=_render_answer(sample.label),
            wrong_answer=_render_answer(self.seed.wrong),
            error_type=judgement.error_type,
            error_analysis=judgement.error_analysis,
            right_approach=judgement.right_approach,
            persona=people.persona(variation.persona),
            style=variation.style,
            style_notes=people.style(variation.style),
            scenario=variation.scenario,
            values=variation.values,
            date=self._date,
            nonce=self._nonce(number),
        )

    @property
    def _date(self) -> str:
        return self.seed.sample.date or self.setting.date

    def _nonce(self, number: int) -> str:
        return content_id("x", self.seed.sample.sample_id, self.setting.iteration, number)

    def _read(self, number: int, reply: ExpandReply | TeacherError) -> Sample | None:
        """The sample of one attempt; None if it gave none, which is then noted."""
        if not isinstance(reply, ExpandReply):
            self.failures.append(reply)
            rule = _FAILURE_RULES.get(type(reply), "unavailable")
            self._reject(number, rule, shorten(reply, 300), {})
            return None
        # A number such as 1e999 is infinite, which no table can hold: its name stands for it.
        raw = json.dumps(reply.model_dump(mode="json"))
        row: JsonObject = {"reply": json.loads(raw, parse_constant=str)}
        try:
            sample = build_sample(
                self.seed.sample, reply, self.setting.iteration, self.plan[number], self._date
            )
        except DataError as error:
            self._reject(number, "structure", str(error), row)
            return None
        if fault := find_lost_trap(self.seed.sample, sample) or self.family.admit(sample):
            self._reject(number, *fault, row)
            return None
        if not sample.difficulty:
            named = find_difficulty(sample, self.setting.name_difficulty)
            sample = sample.model_copy(update={"difficulty": named})
        return sample

    async def _check(self, sample: Sample) -> Rejection | TeacherError | None:
        self.asked += 1
        try:
            return await self.setting.check(sample)
        except TeacherError as error:
            return error

    def _take(self, number: int, sample: Sample, fault: Rejection | TeacherError | None) -> None:
        row: JsonObject = {"sample": sample.model_dump(mode="json")}
        if fault is None:
            self.samples.append(sample)
        elif isinstance(fault, Rejection):
            self._reject(number, fault.rule, fault.detail, row)
        else:
            self.failures.append(fault)
            self._reject(number, "unreviewed", shorten(fault, 300), row)

    def _reject(self, number: int, rule: str, detail: str, row: JsonObject) -> None:
        nonce = self._nonce(number)
        found = {"parent_id": self.seed.sample.sample_id, "nonce": nonce, **row}
        self.rejections.append(
            Rejection(stage=STAGE, row_id=nonce, rule=rule, detail=detail, row=found)
        )


def _render_answer(label: Label) -> JsonObject:
    return {"content": label.text, "tool_calls": label.as_calls()}
