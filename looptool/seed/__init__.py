"""Tools in, dialogues out (method, section 2).

    sources ── collect_tools ──> tools ── split_tools ──> seen | unseen tools ── simulate_dialogues
    (planner, user, assistant, tool) ──> dialogues ── cut_samples ──> samples

`normalise` any tool document as a ToolSpec (`dialects`) · `catalogue`, `json_file`, `openapi`,
`mcp_tools` (`mcp_session`), `python_tools`, `tool_files` the sources · `detect` which one it is ·
`collect` all of them, with unique names · `links` which tool feeds which · `split` held-out tools ·
`agents` the four roles · `dialogue` one conversation · `simulate` many · `samples` decisions ·
`targets` how many of each sort, and what to play for them · `coverage` which tools they are about.
Unlike the paper we take tools that people already have; the synthetic dual tree is not here.
"""

from looptool.seed.catalogue import load_catalogue
from looptool.seed.collect import Duplicate, ToolCollection, collect_tools
from looptool.seed.json_file import load_json_tools
from looptool.seed.mcp_session import McpServer, McpSession, ToolAnswer
from looptool.seed.mcp_tools import load_mcp_tools
from looptool.seed.normalise import normalise_tool
from looptool.seed.openapi import load_openapi_tools
from looptool.seed.python_tools import load_python_tools, read_function
from looptool.seed.samples import cut_samples
from looptool.seed.simulate import Played, SeedOutcome, Simulation, simulate_dialogues
from looptool.seed.split import split_sides, split_tools
from looptool.seed.tool_files import check_output, load_parquet_tools, save_tools

__all__ = [
    "Duplicate",
    "McpServer",
    "McpSession",
    "Played",
    "SeedOutcome",
    "Simulation",
    "ToolAnswer",
    "ToolCollection",
    "check_output",
    "collect_tools",
    "cut_samples",
    "load_catalogue",
    "load_json_tools",
    "load_mcp_tools",
    "load_openapi_tools",
    "load_parquet_tools",
    "load_python_tools",
    "normalise_tool",
    "read_function",
    "save_tools",
    "simulate_dialogues",
    "split_sides",
    "split_tools",
]
