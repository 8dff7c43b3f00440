"""The lessons before the full mix: a drill in copying, then short dialogues.

With words from a fixed lexicon alone a small model learns to name what it recognises and copies
nothing for a thousand steps. In the drill most names and values are made up, so that copying them
from the context is the only way on, and it comes within some hundred steps.
"""

from __future__ import annotations

import random

from models.pretrain.text import (
    Dialogue,
    add_clarify,
    add_no_tool,
    add_parallel,
    add_single,
    draw_need,
    finish,
    say_need,
)
from models.pretrain.tools import draw_drill_tool, draw_tool, draw_tools


def draw_easy_dialogue(rng: random.Random) -> Dialogue:
    """One short need answered once, no tool results."""
    tool = draw_tool(rng, max_parameters=2, easy=True)
    tools = draw_tools(rng, [tool], rng.choice((2, 3)), easy=True)
    absent = next(other for other in tools if other is not tool)
    dialogue = Dialogue(tools)
    roll = rng.random()
    if roll < 0.08:
        tools.remove(absent)
        add_no_tool(rng, dialogue, absent)
    elif roll < 0.18 and any(p.required for p in tool.parameters):
        add_clarify(rng, dialogue, tool)
    elif roll < 0.25:
        add_parallel(rng, dialogue, [tool, tool])
    else:
        add_single(rng, dialogue, tool)
    cut = next(i for i, m in enumerate(dialogue.messages) if m["role"] == "assistant") + 1
    return Dialogue(tools, dialogue.messages[:cut], dialogue.kinds[:1])


def draw_drill_dialogue(rng: random.Random) -> Dialogue:
    """One explicit request for a tool of made-up words: without copying there is no progress."""
    tools = [draw_drill_tool(rng) for _ in range(rng.choice((2, 2, 3)))]
    dialogue = Dialogue(tools)
    need = draw_need(rng, rng.choice(tools))
    dialogue.say("user", finish(rng, say_need(rng, need, implicit_rate=0.0)))
    dialogue.call("single", [need.build_call()])
    return dialogue
