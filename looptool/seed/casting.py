"""What a numbered dialogue is about: kind, tools, persona, style, language, day.

Drawn from a generator of the dialogue's own, so that the n-th dialogue of a split is the same
whatever happens to the others.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from random import Random

from looptool.chat import Teacher
from looptool.config import SeedConfig
from looptool.errors import ConfigError
from looptool.records import Kind, ToolSpec
from looptool.seed.agents import Scene
from looptool.seed.links import find_links

NEAR_MISS_RATE = 0.5
"""Share of the other tools that come from the domain of the one in focus."""
FIRST_DAY = date(2030, 1, 1)
DAYS = 730


class Casting:
    """Draws scenes; raises ConfigError for a configuration from which none can be drawn."""

    def __init__(
        self, config: SeedConfig, tools: Sequence[ToolSpec], teacher: Teacher, model: str, day: str
    ) -> None:
        if not tools:
            raise ConfigError("no tools for this split; lower its target or add tool sources")
        self.config = config
        self._teacher, self._model, self._day = teacher, model, day
        self._tools = tuple(tools)
        self._links = find_links(self._tools)
        self._kinds = [(kind, weight) for kind, weight in config.kinds.items() if weight > 0]
        if not self._kinds or any(weight < 0 for weight in config.kinds.values()):
            raise ConfigError("seed.kinds needs at least one weight above 0, and none below")
        if config.kinds.get(Kind.SUMMARY):
            raise ConfigError("seed.kinds: `summary` is a decision, no kind of dialogue; drop it")
        if config.tools_min > config.tools_max:
            raise ConfigError(
                f"seed.tools_min = {config.tools_min} is above seed.tools_max = {config.tools_max}"
            )

    def draw(self, rng: Random) -> Scene:
        """The scene of one dialogue."""
        kinds, weights = zip(*self._kinds, strict=True)
        kind = rng.choices(kinds, weights)[0]
        turns = rng.randint(2, max(2, self.config.turns_max)) if kind is Kind.MULTI_TURN else 1
        return Scene(
            teacher=self._teacher,
            model=self._model,
            kind=kind,
            tools=self._draw_tools(kind, rng),
            turns=turns,
            persona=rng.choice(self.config.personas or ("",)),
            style=rng.choice(self.config.styles or ("plain",)),
            language=rng.choice(self.config.languages or ("en",)),
            date=self._day or (FIRST_DAY + timedelta(days=rng.randrange(DAYS))).isoformat(),
            nonce=f"{rng.getrandbits(32):08x}",
            seed=rng.getrandbits(31),
        )

    def _draw_tools(self, kind: Kind, rng: Random) -> tuple[ToolSpec, ...]:
        """The tools in focus, about half near misses of their domain, and others; in random
        order."""
        count = min(rng.randint(self.config.tools_min, self.config.tools_max), len(self._tools))
        everything = range(len(self._tools))
        chosen = [rng.randrange(len(self._tools))]
        if kind is Kind.MULTI_STEP and self._links and count > 1:
            chosen = list(rng.choice(self._links))
        domain = self._tools[chosen[0]].domain
        near = [n for n in everything if n not in chosen and self._tools[n].domain == domain]
        rng.shuffle(near)
        wanted = round((count - len(chosen)) * NEAR_MISS_RATE)
        chosen += near[:wanted]
        others = [n for n in everything if n not in chosen and self._tools[n].domain != domain]
        chosen += rng.sample(others, min(count - len(chosen), len(others)))
        chosen += near[wanted:][: count - len(chosen)]
        rng.shuffle(chosen)
        return tuple(self._tools[n] for n in chosen)
