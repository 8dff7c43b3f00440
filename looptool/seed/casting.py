"""What a planned dialogue is about: tools, persona, style, language, day.

Drawn from a generator of the dialogue's own, so that the n-th dialogue of a sort is the same whatever
happens to the others.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from looptool.chat import Teacher
from looptool.config import SeedConfig, read_range
from looptool.errors import ConfigError
from looptool.records import Cast, Difficulty, Kind, ToolSpec
from looptool.seed.agents import Scene
from looptool.seed.backends import ToolServers
from looptool.seed.difficulty import can_give, count_near_misses, name_difficulty
from looptool.seed.links import find_links
from looptool.seed.people import load_people

FIRST_DAY = date(2030, 1, 1)
DAYS = 730


@dataclass(frozen=True, slots=True)
class Part:
    """A scene, and how difficult its tools really make it."""

    scene: Scene
    difficulty: Difficulty


class Casting:
    """Draws scenes over the tools of one split; raises ConfigError if there are none."""

    def __init__(
        self,
        config: SeedConfig,
        tools: Sequence[ToolSpec],
        teacher: Teacher,
        *,
        model: str = "",
        day: str = "",
        servers: ToolServers | None = None,
    ) -> None:
        """`model` overrides the teacher's; on `day` all dialogues take place, else each has its own."""
        if not tools:
            raise ConfigError("no tools for this split; lower its target or add tool sources")
        self.config = config
        self._teacher, self._model, self._day, self._servers = teacher, model, day, servers
        self._people = load_people(config.people)
        self._personas = self._people.choose_personas(config.personas or ("",))
        self._styles = self._people.choose_styles(config.styles or ("plain",))
        self._languages = self._people.choose_languages(config.languages or ("en",))
        self._tools = tuple(tools)
        self._links = find_links(self._tools)
        self._domains = Counter(tool.domain for tool in self._tools)

    def draw(self, cast: Cast, rng: Random) -> Part:
        """The scene of one dialogue."""
        config = self.config
        turns = rng.randint(2, max(2, config.turns_max)) if cast.kind is Kind.MULTI_TURN else 1
        tools, difficulty = self._draw_tools(cast, rng)
        scene = Scene(
            teacher=self._teacher,
            model=self._model,
            kind=cast.kind,
            tools=tools,
            turns=turns,
            persona=rng.choice(self._personas),
            style=rng.choice(self._styles),
            language=rng.choice(self._languages),
            date=self._day or (FIRST_DAY + timedelta(days=rng.randrange(DAYS))).isoformat(),
            nonce=f"{rng.getrandbits(32):08x}",
            seed=rng.getrandbits(31),
            people=self._people,
            faults=config.faults,
            tool_backend=config.tool_backend,
            servers=self._servers,
        )
        return Part(scene, difficulty)

    def _draw_tools(self, cast: Cast, rng: Random) -> tuple[tuple[ToolSpec, ...], Difficulty]:
        """The tools in focus and their distractors, in random order."""
        focus, count = self._draw_focus(cast, rng)
        domain = self._tools[focus[0]].domain
        rest = [n for n in range(len(self._tools)) if n not in focus]
        near = [n for n in rest if self._tools[n].domain == domain]
        far = [n for n in rest if self._tools[n].domain != domain]
        rng.shuffle(near)
        rng.shuffle(far)
        distractors = count - len(focus)
        wanted = min(count_near_misses(cast.difficulty, distractors), len(near))
        wanted = max(wanted, distractors - len(far))
        chosen = [*focus, *near[:wanted], *far[: distractors - wanted]]
        rng.shuffle(chosen)
        return tuple(self._tools[n] for n in chosen), name_difficulty(wanted, distractors)

    def _draw_focus(self, cast: Cast, rng: Random) -> tuple[list[int], int]:
        """Tools in focus, and how many there are with their distractors.

        Of those whose domain can give the difficulty asked for, if there are any.
        """
        everything = len(self._tools)
        span = (
            read_range(cast.tools) if cast.tools else (self.config.tools_min, self.config.tools_max)
        )
        low, high = (min(end, everything) for end in span)
        linked = cast.kind is Kind.MULTI_STEP and self._links and high > 1
        options = (
            [list(link) for link in self._links] if linked else [[n] for n in range(everything)]
        )
        counts = range(low, high + 1)
        if cast.difficulty:
            able = [n for n in counts if any(self._can(o, n, cast.difficulty) for o in options)]
            count = rng.choice(able or counts)
            options = [o for o in options if self._can(o, count, cast.difficulty)] or options
        else:
            count = rng.choice(counts)
        focus = rng.choice(options)
        return focus, max(count, len(focus))

    def _can(self, focus: Sequence[int], count: int, difficulty: Difficulty) -> bool:
        domain = self._tools[focus[0]].domain
        return can_give(self._domains, domain, len(focus), count, difficulty)
