"""The expander's reply and the sample that it describes.

Read strictly where meaning is at stake and generously where it is not: a missing list of calls is
an empty one, and a tool's content may be JSON itself or JSON text.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from looptool.decisions import kind_of
from looptool.errors import DataError, shorten
from looptool.expand.plan import Variation
from looptool.records import (
    AssistantMessage,
    Kind,
    Label,
    Message,
    Origin,
    Sample,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    canonical_json,
    content_id,
    make_sample,
)


class ExpandedCall(BaseModel):
    """A call in the expander's reply."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    arguments: dict[str, Any]


class ExpandedMessage(BaseModel):
    """A message in the expander's reply; a tool's content may be JSON itself or JSON text."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    role: Literal["user", "assistant", "tool"]
    content: str | dict[str, Any] | list[Any] | None = None
    tool_calls: list[ExpandedCall] | None = None
    name: str | None = None


class ExpandedLabel(BaseModel):
    """The right decision in the expander's reply."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    content: str | None = None
    tool_calls: list[ExpandedCall] | None = None


class ExpandReply(BaseModel):
    """The JSON object that the prompt `expand_sample` asks for."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    messages: list[ExpandedMessage]
    label: ExpandedLabel


def build_sample(
    parent: Sample, reply: ExpandReply, iteration: int, variation: Variation, date: str
) -> Sample:
    """The sample that a reply describes, as difficult as its parent; raises DataError if it is none."""
    system = [message for message in parent.messages if isinstance(message, SystemMessage)]
    messages = (*system, *_read_messages(reply.messages))
    label = Label(calls=_read_calls(reply.label.tool_calls), text=reply.label.content or "")
    if not label.calls and not label.text.strip():
        raise DataError("the label has neither calls nor text")
    if not isinstance(messages[-1], UserMessage | ToolMessage):
        raise DataError(f"the conversation ends with {messages[-1].role}, not before a decision")
    try:
        # Not in pydantic's JSON mode, which writes null for an infinite number.
        canonical_json([message.model_dump() for message in messages])
        canonical_json(label.model_dump())
    except ValueError as error:
        raise DataError(f"values that are not JSON: {shorten(error)}") from error
    return make_sample(
        kind=_kind_of_child(parent, messages, label),
        split=parent.split,
        origin=Origin.EXPANSION,
        tools=variation.tools,
        messages=messages,
        label=label,
        ordered=parent.ordered,
        date=date,
        persona=variation.persona,
        style=variation.style,
        language=parent.language,
        difficulty=parent.difficulty,
        dialogue_id=content_id(
            "d", parent.sample_id, [message.model_dump(mode="json") for message in messages]
        ),
        parent_id=parent.sample_id,
        root_id=parent.root_id or parent.sample_id,
        born_in=iteration,
    )


def _read_messages(rows: Sequence[ExpandedMessage]) -> list[Message]:
    if not rows or rows[0].role != "user":
        raise DataError("the conversation does not begin with the user")
    return [_read_message(row, number) for number, row in enumerate(rows)]


def _read_message(row: ExpandedMessage, number: int) -> Message:
    if row.role == "tool":
        if not row.name:
            raise DataError(f"message {number}: a result without the name of its tool")
        return ToolMessage(name=row.name, content=_as_json_text(row.content))
    if not isinstance(row.content, str | None):
        raise DataError(f"message {number}: the content of a {row.role} is no text")
    content = row.content or ""
    if row.role == "assistant":
        return AssistantMessage(content=content, calls=_read_calls(row.tool_calls))
    if row.tool_calls or not content.strip():
        raise DataError(f"message {number}: the user calls tools or says nothing")
    return UserMessage(content=content)


def _as_json_text(content: object) -> str:
    if isinstance(content, str):
        try:
            json.loads(content)
        except (ValueError, RecursionError):
            return json.dumps(content, ensure_ascii=False)
        return content
    return json.dumps(content, ensure_ascii=False)


def _read_calls(calls: Sequence[ExpandedCall] | None) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(name=call.name, arguments=call.arguments) for call in calls or ())


def _kind_of_child(parent: Sample, messages: Sequence[Message], label: Label) -> Kind:
    """The parent's kind where the child has its structure, as asked for; else what it shows."""
    same_turns = [message.role for message in messages] == [m.role for m in parent.messages]
    if same_turns and len(label.calls) == len(parent.label.calls):
        return parent.kind
    return kind_of(messages, label, like=parent.kind)
