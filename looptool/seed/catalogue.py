"""The built-in catalogue: 60 everyday tools in 12 domains, for trying LoopTool without tools of
one's own.

Every domain holds near misses (forecast, history) and pairs in which a field of one tool's result
has the name of a required parameter of another, so that dependent calls can be planned.
"""

import json
from functools import cache
from importlib.resources import files

from looptool.records import ToolSpec
from looptool.seed.normalise import normalise_tool


@cache
def load_catalogue() -> tuple[ToolSpec, ...]:
    """The tools of the catalogue, in its order."""
    text = files("looptool.seed").joinpath("catalogue.json").read_text(encoding="utf-8")
    return tuple(normalise_tool(tool, source="catalogue") for tool in json.loads(text)["tools"])
