"""Planned dialogues, played; failed ones are recorded.

A dialogue is drawn from its place in the plan alone. So the result depends on the configuration, the
tools, the seed and the teacher's answers, never on which dialogue ended first or in which run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from looptool.artifacts import shards
from looptool.chat import Teacher, gather_bounded
from looptool.chat.outage import raise_if_down
from looptool.config import SeedConfig
from looptool.errors import DataError, TeacherError, TeacherRefused
from looptool.records import Cast, Dialogue, Play, Rejection, Sample, Split, ToolSpec
from looptool.seed.agents import STAGE
from looptool.seed.backends import CallNotRecorded, ToolServers
from looptool.seed.casting import Casting
from looptool.seed.dialogue import Conversation, name_of_failure
from looptool.seed.samples import cut_samples
from looptool.seed.targets import (
    Cell,
    Choice,
    choose,
    plan_dialogues,
    read_history,
    set_targets,
    sort_of,
)

MESSAGES_PER_TURN = 4


@dataclass(frozen=True, slots=True)
class Played:
    """What a list of dialogues gave, in their order."""

    plays: tuple[Play, ...] = ()
    dialogues: tuple[Dialogue, ...] = ()
    samples: tuple[Sample, ...] = ()
    rejections: tuple[Rejection, ...] = ()

    def __add__(self, other: "Played") -> "Played":
        return Played(
            self.plays + other.plays,
            self.dialogues + other.dialogues,
            self.samples + other.samples,
            self.rejections + other.rejections,
        )


class Simulation:
    """Plays dialogues over the tools of each split."""

    def __init__(
        self,
        config: SeedConfig,
        tools: Mapping[Split, Sequence[ToolSpec]],
        teacher: Teacher,
        *,
        random_seed: int,
        date: str = "",
        servers: ToolServers | None = None,
        proven: int = 0,
        on_played: Callable[[int], None] | None = None,
    ) -> None:
        """`date` is the day on which all dialogues take place; without it each has its own. `servers` are
        real ones that answer for their tools.

        `proven` is the number of dialogues that came off in earlier rounds: the endpoint knows our
        requests, so that a single refusal is about its dialogue. `on_played` is called with
        1 for each that has ended. Raises ConfigError when a split has no tools.
        """
        self.config = config
        self._castings = {
            split: Casting(
                config,
                some,
                teacher,
                model="" if split is Split.TRAIN else config.heldout_model,
                day=date,
                servers=servers,
            )
            for split, some in tools.items()
            if some
        }
        self._limit = 2 * teacher.config.max_concurrency
        self._random_seed = random_seed
        self._proven = proven
        self._on_played = on_played
        self._errors: list[TeacherError] = []
        self._ended = 0

    async def play(self, casts: Sequence[Cast]) -> Played:
        """The dialogues, side by side.

        Raises BudgetExceeded, and TeacherUnavailable or TeacherRefused when it is the endpoint that
        fails and not a dialogue.
        """
        found = await gather_bounded([self._play(cast) for cast in casts], self._limit)
        self._check_endpoint()
        played = Played()
        for one in found:
            played += one
        return played

    async def _play(self, cast: Cast) -> Played:
        rng = Random(f"{self._random_seed}:{name_cast(cast)}")
        part = self._castings[cast.split].draw(cast, rng)
        conversation = Conversation(
            part.scene,
            rng,
            twice=self.config.self_consistency,
            max_messages=MESSAGES_PER_TURN * max(3, self.config.turns_max),
        )
        rule, detail = "", ""
        try:
            await conversation.play()
        except TeacherError as error:
            self._errors.append(error)
            rule, detail = name_of_failure(error), str(error)
        except CallNotRecorded as error:
            rule, detail = "call_not_recorded", str(error)
        except DataError as error:
            # A tool whose schema cannot be compared against: the other dialogues have other tools.
            rule, detail = "bad_tool", str(error)
        dialogue = conversation.as_dialogue(cast.split)
        dialogue = dialogue.model_copy(update={"difficulty": part.difficulty})
        self._ended += 1
        if self._on_played:
            self._on_played(1)
        return _sort_out(cast, dialogue, rule, detail)

    def _check_endpoint(self) -> None:
        refused = [error for error in self._errors if isinstance(error, TeacherRefused)]
        others = [error for error in self._errors if not isinstance(error, TeacherRefused)]
        raise_if_down(refused, self._ended + self._proven)
        raise_if_down(others, self._ended)


def name_cast(cast: Cast) -> str:
    """The name of a planned dialogue, unique in a campaign."""
    return f"{sort_of(cast)}/{cast.number}"


def _sort_out(cast: Cast, dialogue: Dialogue, rule: str, detail: str) -> Played:
    """One dialogue as samples, or as a rejection when it gave none."""
    samples = () if rule else tuple(cut_samples(dialogue))
    if not samples and not rule:
        rule = "no_majority" if dialogue.marked_turns else "no_sample"
        detail = "it holds no decision that could become a sample"
    play = Play(
        **cast.model_dump(),
        dialogue_id="" if rule else dialogue.dialogue_id,
        samples=len(samples),
        marked_turns=len(dialogue.marked_turns),
        rule=rule,
    )
    if not rule:
        return Played((play,), (dialogue,), samples)
    row = dialogue.model_dump(mode="json")
    rejection = Rejection(stage=STAGE, row_id=name_cast(cast), rule=rule, detail=detail, row=row)
    return Played((play,), rejections=(rejection,))


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What the rounds of one split gave."""

    samples: tuple[Sample, ...]
    surplus: tuple[Sample, ...]
    missing: Mapping[Cell, int]
    played: Played


async def simulate_dialogues(
    config: SeedConfig,
    tools: Sequence[ToolSpec],
    teacher: Teacher,
    *,
    split: Split,
    target_samples: int,
    random_seed: int,
    date: str = "",
    on_played: Callable[[int], None] | None = None,
) -> SeedOutcome:
    """`target_samples` samples of one split in rounds, every sample taken as accepted.

    The whole seed phase in one call and one process, without validation and storage.
    """
    targets = set_targets(config, {split: target_samples})
    simulation = Simulation(
        config, {split: tools}, teacher, random_seed=random_seed, date=date, on_played=on_played
    )
    played, choice = Played(), Choice(missing=dict(targets.cells))
    for _ in range(config.rounds_max):
        history = read_history(played.plays, played.samples, targets)
        casts = plan_dialogues(
            targets, choice.missing, history, config, {split: tools}, random_seed
        )
        for _, some in shards(casts, config.shard_size):
            played += await simulation.play(some)
        choice = choose(played.samples, targets, random_seed)
        if not casts or not choice.missing:
            break
    return SeedOutcome(tuple(choice.chosen), tuple(choice.surplus), choice.missing, played)
