"""The tools of one prompt, indexed for reading and speaking: action phrases, leaves, word weights.

Generic over any OpenAI-style specification: a tidy catalogue, or operation ids such as
`read_flow_runs_flow_runs_filter_post`.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from looptool.simulator.lexicon import NUMBER_WORDS, STOP_WORDS, split_name, stem
from looptool.simulator.shapes import Leaf, find_leaves

VERB_CLASSES = {
    "get": "get show fetch retrieve return display provide give tell read pull view see check",
    "find": "find search look query discover filter",
    "list": "list enumerate browse",
    "create": "create add make new open start register schedule plan set insert compose write draft",
    "book": "book reserve order buy purchase rent",
    "delete": "delete remove cancel drop clear erase stop end close",
    "update": "update change edit modify rename move reschedule adjust replace patch",
    "send": "send email message post share deliver forward notify submit publish",
    "count": "count compute calculate convert estimate measure translate compare analyze summarize",
    "play": "play turn switch lock unlock pause resume run trigger enable disable track log record",
}
VERB_CLASS = {verb: name for name, verbs in VERB_CLASSES.items() for verb in verbs.split()}
SOFT_VERBS = frozenset("get show fetch retrieve return display provide give".split())
_METHODS = frozenset(("get", "post", "put", "patch", "delete"))
_LEADING_NOISE = re.compile(
    r"^(?:this (?:tool|endpoint|function)|allows? (?:you )?to|used? to|can)\s+", re.I
)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool, ready to be spoken about and recognised."""

    name: str
    spec: Mapping[str, Any]
    parameters: Mapping[str, Any]
    returns: Any
    leaves: tuple[Leaf, ...]
    actions: tuple[str, ...]
    """Imperative phrases that name it, the best first; lower-case first letter."""
    anchors: Mapping[str, tuple[Leaf, ...]]
    """Leaves by their words in lower case."""
    scanner: re.Pattern[str]
    """Finds quoted text, parameter names and numbers, whichever comes first."""

    def leaf_at(self, path: tuple[str, ...]) -> Leaf:
        """The leaf at a path."""
        return next(leaf for leaf in self.leaves if leaf.path == path)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """All tools of a prompt, with the weight of each word among them."""

    tools: tuple[Tool, ...]
    weights: Mapping[str, float]

    def by_name(self, name: str) -> Tool | None:
        """The tool of that name."""
        return next((tool for tool in self.tools if tool.name == name), None)

    @property
    def specs(self) -> list[Mapping[str, Any]]:
        """The tools as they stood in the prompt."""
        return [tool.spec for tool in self.tools]


@lru_cache(maxsize=256)
def load_toolbox(text: str) -> Toolbox:
    """The toolbox of a JSON list of tools; raises ValueError when it is not one."""
    specs = json.loads(text)
    if not isinstance(specs, list):
        raise ValueError("tools must be a JSON list")
    return build_toolbox(specs)


def build_toolbox(specs: Sequence[Any]) -> Toolbox:
    """The toolbox of OpenAI-style specifications; raises ValueError on one without a name."""
    tools = tuple(build_tool(spec) for spec in specs)
    counts: Counter[str] = Counter()
    for tool in tools:
        counts.update({word for action in tool.actions for word in content_stems(action)})
    weights = {word: math.log(1 + len(tools) / n) for word, n in counts.items()}
    return Toolbox(tools, weights)


def build_tool(spec: Any) -> Tool:
    """One tool from its specification; raises ValueError when it has no name."""
    function = spec.get("function", spec) if isinstance(spec, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
        raise ValueError("a tool has no name")
    parameters = function.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    return _cached_tool(json.dumps(spec), name)


@lru_cache(maxsize=2048)
def _cached_tool(text: str, name: str) -> Tool:
    spec = json.loads(text)
    function = spec.get("function", spec)
    parameters = function.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    leaves = find_leaves(parameters)
    anchors: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        anchors.setdefault(leaf.words, []).append(leaf)
    actions = find_actions(name, str(function.get("description") or ""))
    return Tool(
        name=name,
        spec=spec,
        parameters=parameters,
        returns=function.get("returns"),
        leaves=leaves,
        actions=actions,
        anchors={words: tuple(found) for words, found in anchors.items()},
        scanner=_build_scanner(anchors),
    )


def _build_scanner(anchors: Mapping[str, Any]) -> re.Pattern[str]:
    quoted = r'(?P<quoted>"(?:[^"\\\n]|\\.)*")'
    number = (
        r"(?P<number>(?<![\w.-])(?:-?\d+(?:\.\d+)?|" + "|".join(NUMBER_WORDS) + r")(?![\w.:-]*\w))"
    )
    names = sorted(anchors, key=len, reverse=True)
    name = "|".join(re.escape(words) for words in names)
    anchor = rf"(?P<anchor>(?<![\w-])(?:{name})(?![\w-]))|" if names else ""
    return re.compile(f"{quoted}|{anchor}{number}", re.IGNORECASE)


def find_actions(name: str, description: str) -> tuple[str, ...]:
    """Phrases that ask for a tool: the first sentence of its description, then its name."""
    spoken = _sentence(description)
    named = _spoken_name(name)
    found = [phrase for phrase in (spoken, named) if phrase]
    return tuple(dict.fromkeys(found)) or (name,)


def _spoken_name(name: str) -> str:
    """The words of a name; of a long operation id each once, and without its HTTP method."""
    words = split_name(name)
    if len(words) > 3 and len(set(words)) < len(words):
        words = list(dict.fromkeys(words if words[-1] not in _METHODS else words[:-1]))
    return " ".join(words)


def _sentence(description: str) -> str:
    """The first sentence as an imperative without punctuation that would mislead; "" if unusable."""
    first = re.split(r"(?:[.!?](?=\s|$))|\n|;|: | - ", description.strip(), maxsplit=1)[0]
    first = re.sub(r"\([^)]*\)?", " ", first)
    first = re.sub(r"[\"“”`*<>{}\[\]:;()\x00]", " ", first).replace(",", " ")
    words = _LEADING_NOISE.sub("", " ".join(first.split())).split()
    if not words or len(words) > 14:
        return ""
    verb = _base_form(words[0])
    if verb is None:
        return ""
    phrase = " ".join([verb, *words[1:]])
    return phrase.rstrip(".,!?'-") if len(words) > 1 else ""


def _base_form(word: str) -> str | None:
    """The verb in its base form; None when the word does not look like a verb."""
    lower = word.lower()
    if lower in VERB_CLASS or lower in _OTHER_VERBS:
        return lower
    for cut in ("es", "s"):
        base = lower.removesuffix(cut)
        if base != lower and (base in VERB_CLASS or base in _OTHER_VERBS):
            return base
    return None


_OTHER_VERBS = frozenset(
    """accept activate apply approve archive arrange ask assign backup block call choose collect complete
    confirm connect control copy deactivate decline define describe detect determine dim download evaluate
    execute explain export extract follow format generate hide identify import increase inspect install
    invite join keep launch learn leave like load mark match merge monitor mute name offer organize pay
    perform pick place predict prepare print process put rate receive recommend redeem reduce refund refresh
    reject release remind report request reset resolve restart restore review save scan select sell shorten
    show skip solve sort split store subscribe suggest suspend sync take tag test transcribe transfer
    transform unsubscribe upload upsert use
    bulk paginate decrement increment renew validate verify vote wake warm water
    withdraw""".split()
)


def content_stems(text: str) -> list[str]:
    """The stems of the words that carry meaning."""
    words = re.findall(r"[^\W_]+", text.lower())
    return [stem(word) for word in words if word not in STOP_WORDS or word in VERB_CLASS]


def strip_verb(action: str) -> tuple[str, str]:
    """(verb class or "", the rest without a leading article) of an action phrase."""
    first, _, rest = action.partition(" ")
    name = VERB_CLASS.get(first.lower(), "")
    if not name or not rest:
        return "", action
    return name, re.sub(r"^(?:up|out|the|a|an|all)\s+", "", rest)
