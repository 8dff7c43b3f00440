"""Many dialogues until there are enough samples; failed ones are recorded and replaced.

Dialogues are numbered, started in order with a bounded lead, and collected in order. So the result
depends on the configuration, the tools, the seed and the teacher's answers, never on which came
first.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from looptool.chat import Teacher
from looptool.chat.outage import raise_if_down
from looptool.config import SeedConfig
from looptool.errors import DataError, TeacherError
from looptool.records import Dialogue, JsonObject, Record, Rejection, Sample, Split, ToolSpec
from looptool.seed.agents import STAGE
from looptool.seed.casting import Casting
from looptool.seed.dialogue import Conversation, name_of_failure
from looptool.seed.samples import cut_samples

FIRST_VERDICT = 20
"""Dialogues after which a share of failures says something."""
MESSAGES_PER_TURN = 4


class SeedReport(Record):
    """Counts of one split."""

    split: Split
    target: int
    """Samples asked for."""
    samples: int
    met: bool
    """Whether there are as many as asked for."""
    dialogues: int
    rejected: dict[str, int]
    """Dialogues that failed, by rule."""
    duplicates: int
    """Samples left out because an equal one was there."""
    marked_turns: int
    """Assistant turns on which the teacher disagreed with itself."""
    kinds: dict[str, int]
    """Samples by kind."""
    dialogue_kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What one split gave, in the order of the dialogues' numbers."""

    dialogues: tuple[Dialogue, ...]
    samples: tuple[Sample, ...]
    rejections: tuple[Rejection, ...]
    report: SeedReport


@dataclass(frozen=True, slots=True)
class _Failed:
    rejection: Rejection
    error: TeacherError | None


async def simulate_dialogues(
    config: SeedConfig,
    tools: Sequence[ToolSpec],
    teacher: Teacher,
    *,
    split: Split,
    target_samples: int,
    random_seed: int,
    date: str = "",
    model: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> SeedOutcome:
    """Dialogues over the tools until they hold `target_samples` samples.

    The last dialogue is used whole, so there may be a few more. `date` is the day on which all
    dialogues take place; without it each has its own. `model` overrides the teacher's. Ends early,
    with `report.met` False, when more than `config.max_attempts` dialogues are needed for each good
    one. Raises ConfigError without tools, BudgetExceeded, and TeacherUnavailable or TeacherRefused
    when it is the endpoint that fails and not a dialogue.
    """
    casting = Casting(config, tools, teacher, model, date)
    run = _Run(config, split, target_samples)
    pending: deque[asyncio.Task[Dialogue | _Failed]] = deque()
    started = 0
    try:
        while not run.finished:
            lead = min(2 * teacher.config.max_concurrency, run.expected_dialogues)
            while len(pending) < lead:
                rng = Random(f"{random_seed}:{split}:{started}")
                pending.append(asyncio.create_task(_play(casting, rng, split, started)))
                started += 1
            run.take(await pending.popleft())
            if on_progress:
                on_progress(len(run.samples))
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return run.outcome()


async def _play(casting: Casting, rng: Random, split: Split, number: int) -> Dialogue | _Failed:
    scene = casting.draw(rng)
    config = casting.config
    limit = MESSAGES_PER_TURN * max(3, config.turns_max)
    conversation = Conversation(scene, rng, twice=config.self_consistency, max_messages=limit)
    try:
        await conversation.play()
    except TeacherError as error:
        row = conversation.as_dialogue(split).model_dump(mode="json")
        rule = name_of_failure(error)
        return _Failed(_reject(split, number, rule, str(error), row), error)
    except DataError as error:
        # A tool whose schema cannot be compared against: the other dialogues have other tools.
        row = conversation.as_dialogue(split).model_dump(mode="json")
        return _Failed(_reject(split, number, "bad_tool", str(error), row), None)
    return conversation.as_dialogue(split)


def _reject(split: Split, number: int, rule: str, detail: str, row: JsonObject) -> Rejection:
    return Rejection(stage=STAGE, row_id=f"{split}-{number}", rule=rule, detail=detail, row=row)


class _Run:
    """What has been collected so far, in order."""

    def __init__(self, config: SeedConfig, split: Split, target: int) -> None:
        self.config, self.split, self.target = config, split, target
        self.dialogues: list[Dialogue] = []
        self.samples: dict[str, Sample] = {}
        self.rejections: list[Rejection] = []
        self.errors: list[TeacherError] = []
        self.duplicates = 0
        self.marked = 0
        self._collected = 0

    @property
    def finished(self) -> bool:
        """Whether there is enough, or no hope of it."""
        if len(self.samples) >= self.target:
            return True
        good = max(len(self.dialogues), FIRST_VERDICT)
        return self._collected >= self.config.max_attempts * good

    @property
    def expected_dialogues(self) -> int:
        """How many more are probably needed; at least 1."""
        each = len(self.samples) / self._collected if self.samples else 2.0
        return max(1, round((self.target - len(self.samples)) / each))

    def take(self, result: Dialogue | _Failed) -> None:
        """Adds one dialogue; raises the teacher's error when the endpoint is down."""
        self._collected += 1
        if isinstance(result, _Failed):
            self.rejections.append(result.rejection)
            if result.error is not None:
                self.errors.append(result.error)
        else:
            self._take_dialogue(result)
        if self.errors and (self._collected % FIRST_VERDICT == 0 or self.finished):
            raise_if_down(self.errors, self._collected)

    def _take_dialogue(self, dialogue: Dialogue) -> None:
        self.marked += len(dialogue.marked_turns)
        found = cut_samples(dialogue, self.config.summary_rate)
        fresh = {sample.sample_id: sample for sample in found}
        known = [key for key in fresh if key in self.samples]
        self.duplicates += len(known) + len(found) - len(fresh)
        for key in known:
            del fresh[key]
        if not fresh:
            rule = "no_majority" if dialogue.marked_turns else "no_sample"
            detail = "it holds no decision that could become a new sample"
            row = dialogue.model_dump(mode="json")
            self.rejections.append(_reject(self.split, self._collected - 1, rule, detail, row))
            return
        self.dialogues.append(dialogue)
        self.samples |= fresh

    def outcome(self) -> SeedOutcome:
        """All of it, with counts."""
        report = SeedReport(
            split=self.split,
            target=self.target,
            samples=len(self.samples),
            met=len(self.samples) >= self.target,
            dialogues=len(self.dialogues),
            rejected=_count([rejection.rule for rejection in self.rejections]),
            duplicates=self.duplicates,
            marked_turns=self.marked,
            kinds=_count([sample.kind.value for sample in self.samples.values()]),
            dialogue_kinds=_count([dialogue.kind.value for dialogue in self.dialogues]),
        )
        return SeedOutcome(
            tuple(self.dialogues), tuple(self.samples.values()), tuple(self.rejections), report
        )


def _count(names: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
