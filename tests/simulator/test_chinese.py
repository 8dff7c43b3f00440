"""What is said in Chinese is read back as the same request."""

import random
from typing import Any

import pytest

from looptool.simulator.ask import CHANGE, SAME, Ask, Reference, Slot
from looptool.simulator.chinese import load_phrases, read_chinese, reply_in_chinese, speaks_chinese
from looptool.simulator.foreign import FOREIGN
from looptool.simulator.shapes import same_json, stated_values
from looptool.simulator.speak import STYLES, make_ask, speak, speak_answer
from looptool.simulator.toolbox import build_toolbox
from looptool.simulator.understand import decide
from looptool.simulator.values import draw_arguments
from tests.simulator.conftest import said, user
from tests.simulator.sample_tools import S, tool
from tests.simulator.test_round_trip import CATALOGUE

WEATHER = tool(
    "get_weather_forecast", "Get the weather forecast for a city.", {"city": S, "date": S}
)


def test_the_phrases_can_be_told_apart() -> None:
    phrases = load_phrases()
    said_once = [*phrases.actions.values(), *phrases.table["names"].values()]
    assert len(set(said_once)) == len(said_once)
    for phrase in said_once:
        assert read_chinese(f"{phrase}。").rstrip(".") == phrases.english[phrase].strip()


def test_every_tool_of_the_catalogue_and_every_foreign_need_has_its_phrases() -> None:
    known = load_phrases()
    for built in build_toolbox(CATALOGUE).tools:
        assert set(built.actions) <= set(known.actions), built.name
        assert {leaf.words for leaf in built.leaves} <= set(known.table["names"]), built.name
    assert {action for action, _ in FOREIGN} == set(known.table["foreign"])
    assert set(STYLES) == set(known.table["starts"])


@pytest.mark.parametrize("style", STYLES)
def test_calls_of_the_catalogue_come_back(style: str) -> None:
    right = 0
    for seed in range(100):
        rng = random.Random(seed)
        box = build_toolbox(rng.sample(CATALOGUE, 5))
        chosen = rng.choice(box.tools)
        arguments = draw_arguments(chosen.leaves, chosen.parameters, rng)
        ask = make_ask(chosen, stated_values(chosen.leaves, arguments), action=rng.randrange(2))
        text = speak([ask], style, "zh", seed)
        decision = decide(box, [user(text)])
        right += same_json(decision.calls, [{"name": chosen.name, "arguments": arguments}])
    assert right >= 98


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("Is it warm, 东京?", "Is it warm, 东京?"),
        ("城市是 Paris。", "city is Paris."),
        ("Paris。", "Paris."),
        ('标题是 "开会，城市是罗马"。', 'title is "开会，城市是罗马".'),
        ("循环播放选是，音量是 5。", "repeat yes, volume is 5."),
        ("跟刚才一样，城市是 Rome。另外，换一下，天数是 5。",
         "the same, city is Rome. Also, change it to, days is 5."),
    ],
)  # fmt: skip
def test_text_is_read_into_english(text: str, english: str) -> None:
    assert read_chinese(text) == english


def test_references_and_follow_ups_are_said_in_chinese() -> None:
    asks = [
        Ask("search for hotels in a city", (Slot("city", "Rome"),)),
        Ask("book a room in a hotel", (Slot("hotel id", Reference("cheapest")),), dependent=True),
        Ask("", (Slot("city", "Oslo"),), SAME),
        Ask("", (Slot("guest", "Ann Lee"),), CHANGE),
    ]
    text = speak(asks, "terse", "zh")
    assert not [word for word in ("search", "hotel", "same", "change") if word in text]
    read = read_chinese(text)
    assert "hotel id of the cheapest result" in read
    assert ". After that, " in read


@pytest.mark.parametrize("value", ["巴黎", "巴黎，法国", "Paris", "she said “好”。", "a；b"])
def test_a_value_survives_whatever_its_script(value: str) -> None:
    box = build_toolbox([WEATHER])
    for style in STYLES:
        ask = make_ask(box.tools[0], {("city",): value, ("date",): "2031-04-02"})
        decision = decide(box, [user(speak([ask], style, "zh"))])
        assert decision.calls == [
            {"name": "get_weather_forecast", "arguments": {"city": value, "date": "2031-04-02"}}
        ]


def test_the_assistant_asks_in_chinese_and_takes_the_answer() -> None:
    box = build_toolbox([WEATHER])
    opening = user("我想查天气预报，日期是 2031-04-02。")
    question = decide(box, [opening])
    assert question.move == "ask"
    assert "城市" in question.text
    assert question.text.endswith(("？", "?"))
    for seed in range(12):
        answer = speak_answer([Slot("city", "Rome")], "plain", "zh", seed)
        heard = decide(box, [opening, said(question.text), user(answer)])
        assert heard.calls[0]["arguments"]["city"] == "Rome", answer


def test_the_assistant_refuses_tells_and_gives_up_in_chinese() -> None:
    box = build_toolbox([WEATHER])
    asked = user("我想查天气预报，城市是 Rome，日期是 2031-04-02。")
    call = decide(box, [asked])
    made = {"role": "assistant", "content": "", "tool_calls": call.calls}

    def after(content: str) -> Any:
        row = {"role": "tool", "name": "get_weather_forecast", "content": content}
        return decide(box, [asked, made, row])

    assert decide(box, [user("帮我报税，日期是 2031-04-02。")]).text.startswith(
        ("抱歉", "不好", "这件")
    )
    assert after('{"temperature": 21}').text == "查到了：温度是 21。"
    assert after("{}").text == reply_in_chinese("done", "")
    failed = after('{"error": "no such city"}')
    assert failed.move == "give_up"
    assert failed.text == "很抱歉，没有办成：no such city。"


def test_chinese_is_told_by_its_punctuation_outside_of_quotes() -> None:
    assert speaks_chinese("Paris。")
    assert not speaks_chinese('Add a note with title "开会，明天".')
