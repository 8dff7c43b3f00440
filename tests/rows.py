"""Rows that tests of several rooms start from: one decision, and what a policy answered to it."""

from typing import Any

from looptool.records import (
    Kind,
    Label,
    ProbeResult,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)

SET = make_tool("set_it", "", {"type": "object", "properties": {"to": {"type": "string"}}})
GET = make_tool("get_it", "", {"type": "object", "properties": {}})
BOOK = make_tool(
    "book_table",
    "Books a table at a restaurant.",
    {
        "type": "object",
        "properties": {
            "restaurant": {"type": "string", "description": "Name of the restaurant."},
            "guests": {"type": "integer", "description": "Number of guests."},
        },
        "required": ["restaurant", "guests"],
    },
)
SILENT = {Kind.NO_TOOL, Kind.CLARIFY, Kind.SUMMARY}
"""Kinds that are answered in words."""


def decision(text: str, kind: Kind = Kind.SINGLE, **fields: Any) -> Sample:
    """A sample about `text`: set it to that, or words where no call is due."""
    calls = (ToolCall(name="set_it", arguments={"to": text}),)
    known: dict[str, Any] = {
        "kind": kind,
        "split": Split.TRAIN,
        "tools": (SET,),
        "messages": (UserMessage(content=text),),
        "label": Label(text="no") if kind in SILENT else Label(calls=calls),
        "dialogue_id": text,
    }
    return make_sample(**(known | fields))


def answered(sample: Sample, matched: bool, **fields: Any) -> ProbeResult:
    """A probe of the sample."""
    known: dict[str, Any] = {
        "sample_id": sample.sample_id,
        "output": "",
        "matched": matched,
        "relaxed": matched,
        "called": True,
        "tokens": 5,
        "ppl_output": 1.5,
    }
    return ProbeResult(**(known | fields))
