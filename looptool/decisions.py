"""What kind of decision a sample is, what it says, and the one way to correct its label.

Several stages need each of them, and stages never import each other.
"""

import json
from collections.abc import Sequence

from looptool.records import (
    Judgement,
    Kind,
    Label,
    Message,
    Origin,
    Sample,
    ToolMessage,
    UserMessage,
    content_id,
    make_sample,
)


def is_failure(content: str) -> bool:
    """Whether a tool's result says that the call failed: `{"error": …}`."""
    if '"error"' not in content:
        return False
    try:
        value = json.loads(content)
    except ValueError:
        return False
    return isinstance(value, dict) and "error" in value


def kind_of(messages: Sequence[Message], label: Label, like: Kind | None = None) -> Kind:
    """The kind of a decision, read off its context and label.

    Words alone cannot tell a clarification from a refusal: `like` decides where it is one of the
    two, and else the question mark does.
    """
    last = messages[-1] if messages else None
    if not label.calls:
        if isinstance(last, ToolMessage):
            return Kind.SUMMARY
        if like in (Kind.CLARIFY, Kind.NO_TOOL):
            return like
        return Kind.CLARIFY if label.text.rstrip().endswith(("?", "？")) else Kind.NO_TOOL
    if isinstance(last, ToolMessage):
        return (
            Kind.RETRY
            if any(is_failure(m.content) for m in _results(messages))
            else (Kind.MULTI_STEP)
        )
    if sum(isinstance(message, UserMessage) for message in messages) > 1:
        return Kind.MULTI_TURN
    return Kind.PARALLEL if len(label.calls) > 1 else Kind.SINGLE


def _results(messages: Sequence[Message]) -> list[ToolMessage]:
    """The results at the end of the context: those of the last assistant message."""
    found: list[ToolMessage] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        found.append(message)
    return found


def relabel(sample: Sample, judgement: Judgement, iteration: int) -> Sample:
    """A new sample with the judged label; the old one stays as it is, so the change can be undone.

    Raises ValueError if the judgement replaces no label, or is about another sample.
    """
    label = judgement.new_label
    if label is None or judgement.sample_id != sample.sample_id:
        raise ValueError(
            f"judgement of {judgement.sample_id} holds no label for {sample.sample_id}"
        )
    fields = {name: getattr(sample, name) for name in Sample.model_fields if name != "sample_id"}
    fields |= {
        "kind": _kind_after(sample, label),
        "label": label,
        "origin": Origin.ERROR_SEED,
        "parent_id": sample.sample_id,
        "root_id": sample.root_id or sample.sample_id,
        "born_in": iteration,
    }
    return make_sample(**fields)


def _kind_after(sample: Sample, label: Label) -> Kind:
    # The context is the same, so most kinds can only change when calls become words or words calls.
    same = bool(label.calls) == bool(sample.label.calls)
    if same and sample.kind not in (Kind.SINGLE, Kind.PARALLEL):
        return sample.kind
    return kind_of(sample.messages, label, like=sample.kind)


def content_of(sample: Sample) -> str:
    """What a sample says: names of the tools in any order, context and label; equal for duplicates."""
    return content_id(
        "c",
        sorted(tool.name for tool in sample.tools),
        [message.model_dump(mode="json") for message in sample.messages],
        sample.label.model_dump(mode="json"),
    )
