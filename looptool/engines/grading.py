"""One answer against one label: the grading that probe and evaluation share (method, section 4).

It lives below the stages because they never import each other. Perplexity is
`exp(-(1/L) * sum log p(token))` over the L tokens of the model's OWN output, the end of turn
included; also over the tokens of its `<tool_call>` blocks alone (markers included), and over the
label.
"""

import math
import re
from collections.abc import Sequence

from looptool.calls import (
    answers_match,
    explain_mismatch,
    parse_reply,
    relaxed_match,
    render_calls,
)
from looptool.calls.parse import Reply
from looptool.engines import Generation, Prompt
from looptool.errors import DataError
from looptool.records import ProbeResult, Sample

_BLOCK = re.compile(r"<tool_call>.*?(?:</tool_call>|\Z)", re.DOTALL)
_THINK_END = "</think>"


def build_prompt(sample: Sample) -> Prompt:
    """What the policy is asked for this sample."""
    return Prompt(messages=sample.chat(), tools=sample.tool_specs())


def render_label(sample: Sample) -> str | None:
    """The label as the policy would say it; None if it cannot be said (reserved markers)."""
    try:
        return render_calls(sample.label.as_calls(), sample.label.text)
    except DataError:
        return None


def is_right(sample: Sample, reply: Reply) -> bool:
    """Whether a reply is the label's, by the one matching rule."""
    return answers_match(
        reply, sample.label.as_calls(), sample.tool_specs(), ordered=sample.ordered
    )


def grade(sample: Sample, generation: Generation, pass_rate: float | None = None) -> ProbeResult:
    """Strict and relaxed match, first difference and perplexities of one answer."""
    if generation.failure:
        return _failed(sample, generation.failure, pass_rate)
    reply = parse_reply(generation.text)
    matched = is_right(sample, reply)
    return ProbeResult(
        sample_id=sample.sample_id,
        output=generation.text,
        matched=matched,
        relaxed=matched or _match_relaxed(reply, sample),
        called=bool(reply.calls),
        parse_error=reply.error or "",
        mismatch="" if matched else _explain(reply, sample),
        tokens=len(generation.token_ids),
        truncated=generation.truncated,
        ppl_output=perplexity(generation.token_logprobs),
        ppl_call=perplexity(call_logprobs(generation)),
        ppl_label=perplexity(generation.label_logprobs or ()),
        pass_rate=pass_rate,
    )


def perplexity(logprobs: Sequence[float]) -> float | None:
    """exp of the mean negative log-probability, >= 1; None without tokens."""
    if not logprobs:
        return None
    surprise = -math.fsum(logprobs) / len(logprobs)
    return math.exp(min(max(surprise, 0.0), 700.0))  # exp(710) is beyond a float


def call_logprobs(generation: Generation) -> list[float]:
    """Log-probabilities of the tokens that reach into a `<tool_call>` block after the reasoning."""
    text = generation.text
    start = text.rfind(_THINK_END) + len(_THINK_END) if _THINK_END in text else 0
    blocks = [match.span() for match in _BLOCK.finditer(text, start)]
    begins = (0, *generation.token_ends[:-1])
    return [
        logprob
        for begin, end, logprob in zip(
            begins, generation.token_ends, generation.token_logprobs, strict=True
        )
        if any(begin < high and end > low for low, high in blocks)
    ]


def _match_relaxed(reply: Reply, sample: Sample) -> bool:
    if reply.error is not None or not sample.label.calls:
        return False  # without calls there is nothing to relax
    return relaxed_match(
        reply.calls, sample.label.as_calls(), sample.tool_specs(), ordered=sample.ordered
    )


def _explain(reply: Reply, sample: Sample) -> str:
    if reply.error is not None:
        return f"$: unreadable: {reply.error}"
    found = explain_mismatch(
        reply.calls, sample.label.as_calls(), sample.tool_specs(), ordered=sample.ordered
    )
    return "$: empty answer" if found is None else f"{found.path}: {found.reason}"


def _failed(sample: Sample, failure: str, pass_rate: float | None) -> ProbeResult:
    return ProbeResult(
        sample_id=sample.sample_id,
        output="",
        matched=False,
        relaxed=False,
        called=False,
        tokens=0,
        ppl_output=None,
        pass_rate=pass_rate,
        failure=failure,
    )
