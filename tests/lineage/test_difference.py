"""Two answers, place by place."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from looptool.lineage.difference import Difference, compare_labels, render_call, render_label
from looptool.records import Label, ToolCall


def calls(*rows: tuple[str, dict[str, Any]]) -> Label:
    return Label(calls=tuple(ToolCall(name=name, arguments=values) for name, values in rows))


def lines(old: Label, new: Label) -> list[tuple[str, str, str]]:
    return [(one.path, one.old, one.new) for one in compare_labels(old, new)]


def test_a_changed_dropped_and_added_argument_are_named_by_their_place() -> None:
    old = calls(("set_it", {"to": "blue", "deep": {"x": [1, 2]}, "gone": None}))
    new = calls(("set_it", {"to": "red", "deep": {"x": [1, 3, 4]}, "more": True}))
    assert lines(old, new) == [
        ("call 1 set_it.to", '"blue"', '"red"'),
        ("call 1 set_it.deep.x[1]", "2", "3"),
        ("call 1 set_it.deep.x[2]", "", "4"),
        ("call 1 set_it.gone", "null", ""),
        ("call 1 set_it.more", "", "true"),
    ]


def test_true_and_one_are_different_and_so_are_one_and_its_float() -> None:
    assert lines(calls(("f", {"a": True})), calls(("f", {"a": 1})))
    assert lines(calls(("f", {"a": 1})), calls(("f", {"a": 1.0})))


def test_another_tool_is_a_dropped_and_an_added_call() -> None:
    assert lines(calls(("f", {"a": 1})), calls(("g", {"a": 1}))) == [
        ("call 1", "f(a=1)", ""),
        ("call 1", "", "g(a=1)"),
    ]


def test_calls_of_one_tool_are_compared_with_the_most_alike() -> None:
    old = calls(("f", {"a": 1, "b": 1}), ("f", {"a": 2, "b": 2}))
    new = calls(("f", {"a": 2, "b": 2}), ("f", {"a": 1, "b": 3}))
    assert lines(old, new) == [("call 1 f.b", "1", "3"), ("order", "f, f", "f, f")]


def test_calls_that_became_words_show_both() -> None:
    old, new = calls(("f", {"a": 1})), Label(text="Which a?")
    assert lines(old, new) == [("call 1", "f(a=1)", ""), ("text", "", "Which a?")]
    assert render_label(new) == "Which a?"
    assert render_label(Label()) == ""


def test_a_call_reads_like_one() -> None:
    assert render_call(calls(("f", {"b": "x", "a": [1]})).calls[0]) == 'f(b="x", a=[1])'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
CALLS = st.builds(
    ToolCall, name=st.sampled_from("fg"), arguments=st.dictionaries(st.sampled_from("xyz"), VALUES)
)
LABELS = st.builds(
    Label, calls=st.lists(CALLS, max_size=3).map(tuple), text=st.sampled_from(["", "t"])
)


@given(LABELS, LABELS)
def test_only_equal_answers_have_no_difference(old: Label, new: Label) -> None:
    same = _canonical(old) == _canonical(new)
    assert (compare_labels(old, new) == ()) == same


@given(LABELS, LABELS)
def test_a_difference_read_backwards_has_as_many_places(old: Label, new: Label) -> None:
    there, back = compare_labels(old, new), compare_labels(new, old)
    assert len(there) == len(back)


def _canonical(label: Label) -> str:
    return json.dumps(label.model_dump(), sort_keys=True)


def test_a_difference_is_a_record() -> None:
    assert Difference(path="text", old="a", new="b").model_dump() == {
        "path": "text", "old": "a", "new": "b",
    }  # fmt: skip
