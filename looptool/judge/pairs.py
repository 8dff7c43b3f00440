"""What is judged: a sample with its label, and another answer to the same context."""

from collections.abc import Callable
from dataclasses import dataclass

from looptool.calls import parse_arguments, parse_reply
from looptool.errors import shorten
from looptool.records import Label, ProbeResult, Sample, ToolCall

RuleCheck = Callable[[Sample, Label], list[str]]
"""What is wrong with a label in the place of a sample's own; empty if nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one context; planted ones and real ones look the same to the judge."""

    sample: Sample
    predicted: Label
    trouble: str = ""
    """Why the prediction cannot be right as it stands; empty if it can."""
    marked: bool = False
    """The two match by the relaxed rule alone."""


def find_mismatch(sample: Sample, result: ProbeResult) -> Pair:
    """The pair of a probed sample.

    Raises ValueError if it is no mismatch, or its probe failed for infrastructure reasons.
    """
    if result.sample_id != sample.sample_id or result.matched or result.failure:
        raise ValueError(f"{sample.sample_id} with probe of {result.sample_id} is no mismatch")
    predicted, trouble = read_prediction(result)
    return Pair(sample, predicted, trouble, marked=result.relaxed)


def read_prediction(result: ProbeResult) -> tuple[Label, str]:
    """The policy's answer as a label, and why it cannot be right as it stands (else empty).

    An answer that cannot be parsed stands there as text, so that the judge sees what the policy
    wrote.
    """
    reply = parse_reply(result.output)
    if reply.error or result.parse_error:
        trouble = f"the prediction cannot be parsed: {shorten(reply.error or result.parse_error)}"
        return Label(text=result.output.strip()), trouble
    calls = tuple(
        ToolCall(name=call["name"], arguments=parse_arguments(call["arguments"]))
        for call in reply.calls
    )
    label = Label(calls=calls, text=reply.text)
    return label, "" if calls or reply.text else "the prediction is empty"
