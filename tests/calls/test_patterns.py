"""Patterns of foreign schemas: the same answers as Python gives, and never an endless search."""

import re
import time
from typing import Any

import pytest

from looptool.calls import calls_match, check_label
from looptool.errors import DataError
from looptool.patterns import search_pattern
from looptool.records import make_tool
from looptool.seed import normalise_tool
from looptool.validate.calls import check_call

BOMBS = (
    "(a+)+$", "^(\\w+\\s?)+$", "(a|aa)+$", "^(a?){40}a{40}$", "(?x) (a+) +$", "(a*)*b", "^a*a*a*a*a*a*a*a*$",
    "^(?=(a+)+$)b", "(a+)+\\1$",
)  # fmt: skip
TEXT = "a" * 60 + "!"


@pytest.mark.parametrize("pattern", BOMBS)
@pytest.mark.parametrize("place", ["pattern", "patternProperties", "nested"])
def test_no_pattern_keeps_the_rule_or_the_checks_busy(pattern: str, place: str) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    if place == "patternProperties":
        schema |= {"patternProperties": {pattern: {}}, "additionalProperties": False}
    elif place == "pattern":
        schema["properties"]["a"]["pattern"] = pattern
    else:
        draft = "https://json-schema.org/draft/2020-12/schema"
        schema["properties"]["a"] = {"$schema": draft, "allOf": [{"pattern": pattern}]}
    arguments = {TEXT: 1} if place == "patternProperties" else {"a": TEXT}
    label = [{"name": "f", "arguments": arguments}]
    tools = [{"name": "f", "parameters": schema}]
    began = time.process_time()
    assert not calls_match(label, label, tools)
    assert check_label(label, tools)
    assert check_call(label[0], [make_tool("f", "", schema)])
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^[a-z]+(-[a-z]+)*$", "a-b-c"),
        ("^[a-z]+(-[a-z]+)*$", "a--c"),
        ("^(foo|bar){2,3}$", "foobar"),
        ("^\\d{4}-\\d{2}$", "2031-01"),
        ("^\\w+$", "été"),
        ("[A-Z]+[a-z]*[0-9]?x*", "A1"),
        ("^[\\w.]+@[\\w.]+\\.\\w+$", "a.b@c.de"),
        ("^[\\w.]+@[\\w.]+\\.\\w+$", "a.b@c"),
    ],
)
def test_ordinary_patterns_mean_what_python_says(pattern: str, text: str) -> None:
    assert search_pattern(pattern, text) is (re.search(pattern, text) is not None)


def test_a_pattern_that_no_bounded_engine_knows_is_refused_with_its_tool() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+\\Z"}}}
    with pytest.raises(DataError, match="only Python knows"):
        normalise_tool({"name": "f", "parameters": parameters})
    label = [{"name": "f", "arguments": {"a": TEXT}}]
    (fault,) = check_label(label, [{"name": "f", "parameters": parameters}])
    assert "cannot be used" in fault


def test_keys_that_a_pattern_allows_are_no_unknown_keys() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "patternProperties": {"^x-(\\w+)+$": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
    }
    tools = [{"name": "f", "parameters": schema}]
    for arguments, sound in (
        ({"a": 1, "x-b": 2, "c": "d"}, True),
        ({"x-b": "2"}, False),
        ({"c": 1}, False),
    ):
        label = [{"name": "f", "arguments": arguments}]
        assert calls_match(label, label, tools) is sound
        assert (check_label(label, tools) == []) is sound
