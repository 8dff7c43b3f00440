"""Each role answers its own prompt, from what the prompt says alone."""

import json
import random
from typing import Any

import jsonschema
import pytest

from looptool.simulator.speak import STYLES
from tests.simulator.conftest import VOICE, Endpoint, called, pick, result, said, user
from tests.simulator.sample_tools import EVERYDAY, NASTY

WEATHER = "get_weather_forecast"
PARIS = (WEATHER, {"city": "Paris", "days": 3})
RIGHT = {
    "content": "",
    "tool_calls": [{"name": WEATHER, "arguments": {"city": "Paris", "days": 3}}],
}
WRONG = {
    "content": "",
    "tool_calls": [{"name": WEATHER, "arguments": {"city": "Paris", "days": 4}}],
}
SILENT = {"content": "", "tool_calls": []}
ASKED = user("Get weather forecast: city Paris, days 3.")
TOOLS = pick(WEATHER, "create_event", "cancelBooking", "search_flights")
FULL = [s for s in EVERYDAY if s["function"]["name"] in (WEATHER, "search_flights", "book_flight")]


def plan(
    endpoint: Endpoint, tools: Any, kind: str, turns: int = 1, nonce: int = 0, **voice: str
) -> Any:
    words = {**VOICE, **voice}
    return endpoint.ask(
        "seed_plan", tools=tools, kind=kind, turns=turns, nonce=str(nonce), **words
    )["needs"]


def say(endpoint: Endpoint, need: Any, *conversation: Any, **voice: str) -> str:
    words = {**VOICE, **voice}
    reply = endpoint.ask("seed_user", need=need, conversation=list(conversation), **words)
    return str(reply["content"])


def serve(endpoint: Endpoint, tool: Any, call: Any, conversation: Any = (), fault: str = "") -> Any:
    variables = {"tool": tool, "call": call, "conversation": list(conversation)}
    return endpoint.ask("seed_tool", fault=fault, date="", **variables)


def judge(endpoint: Endpoint, a: Any, b: Any, *conversation: Any, **options: Any) -> Any:
    variables = {"answer_a": a, "answer_b": b, "conversation": list(conversation or [ASKED])}
    return endpoint.ask("judge_compare", tools=TOOLS, date="", vote=0, **variables, **options)


def expand(
    endpoint: Endpoint, right: Any, *conversation: Any, nonce: int = 0, **options: Any
) -> Any:
    variables = {"right_answer": right, "wrong_answer": SILENT, "conversation": list(conversation)}
    return endpoint.ask(
        "expand_sample",
        tools=options.pop("tools", TOOLS),
        error_analysis="It was wrong.",
        right_approach="Do it right.",
        persona="a nurse",
        style=options.pop("style", "plain"),
        date="",
        nonce=str(nonce),
        seed=nonce,
        **variables,
    )


@pytest.mark.parametrize(
    ("kind", "turns", "types"),
    [
        ("single", 1, {"single"}),
        ("parallel", 1, {"parallel"}),
        ("multi_step", 1, {"multi_step"}),
        ("clarify", 1, {"clarify"}),
        ("no_tool", 1, {"no_tool"}),
        ("retry", 1, {"single"}),
        ("multi_turn", 4, {"single", "parallel", "multi_step"}),
    ],
)
def test_the_planner_plans_the_kind_and_number_of_needs(
    quiet: Endpoint, kind: str, turns: int, types: set[str]
) -> None:
    for nonce in range(6):
        needs = plan(quiet, FULL, kind, turns, nonce)
        assert len(needs) == turns
        assert {need["type"] for need in needs} <= types
        assert all(bool(need["withheld"]) == (need["type"] == "clarify") for need in needs)


def test_without_known_results_multi_step_falls_back_to_single(quiet: Endpoint) -> None:
    assert plan(quiet, TOOLS, "multi_step")[0]["type"] == "single"


def test_needs_do_not_name_tools_as_code(quiet: Endpoint) -> None:
    needs = [plan(quiet, TOOLS, "single", nonce=n)[0]["request"] for n in range(10)]
    assert not [text for text in needs if "_" in text]


@pytest.mark.parametrize("style", STYLES)
def test_what_the_user_says_leads_the_assistant_to_what_was_planned(
    quiet: Endpoint, style: str
) -> None:
    for nonce in range(5):
        clarify = plan(quiet, TOOLS, "clarify", nonce=nonce, style=style)[0]
        opening = user(say(quiet, clarify, style=style))
        question = quiet.assist(TOOLS, opening)
        assert not question["tool_calls"], opening
        assert question["content"].endswith("?")
        context = [opening, said(question["content"])]
        answer = user(say(quiet, clarify, *context, style=style))
        assert quiet.assist(TOOLS, *context, answer)["tool_calls"], answer
        parallel = plan(quiet, TOOLS, "parallel", nonce=nonce, style=style)[0]
        both = quiet.assist(TOOLS, user(say(quiet, parallel, style=style)))
        assert len(both["tool_calls"]) > 1
        foreign = plan(quiet, TOOLS, "no_tool", nonce=nonce, style=style)[0]
        assert not quiet.assist(TOOLS, user(say(quiet, foreign, style=style)))["tool_calls"]


def test_a_need_in_other_words_is_said_as_it_is(quiet: Endpoint) -> None:
    need = {"type": "single", "request": "I need a hat; what's up?", "withheld": ""}
    assert say(quiet, need) == "I need a hat; what's up?"


def test_the_tool_answers_by_its_schema_and_the_same_call_the_same_way(quiet: Endpoint) -> None:
    for spec in FULL:
        function = spec["function"]
        call = {"name": function["name"], "arguments": {"city": "Paris", "flight_id": "AB123"}}
        found = serve(quiet, spec, call)["result"]
        jsonschema.validate(found, function["returns"])
        assert serve(quiet, spec, call, [ASKED])["result"] == found


def test_the_tool_echoes_arguments_and_remembers_what_it_told_about_an_id(quiet: Endpoint) -> None:
    spec = json.loads(json.dumps(FULL[-1]))
    spec["function"]["returns"]["properties"]["price"] = {"type": "number"}
    spec["function"]["returns"]["properties"]["flight_id"] = {"type": "string"}
    earlier = [result("search_flights", {"flight_id": "AB123", "price": 77.5})]
    call = {"name": "book_flight", "arguments": {"flight_id": "AB123", "passenger_name": "Ann Lee"}}
    found = serve(quiet, spec, call, earlier)["result"]
    assert found["flight_id"] == "AB123"
    assert found["price"] == 77.5


def test_the_tool_fails_when_told_to(quiet: Endpoint) -> None:
    call = {"name": WEATHER, "arguments": {"city": "Paris"}}
    assert serve(quiet, FULL[0], call, fault="503 unavailable") == {"error": "503 unavailable"}


def test_the_reviewer_passes_right_steps_and_fails_wrong_ones(quiet: Endpoint) -> None:
    def review(call: Any) -> list[bool]:
        rows = [ASKED, called(call), result(WEATHER, {"condition": "dry"}), said("It is dry.")]
        steps = quiet.ask("validate_review", tools=TOOLS, conversation=rows, date="")["steps"]
        assert [s["index"] for s in steps] == [1, 3]
        assert all(s["reason"] for s in steps)
        return [s["contextual_fit"] and s["logical_consistency"] and s["intent"] for s in steps]

    assert review(PARIS) == [True, True]
    assert review((WEATHER, {"city": "Paris", "days": 4})) == [False, True]


@pytest.mark.parametrize(
    ("a", "b", "verdict", "error"),
    [
        (RIGHT, WRONG, "B_WRONG", "wrong_value"),
        (WRONG, RIGHT, "A_WRONG", "wrong_value"),
        (RIGHT, RIGHT, "BOTH_CORRECT", "other"),
        (WRONG, SILENT, "BOTH_WRONG", "wrong_value"),
        (RIGHT, {"content": "Hm.", "tool_calls": []}, "B_WRONG", "should_call"),
        (
            RIGHT,
            {"content": "", "tool_calls": [*RIGHT["tool_calls"], *WRONG["tool_calls"]]},
            "B_WRONG",
            "extra_call",
        ),
        (
            {"content": "", "tool_calls": [{"name": WEATHER, "arguments": {"city": "Paris"}}]},
            RIGHT,
            "A_WRONG",
            "missing_argument",
        ),
    ],
)
def test_the_judge_names_the_wrong_answer(
    quiet: Endpoint, a: Any, b: Any, verdict: str, error: str
) -> None:
    reply = judge(quiet, a, b)
    assert (reply["verdict"], reply["error_type"]) == (verdict, error)
    assert reply["error_analysis"]
    assert reply["right_approach"]


def test_the_judge_takes_two_texts_as_right_where_a_text_is_due(quiet: Endpoint) -> None:
    texts = [{"content": text, "tool_calls": []} for text in ("No tool fits.", "I can't.", " ")]
    need = user("Order a birthday cake with title Yoga class.")
    assert judge(quiet, texts[0], texts[1], need)["verdict"] == "BOTH_CORRECT"
    assert judge(quiet, texts[0], texts[2], need)["verdict"] == "B_WRONG"
    assert judge(quiet, RIGHT, texts[1], need)["error_type"] == "should_not_call"
    assert (
        judge(quiet, RIGHT, texts[0], user("Get weather forecast."))["error_type"] == "should_ask"
    )


ERROR = result(WEATHER, {"error": "request timed out"})
DRY = result(WEATHER, {"condition": "dry", "city": "Paris"})
QUESTION = said("Which city should I use?")
TEXT = {"content": "All done.", "tool_calls": []}


@pytest.mark.parametrize(
    ("right", "conversation"),
    [
        (RIGHT, [ASKED]),
        (RIGHT, [user("Get weather forecast: days 3."), QUESTION, user("Paris.")]),
        (RIGHT, [ASKED, called(PARIS), ERROR]),
        (TEXT, [ASKED, called(PARIS), DRY]),
        ({"content": "Which city?", "tool_calls": []}, [user("Get weather forecast: days 3.")]),
        (TEXT, [user("Order a birthday cake with title Yoga class.")]),
        (RIGHT, [user("Get weather forecast: city Rome, days 3."),
                 called((WEATHER, {"city": "Rome", "days": 3})), DRY, said("Dry."),
                 user("And the same for Paris.")]),
        (RIGHT, [user("Ugh, three of those sunny-or-not thingies over in Paris, s'il vous plaît")]),
    ],
    ids=["call", "answered", "retry", "summary", "clarify", "no_tool", "multi_turn", "foreign words"],
)  # fmt: skip
def test_the_expander_keeps_the_structure_and_changes_the_words(
    quiet: Endpoint, right: Any, conversation: list[Any]
) -> None:
    texts = set()
    for nonce in range(6):
        reply = expand(quiet, right, *conversation, nonce=nonce, style=STYLES[nonce])
        rows = reply["messages"]
        assert [m["role"] for m in rows] == [m["role"] for m in conversation]
        assert rows[-1]["content"] != conversation[-1]["content"] or rows[0] != conversation[0]
        label = reply["label"]
        assert [c["name"] for c in label["tool_calls"]] == [c["name"] for c in right["tool_calls"]]
        assert bool(label["content"]) != bool(label["tool_calls"])
        again = quiet.assist(TOOLS, *rows)
        assert again["tool_calls"] == label["tool_calls"]
        texts.add(json.dumps(rows))
    assert len(texts) == 6


def test_no_role_stumbles_over_nasty_tools(quiet: Endpoint) -> None:
    rng = random.Random(0)
    for kind in ("single", "parallel", "multi_step", "clarify", "no_tool", "multi_turn"):
        for nonce in range(4):
            tools = rng.sample(NASTY, 4)
            need = plan(quiet, tools, kind, nonce=nonce, style=rng.choice(STYLES))[0]
            opening = user(say(quiet, need))
            answer = quiet.assist(tools, opening)
            for call in answer["tool_calls"]:
                spec = next(s for s in tools if s["function"]["name"] == call["name"])
                assert "result" in serve(quiet, spec, call)
            expand(quiet, answer, opening, tools=tools)
