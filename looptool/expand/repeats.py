"""New samples that are of no use: they repeat their family, or their decision is another one."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from looptool.errors import shorten
from looptool.records import Label, Message, Sample, ToolSpec, canonical_json


class Family:
    """Contexts and calls of a seed and of what was made of it; rejected samples count as well."""

    def __init__(self, seed: Sample) -> None:
        self._contexts: set[str] = set()
        self._calls: set[str] = set()
        self.admit(seed)

    def admit(self, sample: Sample) -> tuple[str, str] | None:
        """Takes the sample in; else the rule that it breaks, and how."""
        context = fold(sample.messages)
        if context in self._contexts:
            return "copy", "the same context as its seed or as another sample of it"
        self._contexts.add(context)
        calls = canonical_json(sample.label.as_calls())
        if calls in self._calls and holds_free_text(sample.label, sample.tools):
            return "same_values", "the same calls as its seed or as another sample of it"
        self._calls.add(calls)
        return None


def find_lost_trap(parent: Sample, child: Sample) -> tuple[str, str] | None:
    """The rule that a new sample breaks whose decision calls other tools than its parent's, and how."""
    wanted, made = ({call.name for call in one.label.calls} for one in (parent, child))
    if made == wanted:
        return None
    said = ", ".join(sorted(map(shorten, made))) or "nothing"
    return "trap_lost", f"it calls {said} instead of {', '.join(sorted(wanted)) or 'nothing'}"


def fold(messages: Sequence[Message]) -> str:
    """The context without differences of case, width and blanks in its texts."""
    rows = [message.model_dump(mode="json") for message in messages]
    for row in rows:
        row["content"] = " ".join(unicodedata.normalize("NFKC", row["content"]).casefold().split())
    return canonical_json(rows)


def holds_free_text(label: Label, tools: Sequence[ToolSpec]) -> bool:
    """Whether a call holds a text that its tool does not take from a list: it could be another one."""
    schemas = {tool.name: tool.parameters for tool in tools}
    return any(
        isinstance(value, str) and not _is_listed(schemas.get(call.name, {}), name)
        for call in label.calls
        for name, value in call.arguments.items()
    )


def _is_listed(schema: Mapping[str, Any], name: str) -> bool:
    declared = schema.get("properties", {}).get(name, {})
    return isinstance(declared, Mapping) and bool({"enum", "const", "$ref"} & set(declared))
