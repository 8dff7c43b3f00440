"""BFCL's items by our rule (`strict`), from the documents, labels and answers that the harness hands over.

AST categories: any of the possible answers, by `calls_match`; `""` among the values of an argument means
that it may be left out. Relevance: some call, and every call satisfies its tool's schema. Irrelevance:
words and no call (R3; to BFCL an empty or unreadable answer is right as well). Multi-turn: in every turn
the label's calls in the label's order; BFCL compares what the calls did, so detours are right there and
wrong here. Java and JavaScript are not decided on: their values are source text of another language.
"""

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from looptool.calls import parse_reply
from looptool.errors import DataError
from looptool.records import JsonObject
from looptool.suites.strict import (
    ABSENT,
    Options,
    Toolbox,
    Verdict,
    expand_values,
    find_defect,
    judge_calls,
    match_options,
)

FOREIGN = ("java", "javascript", "simple_java", "simple_javascript")


def judge_item(category: str, item: Mapping[str, Any]) -> Verdict:
    """Our verdict on one item of a category."""
    if category in FOREIGN:
        return Verdict(None, "values are source text of another language")
    try:
        tools = Toolbox(item["functions"])
        if "multi_turn" in category:
            return _judge_turns(item, tools)
        if "irrelevance" in category:
            return _judge_silence(item["answer"])
        calls = read_calls(item["answer"], tools)
        if "relevance" in category:
            return _judge_relevance(calls, tools)
        return judge_calls(calls, read_label(item["label"], tools), tools)
    except DataError as exc:
        return Verdict(None, str(exc))


def read_calls(answer: Any, tools: Toolbox) -> list[JsonObject]:
    """The calls of an answer as the harness keeps it: `[{name: arguments}]`, or text."""
    if not isinstance(answer, list):
        return []
    return [
        tools.read(str(name), arguments)
        for call in answer
        if isinstance(call, Mapping)
        for name, arguments in call.items()
    ]


def read_label(label: Any, tools: Toolbox) -> list[Options]:
    """Possible answers, `[{name: {argument: [values]}}]`; DataError for another shape."""
    found = []
    for call in label if isinstance(label, list) else [label]:
        if not isinstance(call, Mapping) or len(call) != 1:
            raise DataError("the label is no list of calls")
        ((name, arguments),) = call.items()
        found.append(
            Options(
                str(name),
                {
                    key: list(_read_values(values, tools.requires(str(name), key)))
                    for key, values in arguments.items()
                },
            )
        )
    return found


def _read_values(values: Any, required: bool) -> Iterator[Any]:
    for value in values if isinstance(values, list) else [values]:
        if value == "" and not required:
            yield ABSENT
        elif isinstance(value, list) and any(isinstance(row, dict) for row in value):
            # A list of objects of choices: any row by any of its choices.
            rows = [expand_values(row) for row in value]
            yield from (list(row) for row in itertools.islice(itertools.product(*rows), 256))
        else:
            yield from expand_values(value)


def _judge_silence(answer: Any) -> Verdict:
    if isinstance(answer, list) and answer:
        return Verdict(False, "a call where none was due")
    reply = parse_reply(answer if isinstance(answer, str) else "")
    if reply.error is not None:
        return Verdict(False, f"unreadable: {reply.error}")
    return Verdict(True) if reply.speaks else Verdict(False, "an empty answer")


def _judge_relevance(calls: Sequence[JsonObject], tools: Toolbox) -> Verdict:
    if not calls:
        return Verdict(False, "no call where one was due")
    if all(tools.is_sound(call) for call in calls):
        return Verdict(True)
    return Verdict(False, "a call that its tool does not take")


def _judge_turns(item: Mapping[str, Any], tools: Toolbox) -> Verdict:
    answer, label = item["answer"], item["label"]
    if not isinstance(label, list) or len(label) != item["turns"]:
        return Verdict(None, f"no label for each of {item['turns']} turns")
    if not isinstance(answer, list) or len(answer) != len(label):
        return Verdict(False, "not as many turns as the label")
    expected = [[read_python_call(text, tools) for text in turn] for turn in label]
    for number, (steps, wanted) in enumerate(zip(answer, expected, strict=True)):
        calls = [call for step in steps for call in read_calls(step, tools)]
        defects = (find_defect(options, tools) for options in wanted)
        if (fault := next(filter(None, defects), None)) is not None:
            return Verdict(None, f"the label breaks its own schema: {fault}")
        if len(calls) != len(wanted) or not all(
            match_options(call, options, tools) for call, options in zip(calls, wanted, strict=True)
        ):
            return Verdict(False, f"turn {number}: other calls than the label's")
    return Verdict(True)


def read_python_call(text: str, tools: Toolbox) -> Options:
    """`f(1, a=2)` as an expected call, read and never run; DataError for anything else."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call):
            raise ValueError("no call")
        name = tools.names.get(ast.unparse(node.func), ast.unparse(node.func))
        positions = tools.properties.get(name, [])
        if len(node.args) > len(positions):
            raise ValueError("more values than parameters")
        values = dict(zip(positions, map(ast.literal_eval, node.args), strict=False))
        values |= {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as exc:
        raise DataError(f"a label that is no plain call: {exc}") from exc
    return Options(name, {key: [plain_value(value)] for key, value in values.items()})


def plain_value(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_value(item) for key, item in value.items()}
    return value
