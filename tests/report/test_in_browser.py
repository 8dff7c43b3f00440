"""The page in headless Chromium: quiet, self-contained, usable by keyboard and on a phone."""

from collections.abc import Callable

import pytest

from tests.report.conftest import Visit

Open = Callable[..., Visit]
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
PAINT = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_it_opens_without_a_message_or_a_request(
    visit: Open, two_rounds: str, width: int, scheme: str
) -> None:
    seen = visit(two_rounds, width, scheme)
    assert seen.page.locator("#list details").count() == 25
    assert seen.console == []
    assert seen.requests == [seen.page.url]
    assert not seen.page.evaluate(WIDER)


def test_hostile_texts_neither_run_nor_widen_the_page(visit: Open, hostile: str) -> None:
    seen = visit(hostile, 390)
    for summary in seen.page.locator("#list details > summary").all():
        summary.click()
    for summary in seen.page.locator("figure details > summary, details.grid > summary").all():
        summary.click()
    assert seen.page.locator("#list .side").count() >= 40
    assert seen.page.evaluate("window.pwned") is None
    assert (seen.console, seen.dialogs, seen.requests) == ([], [], [seen.page.url])
    assert not seen.page.evaluate(WIDER)


def test_the_policy_stops_a_script_that_is_not_ours(visit: Open, two_rounds: str) -> None:
    foreign = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    seen = visit(two_rounds.replace("<footer>", f"{foreign}<footer>"))
    assert seen.page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in text for text in seen.console)


def test_filters_and_search_narrow_the_list(visit: Open, two_rounds: str) -> None:
    seen = visit(two_rounds).page
    assert seen.text_content("#count") == "40 of 40 samples"
    seen.select_option("[data-field=outcome]", "LABEL_WRONG")
    assert seen.text_content("#count") == "8 of 40 samples"
    seen.select_option("[data-field=round]", "1")
    assert seen.text_content("#count") == "4 of 40 samples"
    seen.click("button[type=reset]")
    seen.fill("#query", "weather in TOWN 17?")
    assert seen.text_content("#count") == "2 of 40 samples"
    seen.fill("#query", "nothing like it")
    assert seen.text_content("#count") == "0 of 40 samples"


def test_pages_go_forth_and_back_and_end(visit: Open, two_rounds: str) -> None:
    seen = visit(two_rounds).page
    assert seen.text_content("#where") == "page 1 of 2"
    assert seen.is_disabled("#back")
    seen.click("#next")
    assert seen.text_content("#where") == "page 2 of 2"
    assert seen.locator("#list details").count() == 15
    assert seen.is_disabled("#next")


def test_the_difference_of_label_and_prediction_is_marked_line_by_line(
    visit: Open, two_rounds: str
) -> None:
    seen = visit(two_rounds).page
    seen.select_option("[data-field=outcome]", "LABEL_WRONG")
    seen.locator("#list details > summary").first.click()
    sides = seen.locator(".side")
    assert sides.locator("h4").all_text_contents() == ["Label", "Prediction", "New label"]
    marked = seen.locator(".line.del").all_text_contents()
    assert len(marked) == 1
    assert marked[0].strip().startswith('"city": "Town ')
    assert seen.locator(".line.add").all_text_contents() == ['    "city": "Elsewhere "']
    assert "Which town?" in sides.nth(2).text_content()


def test_a_withheld_label_is_shown_as_proposed(visit: Open, two_rounds: str) -> None:
    seen = visit(two_rounds).page
    seen.select_option("[data-field=outcome]", "BOTH_WRONG")
    seen.locator("#list details > summary").first.click()
    third = seen.locator(".side").nth(2)
    assert third.text_content().split("withheld")[1].strip() == "No town."


def test_a_sample_opens_by_keyboard_alone(visit: Open, two_rounds: str) -> None:
    seen = visit(two_rounds).page
    seen.focus("#query")
    for _ in range(20):
        seen.keyboard.press("Tab")
        if seen.evaluate("document.activeElement.parentElement.className") == "sample":
            break
    seen.keyboard.press("Enter")
    seen.wait_for_selector("#list details[open] .side")
    assert seen.locator("#list details[open] .side").count() >= 2


def test_the_switch_overrides_the_scheme_of_the_system(visit: Open, two_rounds: str) -> None:
    seen = visit(two_rounds, scheme="dark").page
    dark = seen.evaluate(PAINT)
    axis = "getComputedStyle(document.querySelector('svg text')).fill"
    ink = seen.evaluate(axis)
    seen.select_option("#theme", "light")
    assert seen.evaluate(PAINT) != dark
    assert seen.evaluate(axis) != ink
    seen.select_option("#theme", "dark")
    assert (seen.evaluate(PAINT), seen.evaluate(axis)) == (dark, ink)


def test_every_control_and_section_has_a_name(visit: Open, two_rounds: str) -> None:
    seen = visit(two_rounds).page
    unnamed = """[...document.querySelectorAll("input, select, button, svg, section, .scroll")].filter(
      e => !(e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")
             || e.textContent.trim())).length"""
    assert seen.evaluate(unnamed) == 0


def test_without_scripts_charts_and_tables_are_there(chromium: object, two_rounds: str) -> None:
    context = chromium.new_context(java_script_enabled=False)  # type: ignore[attr-defined]
    plain = context.new_page()
    plain.set_content(two_rounds)
    assert plain.locator("figure svg").count() > 10
    assert "needs JavaScript" in plain.text_content("noscript")
    context.close()
