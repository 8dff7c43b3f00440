"""Faults come at the configured rates, and again when the same thing is asked again."""

import json
from typing import Any

import pytest

from looptool.calls import calls_match
from looptool.config import NoiseConfig
from tests.simulator.conftest import Endpoint, pick, said, user
from tests.simulator.sample_tools import EVERYDAY

TOOLS = pick("get_weather_forecast", "create_event", "search_flights")
CITIES = ["Paris", "Rome", "Oslo", "Lima", "Cairo", "Hanoi", "Quito", "Seoul", "Delhi", "Miami"]
REQUESTS = [
    user(f"Get weather forecast: city {city}, days {days}, units celsius.")
    for city in CITIES
    for days in range(1, 13)
]
NEEDS = [
    user("Create event: title Yoga class, date 2031-01-02."),
    user("Order a birthday cake with title Yoga class."),
    user("Get weather forecast: city Rome. Also, the same for Oslo."),
]


def answers(endpoint: Endpoint, model: str = "scripted", seed: int = 0) -> list[Any]:
    return [endpoint.assist(TOOLS, need, model=model, seed=seed) for need in REQUESTS + NEEDS]


def share_of_difference(left: list[Any], right: list[Any]) -> float:
    return sum(a != b for a, b in zip(left, right, strict=True)) / len(left)


def test_wrong_labels_come_at_their_rate_and_stay_the_same_under_another_seed(
    quiet: Endpoint,
) -> None:
    noisy = Endpoint(NoiseConfig(wrong_label_rate=0.3))
    first = answers(noisy)
    assert 0.18 <= share_of_difference(first, answers(quiet)) <= 0.42
    assert first == answers(noisy, seed=99)
    assert first == answers(Endpoint(NoiseConfig(wrong_label_rate=0.3)))


def test_wrong_labels_are_of_several_kinds_and_all_differ_from_the_right_one(
    quiet: Endpoint,
) -> None:
    noisy = Endpoint(NoiseConfig(wrong_label_rate=1.0))
    forms = set()
    for right, wrong in zip(answers(quiet), answers(noisy), strict=True):
        same = calls_match(wrong["tool_calls"], right["tool_calls"], TOOLS)
        assert not same or (wrong["tool_calls"] == right["tool_calls"] == [])
        names = [call["name"] for call in wrong["tool_calls"]]
        sizes = [len(call["arguments"]) for call in wrong["tool_calls"]]
        forms.add((len(names), names[0] if names else "", sizes[0] if sizes else 0))
    assert len(forms) >= 4


def test_the_expert_makes_no_systematic_errors(quiet: Endpoint) -> None:
    noise = NoiseConfig(wrong_label_rate=1.0, wrong_verdict_rate=1.0, wrong_review_rate=1.0)
    assert answers(Endpoint(noise), model="scripted-expert") == answers(quiet)


def verdicts(endpoint: Endpoint, seed: int = 0) -> list[str]:
    right = {"name": "get_weather_forecast", "arguments": {"city": "Rome"}}
    return [
        endpoint.ask(
            "judge_compare",
            tools=TOOLS,
            conversation=[user("Get weather forecast: city Rome.")],
            date="",
            answer_a={"content": "", "tool_calls": [right]},
            answer_b={"content": "No.", "tool_calls": []},
            vote=vote,
            seed=seed,
        )["verdict"]
        for vote in range(120)
    ]


def test_wrong_verdicts_differ_between_votes() -> None:
    found = verdicts(Endpoint(NoiseConfig(wrong_verdict_rate=0.4)))
    wrong = [verdict for verdict in found if verdict != "B_WRONG"]
    assert 0.25 <= len(wrong) / len(found) <= 0.55
    assert set(wrong) == {"A_WRONG", "BOTH_CORRECT", "BOTH_WRONG"}
    assert found == verdicts(Endpoint(NoiseConfig(wrong_verdict_rate=0.4)))


def test_wrong_reviews_pass_the_bad() -> None:
    def passes(endpoint: Endpoint, text: str) -> bool:
        rows = [user("Get weather forecast."), said(text)]
        step = endpoint.ask("validate_review", tools=TOOLS, conversation=rows, date="")["steps"][0]
        return bool(step["contextual_fit"] and step["logical_consistency"] and step["intent"])

    noisy = Endpoint(NoiseConfig(wrong_review_rate=1.0))
    assert passes(noisy, " ")


def test_a_lenient_reviewer_seldom_fails_the_good() -> None:
    noisy = Endpoint(NoiseConfig(wrong_review_rate=0.5))
    failed = 0
    for need in REQUESTS:
        rows = [need, {"role": "assistant", "content": "", **noisy.assist(TOOLS, need)}]
        step = noisy.ask("validate_review", tools=TOOLS, conversation=rows, date="")["steps"][0]
        failed += not (step["contextual_fit"] and step["logical_consistency"] and step["intent"])
    assert 0 < failed / len(REQUESTS) < 0.15


def test_malformed_replies_come_at_their_rate_and_a_retry_may_succeed() -> None:
    endpoint = Endpoint(NoiseConfig(malformed_rate=0.3))

    def is_read(text: str) -> bool:
        try:
            return set(json.loads(text)) == {"content", "tool_calls"}
        except ValueError:
            return False

    def send(need: Any) -> bool:
        reply = endpoint.ask_raw("seed_assistant", tools=TOOLS, conversation=[need], date="")
        return is_read(reply.json()["choices"][0]["message"]["content"])

    first = [send(need) for need in REQUESTS]
    again = [send(need) for need, good in zip(REQUESTS, first, strict=True) if not good]
    assert 0.18 <= first.count(False) / len(first) <= 0.42
    assert any(again)


@pytest.mark.parametrize("kind", ["single", "parallel", "multi_turn", "clarify", "no_tool"])
def test_every_tool_can_be_planned_for(quiet: Endpoint, kind: str) -> None:
    voice = {"persona": "", "style": "implicit", "language": "en", "date": ""}
    for number in range(0, len(EVERYDAY), 4):
        reply = quiet.ask(
            "seed_plan", tools=EVERYDAY[number : number + 4], kind=kind, turns=1, nonce="7", **voice
        )
        assert reply["needs"][0]["request"]
