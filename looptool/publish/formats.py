"""Samples in the row formats of other trainers: pure functions.

The answer is the label; whoever trains with a reward gets it as `ground_truth`, too, in the form that
`looptool.calls.compute_score` takes.
"""

import json
from collections.abc import Iterable, Iterator

from looptool.records import AssistantMessage, JsonObject, Sample, messages_as_openai
from looptool.train.rows import build_row


def as_trl(sample: Sample) -> JsonObject:
    """TRL's conversational prompt-completion row with `tools`; GRPO uses `prompt` and `ground_truth`."""
    row = build_row(sample)
    answer = AssistantMessage(content=sample.label.text, calls=sample.label.calls)
    whole = messages_as_openai([*sample.messages, answer])
    return {
        "prompt": whole[:-1],
        "completion": whole[-1:],
        "tools": row["tools"],
        "ground_truth": row["ground_truth"],
        "sample_id": sample.sample_id,
    }


def as_swift(sample: Sample) -> JsonObject:
    """ms-swift's agent row: calls and results are messages of their own, the tools are JSON text."""
    answer = AssistantMessage(content=sample.label.text, calls=sample.label.calls)
    return {
        "messages": list(_swift_messages(messages_as_openai([*sample.messages, answer]))),
        "tools": json.dumps(sample.tool_specs(), ensure_ascii=False),
        "solution": build_row(sample)["ground_truth"],
        "sample_id": sample.sample_id,
    }


def _swift_messages(messages: Iterable[JsonObject]) -> Iterator[JsonObject]:
    for message in messages:
        if message["role"] == "tool":
            yield {"role": "tool_response", "content": message["content"]}
            continue
        calls = message.get("tool_calls", [])
        if message["content"] or not calls:
            yield {"role": message["role"], "content": message["content"]}
        for call in calls:
            text = json.dumps(call["function"], ensure_ascii=False)
            yield {"role": "tool_call", "content": text}
