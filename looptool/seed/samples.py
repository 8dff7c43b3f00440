"""Dialogues into samples: one per assistant decision (method, section 2).

Unlike the release we keep the decisions to call nothing, because a model that never sees them calls
always. Left out are marked turns and everything after them: their context rests on a step on which the
teacher was not sure.
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
    make_sample,
)


def cut_samples(dialogue: Dialogue) -> list[Sample]:
    """The samples of a dialogue, in order."""
    end = min(dialogue.marked_turns, default=len(dialogue.messages))
    return [
        _cut(dialogue, index, message)
        for index, message in enumerate(dialogue.messages[:end])
        if index
        and isinstance(message, AssistantMessage)
        and isinstance(dialogue.messages[index - 1], UserMessage | ToolMessage)
    ]


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
        difficulty=dialogue.difficulty,
        dialogue_id=dialogue.dialogue_id,
    )
