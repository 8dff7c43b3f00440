"""Dialogues of the scripted teacher over random tools: the last lesson.

The same planner, user, assistant and tool as in the seed stage, without errors and in the explicit
styles alone, over tools that no catalogue holds. It teaches the shape of whole conversations; the
chatty, implicit, value-first and corrected ways of speaking are left for the loop to teach.
"""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

from looptool.chat import AsgiTransport, Teacher
from looptool.config import SeedConfig, SimulatorConfig, TeacherConfig
from looptool.records import Cast, Kind, Split, ToolSpec, make_tool, messages_as_openai
from looptool.seed import Simulation
from looptool.simulator import create_app
from models.pretrain.tools import draw_parameter, draw_tool

TOOLS = 90
"""Random tools of one bucket."""
SEED = SeedConfig(
    tools_min=2,
    tools_max=5,
    turns_max=3,
    self_consistency=False,
    styles=("plain", "polite", "terse"),
)
KINDS = {
    Kind.SINGLE: 0.2,
    Kind.PARALLEL: 0.2,
    Kind.MULTI_STEP: 0.15,
    Kind.MULTI_TURN: 0.15,
    Kind.CLARIFY: 0.15,
    Kind.NO_TOOL: 0.1,
    Kind.RETRY: 0.05,
}
"""Weight of each kind of dialogue."""
SPARE_RATE = 0.1
"""Dialogues played beyond those asked for: one whose plan cannot be played gives none."""


def draw_specs(rng: random.Random) -> list[ToolSpec]:
    """Random tools in a dozen domains, each with the result that it gives."""
    specs: dict[str, ToolSpec] = {}
    while len(specs) < TOOLS:
        tool = draw_tool(rng)
        function = tool.build_spec()["function"]
        taken: set[str] = set()
        fields = [
            draw_parameter(rng, "snake", taken, True, rng.choice(("id", "id", "name", "number")))
            for _ in range(rng.choice((1, 2)))
        ]
        output = {"type": "object", "properties": {f.name: f.schema for f in fields}}
        specs[tool.name] = make_tool(
            tool.name,
            function["description"] or tool.intents[0].capitalize() + ".",
            function["parameters"],
            output=output,
            domain=str(tool.meaning[0] % 12),
        )
    return list(specs.values())


def draw_taught(seed: str, count: int) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """At least `count` dialogues as (tool specs, messages), if few fail; the same for the same seed."""
    return asyncio.run(_simulate(seed, count))


async def _simulate(
    seed: str, count: int
) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    rng = random.Random(f"taught-{seed}")
    transport = AsgiTransport(create_app(SimulatorConfig()))
    async with Teacher(TeacherConfig(model="scripted-expert"), transport) as teacher:
        simulation = Simulation(
            SEED, {Split.TRAIN: draw_specs(rng)}, teacher, random_seed=rng.randrange(2**31)
        )
        kinds = rng.choices(
            list(KINDS), list(KINDS.values()), k=math.ceil((1 + SPARE_RATE) * count)
        )
        made = await simulation.play(
            [Cast(split=Split.TRAIN, kind=kind, number=number) for number, kind in enumerate(kinds)]
        )
    return [
        ([tool.as_openai() for tool in d.tools], messages_as_openai(d.messages))
        for d in made.dialogues
    ]
