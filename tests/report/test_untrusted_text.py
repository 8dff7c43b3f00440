"""Nothing that a sample, a tool or a vote says becomes markup, script or a lie about its direction."""

import json
import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looptool.report.svg import clean_svg, draw_svg
from looptool.report.text import clean_json, clean_text, script_json
from tests.report.conftest import HOSTILE


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_hostile_texts_add_no_element_and_no_handler(hostile: str) -> None:
    elements = Elements(hostile).found
    assert [attrs.get("type") for tag, attrs in elements if tag == "script"] == [
        "application/json",
        None,
    ]
    assert not {"img", "iframe", "object", "embed", "base", "form2"} & {t for t, _ in elements}
    handlers = [name for _, attrs in elements for name in attrs if name.startswith("on")]
    assert handlers == []
    assert [a["href"] for _, a in elements if (a.get("href") or "").startswith("javascript")] == []


def test_hostile_texts_are_still_there_to_be_read(hostile: str) -> None:
    payload = hostile.split('id="data">')[1].split("</script>", maxsplit=1)[0]
    row = json.loads(payload)["rows"][0]
    assert "</script><script>window.pwned=1</script>" in row["messages"][0]["text"]
    assert "⟨U+202E⟩gnp.exe" in row["messages"][0]["text"]
    assert "{{ 7*7 }}" in row["messages"][0]["text"]
    assert "49" not in row["messages"][0]["text"]


def test_the_page_holds_no_hidden_character(hostile: str) -> None:
    assert not set(hostile) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u200b\x00\x1b\u2028")
    hostile.encode("utf-8")


@given(st.text(st.characters(), max_size=80))
def test_cleaned_text_can_be_written_and_shows_what_was_hidden(text: str) -> None:
    shown = clean_text(text)
    shown.encode("utf-8")
    assert clean_text(shown) == shown
    assert len(shown) >= len(text)


def test_a_lone_surrogate_and_a_bidirectional_control_are_named() -> None:
    assert clean_text("a\ud800b\u202ec") == "a⟨U+D800⟩b⟨U+202E⟩c"
    assert clean_text("line\nnext\tend") == "line\nnext\tend"


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    assert clean_text("x" * 12_000, 10) == "x" * 10 + " … (11,990 more characters)"


def test_json_keeps_its_shape_and_loses_what_a_browser_cannot_read() -> None:
    value = {"a\u202e": [1, 2.5, True, None, math.nan, 2**60, "\ud800"]}
    assert clean_json(value) == {
        "a⟨U+202E⟩": [1, 2.5, True, None, "nan", "1152921504606846976", "⟨U+D800⟩"]
    }


def test_json_deeper_than_allowed_becomes_text() -> None:
    assert clean_json([[[["deep"]]]], depth=2) == [['[["deep"]]']]


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_embedded_json_never_ends_its_script_and_reads_back(value: object) -> None:
    cleaned = clean_json(value)
    text = script_json(cleaned)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == cleaned


def test_only_drawing_survives_in_a_chart() -> None:
    markup = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'width="9" onload="x()" style="background:url(http://a)"><script>x()</script>'
        '<image xlink:href="http://a/b.png"/><a xlink:href="javascript:x()"><text>in</text></a>'
        "<foreignObject><p>html</p></foreignObject>"
        '<path d="M0,0" fill="url(#g)" stroke="#2a78d6" onclick="x()" '
        'aria-roledescription="bar" aria-label="three &lt;b&gt;"/></svg>'
    )
    assert clean_svg(markup, "<title>") == (
        '<svg width="9" role="img" aria-label="&lt;title&gt;">'
        '<path d="M0,0" class="s-c1"><title>three &lt;b&gt;</title></path></svg>'
    )


def test_a_data_value_is_never_an_expression_of_the_chart() -> None:
    spec = {
        "data": {"values": [{"x": HOSTILE.replace("\x00", "").replace("\x1b", ""), "y": 1}]},
        "mark": "bar",
        "encoding": {"x": {"field": "x"}, "y": {"field": "y", "type": "quantitative"}},
    }
    elements = Elements(draw_svg(spec, "chart")).found
    assert {tag for tag, _ in elements} <= {"svg", "g", "path", "line", "rect", "text", "title"}


def test_a_chart_asks_for_no_address() -> None:
    spec = {
        "data": {"url": "http://127.0.0.1:9/data.json"},
        "mark": "bar",
        "encoding": {"x": {"field": "x", "type": "nominal"}},
    }
    with pytest.raises(ValueError, match="not allowed"):
        draw_svg(spec, "chart")
