"""The rule, case by case: what a person who reads R1-R9 of the design would expect."""

from typing import Any

import pytest

from looptool.calls import calls_match, check_label, explain_mismatch, relaxed_match
from looptool.errors import DataError

PROPERTIES: dict[str, Any] = {
    "text": {"type": "string"},
    "unit": {"type": "string", "enum": ["C", "F", " K"]},
    "day": {"type": "string", "format": "date"},
    "code": {"type": "string", "pattern": "^[A-Za-z0-9.-]+$"},
    "count": {"type": "integer"},
    "price": {"type": "number"},
    "flag": {"type": "boolean"},
    "any": {},
    "limit": {"type": "integer", "default": 10},
    "note": {"type": "string", "default": "none"},
    "after": {"type": "string", "default": None},
    "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    "sizes": {"type": "array", "items": {"type": "number"}, "uniqueItems": True},
    "steps": {"type": "array", "items": {"type": "string"}},
    "rows": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    "pair": {"type": "array", "prefixItems": [{}, {}], "uniqueItems": True},
    "place": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "zoom": {"type": "integer", "default": 3},
            "must": {"type": "integer", "default": 1},
        },
        "required": ["city", "must"],
    },
    "people": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "vip": {"type": "boolean", "default": False},
            },
        },
        "uniqueItems": True,
    },
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
}


def make_tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties or PROPERTIES}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [make_tool("f"), make_tool("g", x={}), make_tool("math.add", x={})]


def call(arguments: Any, name: str = "f") -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def assert_verdict(a: Any, b: Any, expected: bool, **options: Any) -> None:
    for predicted, label in ((a, b), (b, a)):
        matched = calls_match(predicted, label, TOOLS, **options)
        why = explain_mismatch(predicted, label, TOOLS, **options)
        assert matched is expected, why
        assert (why is None) is expected
        if matched:
            assert relaxed_match(predicted, label, TOOLS, **options)


SAME_ARGUMENTS = [
    # R1
    ("an object and its JSON text", {"count": 1}, '{"count": 1}'),
    ("JSON text with blanks around", ' {"count":\n1} ', {"count": 1}),
    ("empty text is no arguments", "", {}),
    ("null is no arguments", None, {}),
    ("text of an empty object is no arguments", "{}", None),
    ("escapes are read", '{"text": "\\u00fc"}', {"text": "ü"}),
    # R4
    ("a default may be left out", {}, {"limit": 10}),
    ("a default may be left out among others", {"text": "a"}, {"text": "a", "note": "none"}),
    ("different defaults on either side", {"limit": 10}, {"note": "none"}),
    ("a default by number value", {}, {"limit": 10.0}),
    ("a null default of a nullable", {"maybe": None}, {}),
    ("a null default of a plain string", {"after": None}, {}),
    (
        "a nested default",
        {"place": {"city": "x", "must": 1}},
        {"place": {"city": "x", "must": 1, "zoom": 3}},
    ),
    (
        "a default inside an array",
        {"people": [{"name": "a"}]},
        {"people": [{"name": "a", "vip": False}]},
    ),
    ("key order does not matter", {"text": "a", "count": 1}, {"count": 1, "text": "a"}),
    # R5
    ("an integer written as a float", {"count": 5}, {"count": 5.0}),
    ("floats within 1e-9", {"price": 0.1 + 0.2}, {"price": 0.3}),
    ("exponents", '{"price": 1e3}', {"price": 1000}),
    ("big integers", {"count": 10**30}, {"count": 10**30}),
    ("a big integer and its float", {"price": 10**30}, {"price": 1e30}),
    ("zeros of either sign", {"price": -0.0}, {"price": 0}),
    ("true is true", {"flag": True}, {"flag": True}),
    # R6
    ("composed and decomposed letters", {"text": "caf\u00e9"}, {"text": "cafe\u0301"}),
    ("outer blanks", {"text": "  Berlin\n"}, {"text": "Berlin"}),
    ("outer blanks, though a pattern forbids them", {"code": " a-1"}, {"code": "a-1"}),
    ("outer no-break spaces", {"text": "\u00a0x"}, {"text": "x"}),
    (
        "composed letters in a key's value deep inside",
        {"labels": {"k": "e\u0301"}},
        {"labels": {"k": "é"}},
    ),
    ("an enum value", {"unit": "C"}, {"unit": "C"}),
    # R7
    ("a set in another order", {"tags": ["a", "b", "c"]}, {"tags": ["c", "a", "b"]}),
    (
        "a set of objects with defaults",
        {"people": [{"name": "a"}, {"name": "b", "vip": False}]},
        {"people": [{"name": "b"}, {"name": "a", "vip": False}]},
    ),
    ("the same list", {"steps": ["a", "b"]}, {"steps": ["a", "b"]}),
    ("a list whose strings need trimming", {"steps": ["a "]}, {"steps": ["a"]}),
    ("nested lists by value", {"rows": [[1, 2.0], [3]]}, {"rows": [[1.0, 2], [3.0]]}),
    ("empty lists", {"steps": []}, {"steps": []}),
    # R8
    ("objects by value", {"any": {"a": [1, {"b": 2}]}}, {"any": {"a": [1.0, {"b": 2.0}]}}),
    ("empty objects", {"any": {}}, {"any": {}}),
    (
        "keys of an open object in any order",
        {"labels": {"a": "1", "b": "2"}},
        {"labels": {"b": "2", "a": "1"}},
    ),
]

OTHER_ARGUMENTS = [
    # R1
    ("duplicate keys", '{"count": 1, "count": 1}', {"count": 1}),
    ("duplicate keys deep inside", '{"any": {"a": 1, "a": 1}}', {"any": {"a": 1}}),
    ("NaN", '{"price": NaN}', '{"price": NaN}'),
    ("NaN as a Python value", {"price": float("nan")}, {"price": float("nan")}),
    ("Infinity", '{"price": Infinity}', '{"price": Infinity}'),
    ("a number beyond every double", '{"price": 1e999}', '{"price": 1e999}'),
    ("Python literals", '{"flag": True}', {"flag": True}),
    ("single quotes", "{'count': 1}", {"count": 1}),
    ("a list", [], {}),
    ("text of a list", "[]", {}),
    ("JSON encoded twice", '"{\\"count\\": 1}"', {"count": 1}),
    ("text of null", "null", {}),
    ("a number", 5, {}),
    ("a trailing comma", '{"count": 1,}', {"count": 1}),
    ("something behind the JSON", '{"count": 1} }', {"count": 1}),
    ("half of a surrogate pair", '{"text": "\\ud800"}', '{"text": "\\ud800"}'),
    # R4
    ("another value than the default", {}, {"limit": 11}),
    ("a missing key without a default", {}, {"text": "a"}),
    (
        "a required key, though it has a default",
        {"place": {"city": "x"}},
        {"place": {"city": "x", "must": 1}},
    ),
    ("null is not absent", {"any": None}, {}),
    ("null is not a default of another value", {"maybe": "null"}, {}),
    ("null is no empty string", {"maybe": None}, {"maybe": ""}),
    ("an empty object is not absent, whatever defaults it has", {"labels": {}}, {}),
    ("keys are case-sensitive", {"any": {"A": 1}}, {"any": {"a": 1}}),
    # R5
    ("true is not 1", {"any": True}, {"any": 1}),
    ("false is not 0 in an object", {"any": {"a": False}}, {"any": {"a": 0}}),
    ("true is not 1.0 in a list", {"any": [True]}, {"any": [1.0]}),
    ("a number is no string", {"any": 40}, {"any": "40"}),
    ("big integers that differ by one", {"count": 10**30}, {"count": 10**30 + 1}),
    ("integers that share a float", {"count": 2**53}, {"count": 2**53 + 1}),
    ("floats beyond the tolerance", {"price": 1.0}, {"price": 1.0000001}),
    ("an integer beyond every float", {"price": 10**400}, {"price": 1e308}),
    ("signs", {"count": -5}, {"count": 5}),
    # R6
    ("case", {"text": "berlin"}, {"text": "Berlin"}),
    ("inner blanks", {"text": "New  York"}, {"text": "New York"}),
    ("trimmed enum values", {"unit": " K"}, {"unit": "K"}),
    ("the case of enum values", {"unit": "c"}, {"unit": "C"}),
    ("compatibility forms are other letters", {"text": "ﬁ"}, {"text": "fi"}),
    ("BFCL: dots in numbers as text", {"text": "1.12"}, {"text": "11.2"}),
    ("BFCL: dates that share digits", {"text": "2031-1-12"}, {"text": "2031-11-2"}),
    ("BFCL: a minus in text", {"text": "-5"}, {"text": "5"}),
    ("BFCL: paths", {"text": "/a/b_c"}, {"text": "/ab/c"}),
    ("BFCL: quotes", {"text": "'a'"}, {"text": '"a"'}),
    # R7
    ("another order", {"steps": ["a", "b"]}, {"steps": ["b", "a"]}),
    ("another length", {"steps": ["a"]}, {"steps": ["a", "a"]}),
    ("other items of a set", {"tags": ["a", "b"]}, {"tags": ["a", "c"]}),
    ("repeated items of a set", {"tags": ["a", "b"]}, {"tags": ["a", "a"]}),
    ("a tuple has an order, unique or not", {"pair": [1, 2]}, {"pair": [2, 1]}),
    ("the order of inner lists", {"rows": [[1, 2]]}, {"rows": [[2, 1]]}),
    ("a list is no single value", {"any": ["a"]}, {"any": "a"}),
    ("BFCL: True == 1 in a list of objects", {"any": [{"a": True}]}, {"any": [{"a": 1}]}),
    # R8
    ("an extra key inside", {"any": {"a": 1}}, {"any": {"a": 1, "b": 2}}),
    ("another value deep inside", {"any": {"a": {"b": [1]}}}, {"any": {"a": {"b": [2]}}}),
    ("an object is no list", {"any": {}}, {"any": []}),
    (
        "an undeclared key on both sides",
        {"place": {"city": "x", "must": 1, "zip": 1}},
        {"place": {"city": "x", "must": 1, "zip": 1}},
    ),
    ("an object in a list", {"any": [{"a": 1}]}, {"any": [{"a": 2}]}),
    ("a key of an open object", {"labels": {"a": "1"}}, {"labels": {"b": "1"}}),
]


def name_cases(cases: list[Any]) -> list[Any]:
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


@pytest.mark.parametrize(("a", "b"), name_cases(SAME_ARGUMENTS))
def test_arguments_are_the_same(a: Any, b: Any) -> None:
    assert_verdict([call(a)], [call(b)], True)


@pytest.mark.parametrize(("a", "b"), name_cases(OTHER_ARGUMENTS))
def test_arguments_are_not_the_same(a: Any, b: Any) -> None:
    assert_verdict([call(a)], [call(b)], False)


A, B, C = call({"text": "a"}), call({"text": "b"}), call({"x": 1}, "g")

CALL_LISTS = [
    # R2
    ("the same name", [call({}, "g")], [call({}, "g")], True),
    ("another tool", [call({}, "f")], [call({}, "g")], False),
    ("the case of a name", [call({}, "G")], [call({}, "g")], False),
    ("blanks around a name", [call({}, " g")], [call({}, "g")], False),
    (
        "an underscore for a dot, without a map",
        [call({}, "math_add")],
        [call({}, "math.add")],
        False,
    ),
    ("a tool that nobody offered", [call({}, "h")], [call({}, "h")], False),
    (
        "OpenAI's shape of a call",
        [{"id": "1", "type": "function", "function": {"name": "g", "arguments": "{}"}}],
        [call({}, "g")],
        True,
    ),
    # R3
    ("calls in another order", [A, B, C], [C, A, B], True),
    ("released: [A, A, B] and [A, B, B]", [A, A, B], [A, B, B], False),
    ("released: [A, A] and [A]", [A, A], [A], False),
    ("repeated calls", [A, A], [A, A], True),
    ("one call too few", [A], [A, B], False),
    ("no calls and no calls", [], [], True),
    ("no calls and one", [], [A], False),
    ("released: true and 1", [call({"any": True})], [call({"any": 1})], False),
    ("a call that is no object", ["f"], [A], False),
    ("a call without a name", [{"arguments": {}}], [call({})], False),
    ("a call whose function is no object", [{"function": "f"}], [call({})], False),
]


@pytest.mark.parametrize(("a", "b", "expected"), name_cases(CALL_LISTS))
def test_lists_of_calls(a: Any, b: Any, expected: bool) -> None:
    assert_verdict(a, b, expected)


def test_order_counts_where_the_sample_says_so() -> None:
    assert_verdict([A, B], [B, A], False, ordered=True)
    assert_verdict([A, B], [A, B], True, ordered=True)
    assert_verdict([A, A, B], [A, B, A], False, ordered=True)


def test_pairing_does_not_depend_on_which_pair_is_tried_first() -> None:
    # The float equals both integers, which differ: a greedy pairing may take the wrong one.
    near, exact, other = 10**12 + 0.5, 10**12, 10**12 + 1
    a = [call({"price": near}), call({"price": exact})]
    b = [call({"price": exact}), call({"price": other})]
    assert_verdict(a, b, True)
    assert_verdict(a[::-1], b, True)
    assert_verdict([call({"sizes": [near, exact]})], [call({"sizes": [exact, other]})], True)
    assert_verdict([call({"sizes": [exact, near]})], [call({"sizes": [exact, other]})], True)
    assert_verdict([call({"sizes": [other, 7]})], [call({"sizes": [exact, near]})], False)


def test_a_large_set_in_reverse_is_paired_off() -> None:
    items = [str(i) for i in range(120)]
    assert_verdict([call({"tags": items})], [call({"tags": items[::-1]})], True)


@pytest.mark.parametrize("name_map", [{"math.add": "math_add"}, {"math_add": "math.add"}])
def test_a_name_map_translates_in_either_direction(name_map: dict[str, str]) -> None:
    sent, own = [call({"x": 1}, "math_add")], [call({"x": 1}, "math.add")]
    assert_verdict(sent, own, True, name_map=name_map)
    assert_verdict(own, own, True, name_map=name_map)
    assert_verdict([call({"x": 1}, "math-add")], own, False, name_map=name_map)


@pytest.mark.parametrize(
    "name_map",
    [{"a": "f", "b": "f"}, {"f": "g"}, {"a": "f", "f": "b"}],
    ids=["two names for one tool", "both are tools", "two names, one each way"],
)
def test_a_name_map_that_is_not_one_to_one_is_refused(name_map: dict[str, str]) -> None:
    with pytest.raises(DataError, match="name map"):
        calls_match([A], [A], TOOLS, name_map=name_map)


DEFECTS = [
    ("a wrong type", [call({"count": "5"})], "$[0].arguments.count: '5' is not of type 'integer'"),
    ("a bool for an integer", [call({"count": True})], "is not of type 'integer'"),
    ("a value outside the enum", [call({"unit": "X"})], "is not one of"),
    ("a missing required key", [call({"place": {"city": "x"}})], "'must' is a required property"),
    (
        "an undeclared key",
        [call({"colour": 1})],
        "$[0].arguments.colour: the schema declares no such key",
    ),
    ("a tool that nobody offered", [A, call({}, "h")], "$[1].name: no tool is called h"),
    ("malformed arguments", [call("{")], "$[0]: arguments are not strict JSON"),
    ("null for a string", [call({"text": None})], "None is not of type 'string'"),
    ("a value that is not JSON", [call({"any": {1, 2}})], "a Python set is not JSON"),
    ("a key that is no string", [call({"any": {1: 2}})], "key 1 is not a string"),
]


@pytest.mark.parametrize(("label", "expected"), name_cases(DEFECTS))
def test_a_label_that_breaks_its_schema_is_a_defect(label: Any, expected: str) -> None:
    assert expected in check_label(label, TOOLS)[0]
    assert not calls_match(label, label, TOOLS)
    assert not relaxed_match(label, label, TOOLS)
    why = explain_mismatch(label, label, TOOLS)
    assert why is not None
    assert why.reason.startswith("label defect")


SOUND = [
    ("no calls", []),
    ("an integer written as a float", [call({"count": 5.0})]),
    ("an integer where a number may stand", [call({"price": 5})]),
    ("a null that repeats a null default", [call({"after": None})]),
    ("outer blanks that the pattern forbids", [call({"code": "a "})]),
    ("a free-form value", [call({"any": [1, {"a": None}]})]),
]


@pytest.mark.parametrize("label", name_cases(SOUND))
def test_a_sound_label_has_no_defects_and_matches_itself(label: Any) -> None:
    assert check_label(label, TOOLS) == []
    assert calls_match(label, label, TOOLS)


RELAXED = [
    ("free text", {"text": "New-York, NY"}, {"text": "new york ny"}, True),
    ("free text in a list", {"steps": ["A.B"]}, {"steps": ["a b"]}, True),
    ("quotes", {"text": "it's"}, {"text": 'it"s'}, True),
    ("an enum keeps its rule", {"unit": "c"}, {"unit": "C"}, False),
    ("a format keeps its rule", {"day": "2031-1-12"}, {"day": "2031-11-2"}, False),
    ("a pattern keeps its rule", {"code": "1.12"}, {"code": "11.2"}, False),
    ("numbers keep theirs", {"count": 5}, {"count": 6}, False),
    ("other words", {"text": "a"}, {"text": "b"}, False),
]


@pytest.mark.parametrize(("a", "b", "expected"), name_cases(RELAXED))
def test_the_relaxed_verdict_bends_only_free_strings(a: Any, b: Any, expected: bool) -> None:
    assert relaxed_match([call(a)], [call(b)], TOOLS) is expected
    assert not calls_match([call(a)], [call(b)], TOOLS)


EXPLAINED = [
    ("a value", [A, call({"text": "x"})], [A, B], "$[1].arguments.text", "another value"),
    ("a type", [call({"any": "1"})], [call({"any": 1})], "$[0].arguments.any", "a string where"),
    (
        "an item",
        [call({"any": [{"a": 1}]})],
        [call({"any": [{"a": 2}]})],
        "$[0].arguments.any[0].a",
        "value",
    ),
    ("a missing key", [call({})], [A], "$[0].arguments.text", "missing"),
    ("a key too many", [A], [call({})], "$[0].arguments.text", "no such key"),
    (
        "a key that is no word",
        [call({"labels": {"a b": "1"}})],
        [call({"labels": {}})],
        "$[0].arguments.labels['a b']",
        "no such key",
    ),
    (
        "a length",
        [call({"steps": []})],
        [call({"steps": ["a"]})],
        "$[0].arguments.steps",
        "0 items",
    ),
    (
        "a set",
        [call({"tags": ["a", "x"]})],
        [call({"tags": ["b", "a"]})],
        "$[0].arguments.tags[1]",
        "no such item",
    ),
    ("a name", [C], [A], "$[0].name", "another tool"),
    ("a number of calls", [], [A], "$", "0 calls where the label has 1"),
    ("malformed arguments", [call("[")], [A], "$[0]", "malformed call"),
    (
        "a valid number too near to an invalid one",
        [call({"count": 3.0000000000001})],
        [call({"count": 3})],
        "$[0].arguments.count",
        "equal, but not valid",
    ),
]


@pytest.mark.parametrize(("predicted", "label", "path", "reason"), name_cases(EXPLAINED))
def test_the_first_difference_has_a_path_and_a_reason(
    predicted: Any, label: Any, path: str, reason: str
) -> None:
    why = explain_mismatch(predicted, label, TOOLS)
    assert why is not None
    assert why.path == path
    assert reason in why.reason
    assert path in str(why)


def test_an_explanation_cuts_long_values_short() -> None:
    why = explain_mismatch([call({"text": "x" * 5000})], [call({"text": "y" * 5000})], TOOLS)
    assert why is not None
    assert len(str(why)) < 400


@pytest.mark.parametrize(
    "tools", [[{"type": "function"}], [make_tool("f"), make_tool("f")], [None], [make_tool("")]]
)
def test_tools_that_cannot_be_told_apart_are_refused(tools: Any) -> None:
    with pytest.raises(DataError):
        calls_match([A], [A], tools)
