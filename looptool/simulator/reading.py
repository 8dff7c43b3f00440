"""Reads a rendered prompt of ours back into its parts: the role and the tagged sections.

The scripted teacher knows nothing else than what stands here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from looptool.simulator.toolbox import Toolbox, load_toolbox

_ROLE = re.compile(r"\s*Role:\s*([a-z]+)")
_SECTION = re.compile(r"<([a-z_]+)>(.*?)</\1>", re.DOTALL)


class UnreadablePrompt(Exception):
    """The prompt is not one of ours; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request, read."""

    role: str
    sections: Mapping[str, str]
    key: str
    """Digest of the prompt's text."""
    seed: Any = None
    """The request's `seed` field."""
    expert: bool = False
    """Whether the model is the one without systematic errors."""

    def text(self, name: str, default: str | None = None) -> str:
        """A section as it stands; raises UnreadablePrompt when it is missing and has no default."""
        if name in self.sections:
            return self.sections[name]
        if default is not None:
            return default
        raise UnreadablePrompt(f"the {self.role} prompt has no <{name}> section")

    def json(self, name: str) -> Any:
        """A section as JSON; raises UnreadablePrompt when it is missing or not JSON."""
        try:
            return json.loads(self.text(name))
        except ValueError as exc:
            raise UnreadablePrompt(f"section <{name}> is not JSON: {exc}") from exc

    def toolbox(self, name: str = "tools") -> Toolbox:
        """The tools of the prompt."""
        try:
            return load_toolbox(self.text(name))
        except ValueError as exc:
            raise UnreadablePrompt(f"section <{name}> holds no usable tools: {exc}") from exc

    def conversation(self) -> list[dict[str, Any]]:
        """The conversation in the OpenAI chat shape."""
        rows = self.json("conversation")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UnreadablePrompt("section <conversation> is not a list of messages")
        return rows


def read_prompt(messages: Any, key: str, seed: Any = None, *, expert: bool = False) -> Prompt:
    """The parts of a rendered prompt; raises UnreadablePrompt."""
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise UnreadablePrompt("`messages` is not a list of objects")
    system = "\n".join(_content(m) for m in messages if m.get("role") == "system")
    user = "\n".join(_content(m) for m in messages if m.get("role") == "user")
    match = _ROLE.match(system)
    if match is None:
        raise UnreadablePrompt("the system message does not begin with `Role: …`")
    sections: dict[str, str] = {}
    for found in _SECTION.finditer(user):
        sections.setdefault(found[1], found[2])
    return Prompt(match[1], sections, key, seed, expert)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else ""
