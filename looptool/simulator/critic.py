"""The reviewer and the judge: both compare an answer with what they would have done themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

from looptool.calls import Reply, answers_match, explain_mismatch
from looptool.records import JsonObject, as_mapping
from looptool.simulator.shapes import same_json
from looptool.simulator.toolbox import Toolbox
from looptool.simulator.understand import Decision, calls_of, decide, is_question

VERDICTS = ("A_WRONG", "B_WRONG", "BOTH_CORRECT", "BOTH_WRONG")


def is_right(box: Toolbox, answer: Mapping[str, Any], expected: Decision) -> bool:
    """Whether an answer does what the decision asks for, by the one matching rule."""
    text = str(answer.get("content") or "")
    calls = calls_of(answer)
    if not calls:
        return not expected.calls and bool(text.strip()) and "<tool_call>" not in text
    tools = [dict(spec) for spec in box.specs]
    reply = Reply(reasoning=None, calls=tuple(calls), text=text, error=None)
    return answers_match(reply, expected.calls, tools)


def review(box: Toolbox, conversation: Sequence[Mapping[str, Any]]) -> JsonObject:
    """The reviewer's reply: one verdict per assistant message."""
    steps = []
    for index, message in enumerate(conversation):
        if message.get("role") != "assistant":
            continue
        try:
            expected = decide(box, conversation[:index])
        except ValueError:
            steps.append(_step(index, True, True, True, "Nothing had been asked yet."))
            continue
        steps.append(_review_step(box, index, message, expected))
    return {"steps": steps}


def _step(index: int, fit: bool, logical: bool, intent: bool, reason: str) -> JsonObject:
    return {
        "index": index,
        "contextual_fit": fit,
        "logical_consistency": logical,
        "intent": intent,
        "reason": reason,
    }


def _review_step(
    box: Toolbox, index: int, message: Mapping[str, Any], expected: Decision
) -> JsonObject:
    if is_right(box, message, expected):
        asking = is_question(message)
        if not expected.calls and asking != (expected.move == "ask"):
            reason = "It asks although nothing is missing." if asking else "It should have asked."
            return _step(index, False, True, False, reason)
        return _step(index, True, True, True, "The step follows from what was said.")
    kind = name_error(message, expected)
    same_tools = kind in ("wrong_value", "missing_argument", "extra_argument")
    return _step(index, same_tools, False, kind != "wrong_tool" and same_tools, _EXPLAINED[kind])


_EXPLAINED = {
    "wrong_tool": "It calls a tool that the request does not ask for.",
    "wrong_value": "An argument does not have the value that the user stated.",
    "missing_argument": "It leaves out an argument that the user stated.",
    "extra_argument": "It holds an argument that nobody stated.",
    "missing_call": "It leaves out a call that the request needs.",
    "extra_call": "It makes a call that nobody asked for.",
    "should_ask": "A required value is missing, so it should ask for it.",
    "should_not_call": "No call is due here.",
    "should_call": "A call is due here.",
    "other": "It does not follow from the conversation.",
}
_ADVICE = {
    "wrong_tool": "Choose the tool whose description fits the request.",
    "wrong_value": "Copy each value from the user's words; the last mention counts.",
    "missing_argument": "Fill every parameter that the user did state.",
    "extra_argument": "Leave out what the user did not state.",
    "missing_call": "Make one call for each independent request.",
    "extra_call": "Make only the calls that are needed now.",
    "should_ask": "Ask for exactly the missing required value and call nothing.",
    "should_not_call": "Answer in words and call nothing.",
    "should_call": "Call the tool, since every required value is known.",
    "other": "Read the last message and the tools again.",
}


def name_error(answer: Mapping[str, Any], expected: Decision) -> str:
    """What is wrong with an answer that is not right, in the judge's vocabulary."""
    calls = calls_of(answer)
    if not expected.calls:
        if not calls:
            return "other"
        return "should_ask" if expected.move == "ask" else "should_not_call"
    if not calls:
        return "should_call"
    if len(calls) != len(expected.calls):
        return "missing_call" if len(calls) < len(expected.calls) else "extra_call"
    return _name_call_error(calls, expected.calls)


def _name_call_error(calls: Sequence[JsonObject], wanted: Sequence[JsonObject]) -> str:
    """What is wrong with as many calls as are due."""
    if sorted(c["name"] for c in calls) != sorted(c["name"] for c in wanted):
        return "wrong_tool"
    said = [c for c in calls if not any(same_json(c, w) for w in wanted)]
    left = [w for w in wanted if not any(same_json(c, w) for c in calls)]
    for call, want in zip(said, left, strict=False):
        if set(want["arguments"]) - set(call["arguments"]):
            return "missing_argument"
        if set(call["arguments"]) - set(want["arguments"]):
            return "extra_argument"
    return "wrong_value"


def judge(
    box: Toolbox,
    conversation: Sequence[Mapping[str, Any]],
    answer_a: Mapping[str, Any],
    answer_b: Mapping[str, Any],
) -> JsonObject:
    """The judge's reply about two answers."""
    expected = decide(box, conversation)
    right_a, right_b = is_right(box, answer_a, expected), is_right(box, answer_b, expected)
    verdict = {
        (True, True): "BOTH_CORRECT",
        (False, True): "A_WRONG",
        (True, False): "B_WRONG",
        (False, False): "BOTH_WRONG",
    }[right_a, right_b]
    if right_a and right_b:
        return {
            "error_analysis": "Neither answer is wrong. They differ in form alone.",
            "right_approach": "Either way leads to the goal. Keep to what the user said.",
            "error_type": "other",
            "verdict": verdict,
        }
    wrong = answer_b if right_a else answer_a
    kind = name_error(wrong, expected)
    return {
        "error_analysis": f"{_EXPLAINED[kind]} {_locate(box, wrong, expected)}",
        "right_approach": f"{_ADVICE[kind]} {_describe(expected)}",
        "error_type": kind,
        "verdict": verdict,
    }


def _locate(box: Toolbox, wrong: Mapping[str, Any], expected: Decision) -> str:
    calls = calls_of(wrong)
    if not calls or not expected.calls:
        return "The kind of step is not the one that is due."
    mismatch = explain_mismatch(calls, expected.calls, [dict(spec) for spec in box.specs])
    if mismatch is None:
        return "The calls differ from what the context supports."
    return f"The first difference is at {mismatch.path}: {mismatch.reason}."


def _describe(expected: Decision) -> str:
    if expected.calls:
        names = ", ".join(dict.fromkeys(str(call["name"]) for call in expected.calls))
        return f"What is due now is {names}."
    moves = {
        "ask": "A question to the user is due now.",
        "refuse": "No tool fits, and the user should hear that.",
        "summary": "All results are there and should be told.",
        "give_up": "The failure should be told to the user.",
    }
    return moves.get(expected.move, "An answer in words is due now.")


def as_answer(value: Any) -> JsonObject:
    """An answer section as {"content", "tool_calls"}, whatever was there."""
    fields = as_mapping(value)
    return {"content": str(fields.get("content") or ""), "tool_calls": calls_of(fields)}
