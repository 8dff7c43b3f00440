"""One answer is graded the same way for probe and evaluation."""

import math

import pytest

from looptool.engines import Generation
from looptool.engines.grading import build_prompt, call_logprobs, grade, perplexity, render_label
from looptool.records import (
    Kind,
    Label,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)

TOOL = make_tool(
    "get_weather",
    "Weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def _sample(label: Label) -> Sample:
    return make_sample(
        kind=Kind.SINGLE if label.calls else Kind.NO_TOOL,
        split=Split.TRAIN,
        tools=(TOOL,),
        messages=(UserMessage(content="Weather in Rome?"),),
        label=label,
        dialogue_id="d",
    )


WITH_CALL = _sample(Label(calls=(ToolCall(name="get_weather", arguments={"city": "Rome"}),)))
WITHOUT = _sample(Label(text="No tool fits."))


def _say(*pieces: tuple[str, float]) -> Generation:
    """A generation from its tokens: text and log-probability of each."""
    text = "".join(piece for piece, _ in pieces)
    ends, end = [], 0
    for piece, _ in pieces:
        end += len(piece)
        ends.append(end)
    return Generation(
        text=text,
        token_ids=tuple(range(len(pieces))),
        token_logprobs=tuple(value for _, value in pieces),
        token_ends=tuple(ends),
    )


def test_the_right_call_matches_and_has_its_own_perplexity() -> None:
    found = grade(WITH_CALL, _say(("Sure. ", -3.0), (CALL, -0.5), ("", -0.1)), pass_rate=0.25)
    assert (found.matched, found.relaxed, found.called) == (True, True, True)
    assert found.ppl_output == pytest.approx(math.exp(3.6 / 3))
    assert found.ppl_call == pytest.approx(math.exp(0.5))
    assert found.ppl_label is None
    assert found.pass_rate == 0.25
    assert found.mismatch == ""


def test_a_mismatch_says_where_and_why() -> None:
    found = grade(WITH_CALL, _say((CALL.replace("Rome", "Oslo"), -1.0)))
    assert not found.matched
    assert found.mismatch.startswith("$[0].arguments.city: ")


def test_an_unreadable_answer_is_a_parse_error_and_no_call() -> None:
    found = grade(WITH_CALL, _say(("<tool_call>{oops</tool_call>", -1.0)))
    assert not found.matched
    assert not found.called
    assert found.parse_error
    assert found.mismatch.startswith("$: unreadable: ")


def test_words_match_a_label_without_calls_but_silence_does_not() -> None:
    assert grade(WITHOUT, _say(("Sorry.", -1.0))).matched
    silent = grade(WITHOUT, _say(("", -1.0)))
    assert not silent.matched
    assert silent.mismatch == "$: empty answer"
    assert not grade(WITHOUT, _say((CALL, -1.0))).matched


def test_calls_inside_the_reasoning_count_neither_as_calls_nor_in_their_perplexity() -> None:
    thought = _say(("<think>", -1.0), (CALL, -9.0), ("</think>", -1.0), (CALL, -2.0))
    assert call_logprobs(thought) == [-2.0]
    assert grade(WITH_CALL, thought).matched


def test_a_failure_of_the_engine_is_kept_as_its_type() -> None:
    found = grade(WITH_CALL, Generation(failure="prompt_too_long"))
    assert found.failure == "prompt_too_long"
    assert found.ppl_output is None


def test_perplexity_is_at_least_one_and_survives_impossible_tokens() -> None:
    assert perplexity([0.0, 1e-9]) == 1.0
    assert perplexity([]) is None
    assert math.isfinite(perplexity([-1e9]) or math.inf)


def test_the_label_is_rendered_as_an_answer_and_graded_as_right() -> None:
    for sample in (WITH_CALL, WITHOUT):
        text = render_label(sample)
        assert text
        assert grade(sample, _say((text, -1.0))).matched
    assert render_label(_sample(Label(text="say <tool_call> twice"))) is None


def test_the_prompt_holds_context_and_tools_in_the_openai_shape() -> None:
    prompt = build_prompt(WITH_CALL)
    assert list(prompt.messages) == [{"role": "user", "content": "Weather in Rome?"}]
    assert prompt.tools[0]["function"]["name"] == "get_weather"
