"""Tools in, dialogues out (method, section 2).

    sources ── collect_tools ──> tools ── split_tools ──> seen | unseen tools ── simulate_dialogues
    (planner, user, assistant, tool) ──> dialogues ── cut_samples ──> samples

`normalise` any tool document as a ToolSpec · `catalogue`, `json_file`, `openapi` the sources ·
`collect` all of them, with unique names · `links` which tool feeds which · `split` held-out tools ·
`agents` the four roles · `dialogue` one conversation · `simulate` many · `samples` decisions.
Unlike the paper we take tools that people already have; the synthetic dual tree is not here.
"""

from looptool.seed.catalogue import load_catalogue
from looptool.seed.collect import ToolCollection, collect_tools
from looptool.seed.json_file import load_json_tools
from looptool.seed.normalise import normalise_tool
from looptool.seed.openapi import load_openapi_tools
from looptool.seed.samples import cut_samples
from looptool.seed.simulate import SeedOutcome, SeedReport, simulate_dialogues
from looptool.seed.split import split_tools

__all__ = [
    "SeedOutcome",
    "SeedReport",
    "ToolCollection",
    "collect_tools",
    "cut_samples",
    "load_catalogue",
    "load_json_tools",
    "load_openapi_tools",
    "normalise_tool",
    "simulate_dialogues",
    "split_tools",
]
