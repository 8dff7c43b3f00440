"""ACEBench's items by our rule, from the documents, labels and answers that the harness hands over.

The answer is text in Python's syntax, `[Api(k='v')]`: the outermost brackets are read, as the official grader
does, but as plain values only and never run. Labels hold one value an argument; a second call of one function
is called `name_2` there. The special categories have no call in their labels, only fixed sentences, and are not
decided on.
"""

import ast
import re
from collections.abc import Mapping
from typing import Any

from looptool.errors import DataError, shorten
from looptool.records import JsonObject
from looptool.suites.bfcl_labels import plain_value
from looptool.suites.strict import Options, Toolbox, Verdict, judge_calls


def judge_item(category: str, item: Mapping[str, Any]) -> Verdict:
    """Our verdict on one item of a category."""
    if not category.startswith("normal"):
        return Verdict(None, "graded by fixed sentences alone")
    try:
        tools = Toolbox([rename_arguments(document) for document in item["functions"]])
        labels = item["label"] if isinstance(item["label"], list) else [item["label"]]
        expected = [_read_label(label, tools) for label in labels]
    except DataError as exc:
        return Verdict(None, str(exc))
    try:
        calls = read_answer(str(item["answer"]), tools)
    except DataError as exc:
        return Verdict(False, str(exc))
    verdicts = [judge_calls(calls, options, tools) for options in expected]
    decided = [verdict for verdict in verdicts if verdict.matched is not None]
    return next((v for v in decided if v.matched), (decided or verdicts)[0])


def rename_arguments(document: Mapping[str, Any]) -> JsonObject:
    """The document with its parameters under the usual name."""
    known = dict(document)
    if "parameters" not in known and "arguments" in known:
        known["parameters"] = known.pop("arguments")
    known.pop("results", None)
    return known


def _read_label(label: Any, tools: Toolbox) -> list[Options]:
    if not isinstance(label, Mapping) or not label:
        raise DataError("the label is no object of calls")
    return [
        Options(_own_name(str(name), tools), {key: [value] for key, value in arguments.items()})
        for name, arguments in label.items()
        if isinstance(arguments, Mapping)
    ]


def _own_name(name: str, tools: Toolbox) -> str:
    plain = re.sub(r"_\d+$", "", name)
    return plain if name not in tools.names and plain in tools.names else name


def read_answer(text: str, tools: Toolbox) -> list[JsonObject]:
    """The calls of `[Api(k='v'), …]`; DataError if there are none that can be read."""
    try:
        node = ast.parse(_outermost(text), mode="eval").body
        if not isinstance(node, ast.List):
            raise ValueError("no list of calls")
        return [_read_call(element, tools) for element in node.elts]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as exc:
        raise DataError(f"unreadable: {shorten(exc)}") from exc


def _outermost(text: str) -> str:
    start, depth = text.find("["), 0
    for place in range(max(start, 0), len(text)):
        depth += {"[": 1, "]": -1}.get(text[place], 0)
        if depth == 0:
            return text[start : place + 1] if start >= 0 else ""
    raise ValueError("no brackets")


def _read_call(node: ast.expr, tools: Toolbox) -> JsonObject:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("an element that is no call with named arguments")
    values = {str(k.arg): plain_value(ast.literal_eval(k.value)) for k in node.keywords}
    return tools.read(ast.unparse(node.func), values)
