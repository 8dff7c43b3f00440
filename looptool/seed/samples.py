"""Dialogues into samples: one per assistant decision (method, section 2).

Unlike the release we keep the decisions to call nothing, because a model that never sees them calls
always. Left out: marked turns and everything after them (their context rests on a step on which the
teacher was not sure), and most summaries, which teach little about calls.
"""

from looptool.decisions import kind_of
from looptool.records import (
    AssistantMessage,
    Dialogue,
    Kind,
    Label,
    Sample,
    ToolMessage,
    UserMessage,
    content_id,
    make_sample,
)


def cut_samples(dialogue: Dialogue, summary_rate: float = 1.0) -> list[Sample]:
    """The samples of a dialogue, in order.

    A summary becomes a sample by a hash of its own content, so that the choice does not depend on
    what else is in the run; `summary_rate` is the share that does.
    """
    end = min(dialogue.marked_turns, default=len(dialogue.messages))
    samples: list[Sample] = []
    for index, message in enumerate(dialogue.messages[:end]):
        if not isinstance(message, AssistantMessage) or index == 0:
            continue
        if not isinstance(dialogue.messages[index - 1], UserMessage | ToolMessage):
            continue
        sample = _cut(dialogue, index, message)
        if sample.kind is not Kind.SUMMARY or is_chosen(sample.sample_id, summary_rate):
            samples.append(sample)
    return samples


def _cut(dialogue: Dialogue, index: int, message: AssistantMessage) -> Sample:
    label = Label(calls=message.calls, text="" if message.calls else message.content)
    context = dialogue.messages[:index]
    # Words alone cannot tell a question from a refusal; the plan of the dialogue can.
    like = dialogue.kind if dialogue.kind in (Kind.CLARIFY, Kind.NO_TOOL) else None
    return make_sample(
        kind=kind_of(context, label, like=like),
        split=dialogue.split,
        tools=dialogue.tools,
        messages=context,
        label=label,
        date=dialogue.date,
        persona=dialogue.persona,
        style=dialogue.style,
        language=dialogue.language,
        dialogue_id=dialogue.dialogue_id,
    )


def is_chosen(sample_id: str, rate: float) -> bool:
    """Whether the sample belongs to the chosen share: by hash, the same in every run."""
    digest = content_id("keep", sample_id).rpartition("-")[2]
    return int(digest, 16) < rate * 2.0 ** (4 * len(digest))
