"""The right next step of a conversation."""

from typing import Any

import pytest

from looptool.simulator.toolbox import build_toolbox
from looptool.simulator.understand import Decision, decide
from tests.simulator.conftest import called, pick, result, said, user

WEATHER, SEARCH, BOOK = "get_weather_forecast", "search_flights", "book_flight"
PARIS = (WEATHER, {"city": "Paris", "days": 3})
TRIP = {"origin": "Rome", "destination": "Oslo", "departure_date": "2031-05-01"}
TRIP_TEXT = (
    "Search for flights between two cities from Rome to Oslo on 2031-05-01, "
    "and then book a flight for a passenger with the flight id {} and passenger name Ann Lee."
)


def step(*conversation: Any, tools: tuple[str, ...] = (WEATHER, SEARCH, BOOK)) -> Decision:
    return decide(build_toolbox(pick(*tools)), conversation)


def calls(decision: Decision) -> list[tuple[str, Any]]:
    return [(call["name"], call["arguments"]) for call in decision.calls]


@pytest.mark.parametrize(
    "text",
    [
        "Get the weather forecast for a city with city Paris and days 3.",
        "Could you please get the weather forecast for a city for city Paris, days 3?",
        "get weather forecast: city Paris, days 3",
        "Paris, 3 days - get the weather forecast for a city",
        "What's the weather forecast in Paris for the next three days?",
        "Show me the weather forecast for a city, city Rome, no wait, Paris, 3 days.",
        "I was wondering whether you could get the weather forecast. The city would be Paris and the "
        "days would be 3.",
    ],
)
def test_one_request_in_many_words_is_one_call(text: str) -> None:
    assert calls(step(user(text))) == [PARIS]


def test_two_requests_in_one_message_are_two_calls() -> None:
    text = "Get weather forecast: city Paris, days 3. Also, the same for Rome."
    assert calls(step(user(text))) == [PARIS, (WEATHER, {"city": "Rome", "days": 3})]


def test_a_missing_required_value_is_asked_for_and_the_answer_completes_the_call() -> None:
    opening = user("Get the weather forecast for a city with days 3.")
    question = step(opening)
    assert question.move == "ask"
    assert "city" in question.text
    assert question.text.endswith("?")
    for answer in ("Paris.", "It's Paris.", "Paris please.", "The city is Paris.", "In Paris"):
        assert calls(step(opening, said(question.text), user(answer))) == [PARIS]


def test_a_request_outside_the_tools_is_refused() -> None:
    decision = step(user("Order a birthday cake with title Budget review and date 2031-04-02."))
    assert decision.move == "refuse"
    assert decision.text
    assert not decision.text.endswith("?")


def test_a_call_that_needs_a_result_waits_for_it_and_copies_it() -> None:
    opening = user(TRIP_TEXT.format("from the result"))
    assert calls(step(opening)) == [(SEARCH, TRIP)]
    found = result(SEARCH, {"flight_id": "XY123", "price": 99})
    second = step(opening, called((SEARCH, TRIP)), found)
    assert calls(second) == [(BOOK, {"flight_id": "XY123", "passenger_name": "Ann Lee"})]


def test_the_cheapest_of_several_results_is_found_by_its_price() -> None:
    opening = user(TRIP_TEXT.format("of the cheapest one"))
    rows = [{"flight_id": "AA1", "price": 300}, {"flight_id": "BB2", "price": 120.5}]
    second = step(opening, called((SEARCH, TRIP)), result(SEARCH, {"flights": rows}))
    assert second.calls[0]["arguments"]["flight_id"] == "BB2"


def test_a_follow_up_changes_the_call_before_it() -> None:
    past = [
        user("Get weather forecast: city Paris, days 3."),
        called(PARIS),
        result(WEATHER, {"condition": "sunny"}),
        said("The condition is sunny."),
    ]
    assert calls(step(*past, user("And the same for Rome."))) == [
        (WEATHER, {"city": "Rome", "days": 3})
    ]
    assert calls(step(*past, user("Now change it to 5 days."))) == [
        (WEATHER, {"city": "Paris", "days": 5})
    ]


def test_a_passing_error_is_tried_again_once() -> None:
    opening = user("Get weather forecast: city Paris, days 3.")
    failed = [called(PARIS), result(WEATHER, {"error": "request timed out"})]
    assert calls(step(opening, *failed)) == [PARIS]
    assert step(opening, *failed, *failed).move == "give_up"


def test_a_lasting_error_is_told_at_once() -> None:
    failed = [called(PARIS), result(WEATHER, {"error": "city not found"})]
    decision = step(user("Get weather forecast: city Paris, days 3."), *failed)
    assert decision.move == "give_up"
    assert "city not found" in decision.text


def test_when_all_is_done_the_result_is_told() -> None:
    done = [called(PARIS), result(WEATHER, {"city": "Paris", "condition": "foggy"})]
    decision = step(user("Get weather forecast: city Paris, days 3."), *done)
    assert decision.move == "summary"
    assert "foggy" in decision.text


def test_after_only_one_of_two_calls_the_other_is_due() -> None:
    opening = user("Get weather forecast: city Paris, days 3. Also, the same for Rome.")
    decision = step(opening, called(PARIS), result(WEATHER, {"condition": "dry"}))
    assert calls(decision) == [(WEATHER, {"city": "Rome", "days": 3})]


def test_create_and_delete_of_the_same_thing_are_told_apart_by_the_verb() -> None:
    tools = ("create_reminder", "delete_reminder")
    decision = step(user("Please remove a reminder with reminder id R77."), tools=tools)
    assert calls(decision) == [("delete_reminder", {"reminder_id": "R77"})]
