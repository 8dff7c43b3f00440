"""A value must have been said; how people say it differs from how it is written in a call."""

from typing import Any

import pytest

from looptool.records import (
    AssistantMessage,
    JsonObject,
    Message,
    ToolCall,
    ToolMessage,
    UserMessage,
    make_tool,
)
from looptool.validate.chinese import read_numeral
from looptool.validate.grounding import Evidence, check_grounding

PROPERTIES: JsonObject = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "flag": {"type": "boolean"},
    "choice": {"type": "string", "enum": ["fast", "slow"]},
    "fixed": {"const": "v2"},
    "limit": {"type": "integer", "default": 50},
    "tags": {"type": "array", "items": {"type": "string"}},
    "modes": {"type": "array", "items": {"enum": ["car", "bike"]}},
    "place": {"$ref": "#/$defs/place"},
    "maybe": {"anyOf": [{"type": "string", "enum": ["north"]}, {"type": "null"}]},
}
TOOL = make_tool(
    "do_it",
    "",
    {
        "type": "object",
        "properties": PROPERTIES,
        "$defs": {
            "place": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "country": {"type": "string", "default": "PT"},
                },
            }
        },
    },
)


def ungrounded(
    arguments: JsonObject, *messages: Message | str, date: str = "", language: str = "en"
) -> list[str]:
    said = [UserMessage(content=m) if isinstance(m, str) else m for m in messages]
    evidence = Evidence.of(said, date, language)
    calls = [ToolCall(name="do_it", arguments=arguments)]
    return [v.path for v in check_grounding(calls, [TOOL], evidence, "calls")]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Porto", "what about porto?"),
        ("living_room", "dim the living room"),
        ("São Paulo", "fly to SÃO  PAULO, please"),
        ("ana@example.org", "mail Ana@example.org."),
        ("O'Hare", "from o'hare"),
        ("5", "five of them"),
        ("15:00", "let's meet at 3 pm"),
        ("15:30", "at 3:30pm"),
        ("09:00", "at 9 o'clock"),
        ("12:00", "at noon"),
        ("$", "in $ please"),
        ("北京", "北京明天天气怎么样？"),
        ("A3", "请订A3房间"),
        ("A3", "请订Ａ３房间"),
        ("15:00", "下午三点开会"),
        ("15:00", "下午3点"),
        ("15:30", "下午三點半"),
        ("09:15", "上午九点一刻"),
        ("20:10", "晚上八点十分"),
        ("15:00", "三点见"),
        ("03:00", "三点见"),
        ("12:00", "中午"),
        ("13:00", "中午一点"),
        ("00:00", "午夜"),
        ("18:05", "18时05分"),
    ],
)
def test_a_string_is_found_however_it_is_written(value: str, said: str) -> None:
    assert ungrounded({"text": value}, said) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Porto", "what about Lisbon?"),
        ("or", "for me"),
        ("", "anything"),
        ("15:00", "at 3 am"),
        ("15:00", "at 13 pm"),
        ("Porto Lisbon", "from Porto to Lisbon"),
        ("上海", "北京明天天气怎么样？"),
        ("15:00", "上午三点"),
        ("15:00", "下午四点"),
        ("15:30", "下午三点"),
    ],
)
def test_a_string_that_nobody_said_is_ungrounded(value: str, said: str) -> None:
    assert ungrounded({"text": value}, said) == ["calls[0].text"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "three of them"),
        (12, "twelve eggs"),
        (5.0, "5 please"),
        (1200, "about 1,200 euros"),
        (-5, "it is -5 outside"),
        (-5, "minus 5 degrees"),
        (0.2, "give a 20% tip"),
        (2.5, "2.5 kg"),
        (45.5, "it costs $45.50."),
        (10**20, "100000000000000000000 it is"),
        (13, "thirteen of them"),
        (25, "twenty-five people"),
        (250, "two hundred and fifty grams"),
        (1500, "fifteen hundred"),
        (3200, "three thousand two hundred"),
        (3, "订三张票"),
        (2, "两个人"),
        (12, "十二个鸡蛋"),
        (3, "订３张票"),
        (25, "二十五公里"),
        (3502, "三千五百零二元"),
        (3500, "三千五"),
        (120, "一百二"),
        (12000, "一万二千块"),
        (15000, "1.5万元"),
        (0.2, "百分之二十的小费"),
        (0.2, "２０％的小费"),
        (-5, "零下五度"),
        (3.5, "三点五公斤"),
        (2.5, "两个半小时"),
        (2031, "二〇三一年"),
    ],
)
def test_a_number_is_found_as_digits_or_as_a_word(value: float, said: str) -> None:
    assert ungrounded({"number": value}, said) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [(3, "30 of them"), (13, "thirty"), (7, "many"), (205, "two hundred and fifty"), (3, "十三个")],
)
def test_a_number_that_nobody_said_is_ungrounded(value: float, said: str) -> None:
    assert ungrounded({"number": value}, said) == ["calls[0].number"]


def test_what_the_schema_names_needs_no_evidence() -> None:
    free: dict[str, Any] = {
        "flag": True,
        "choice": "fast",
        "fixed": "v2",
        "limit": 50,
        "modes": ["bike", "car"],
        "place": {"country": "PT"},
        "maybe": "north",
        "text": None,
    }
    assert ungrounded(free, "do it") == []
    assert ungrounded({"limit": 51}, "do it") == ["calls[0].limit"]


def test_arrays_and_objects_are_looked_through_element_by_element() -> None:
    arguments = {"tags": ["red", "blue"], "place": {"city": "Faro", "country": "ES"}}
    assert ungrounded(arguments, "red things in Faro") == [
        "calls[0].tags[1]",
        "calls[0].place.country",
    ]


def test_results_and_earlier_calls_are_evidence_but_the_assistants_words_are_not() -> None:
    result = ToolMessage(name="find", content='{"id": "r\\u00f6m-17", "rooms": [{"no": 204}]}')
    call = AssistantMessage(calls=(ToolCall(name="find", arguments={"area": "Alfama"}),))
    talk = AssistantMessage(content="Shall I take Sintra?")
    assert ungrounded({"text": "röm-17", "number": 204}, result) == []
    assert ungrounded({"text": "Alfama"}, "near the river", call) == []
    assert ungrounded({"text": "Sintra"}, "hm", talk) == ["calls[0].text"]


# 2031-03-05 is a Wednesday.
@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2031-03-06", "tomorrow"),
        ("2031-03-05", "tonight at the latest"),
        ("2031-03-07", "this Friday"),
        ("2031-03-14", "next friday"),
        ("2031-03-19", "in two weeks"),
        ("2031-03-12", "a week from now"),
        ("2031-04-05", "in a month"),
        ("2031-03-02", "3 days ago"),
        ("2031-03-20", "on March 20"),
        ("2031-03-20", "the 20th of March 2031"),
        ("2031-03-20", "on the 20th"),
        ("2031-12-24", "12/24/2031"),
        ("2031-12-24", "24.12."),
        ("2031-03-09", "at the weekend"),
        ("2031-03-12", "some day next week"),
        ("2033-08-01", "it is on 2033-08-01"),
    ],
)
def test_dates_may_follow_from_the_day_of_the_conversation(day: str, said: str) -> None:
    assert ungrounded({"text": day}, said, date="2031-03-05") == []


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2031-03-09", "tomorrow"),
        ("2031-03-21", "on March 20"),
        ("2032-03-20", "on March 20, 2031"),
        ("2036-03-20", "on March 20"),
        ("2031-03-06", "soon"),
    ],
)
def test_a_date_that_nothing_implies_is_ungrounded(day: str, said: str) -> None:
    assert ungrounded({"text": day}, said, date="2031-03-05") == ["calls[0].text"]


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2031-03-06", "明天"),
        ("2031-03-05", "今晚之前"),
        ("2031-03-07", "后天出发"),
        ("2031-03-08", "大后天"),
        ("2031-03-04", "昨天"),
        ("2031-03-07", "本周五"),
        ("2031-03-14", "下周五"),
        ("2031-03-14", "下星期五"),
        ("2031-03-16", "下个礼拜天"),
        ("2031-03-07", "星期五"),
        ("2031-03-08", "这个周末"),
        ("2031-03-12", "下周找一天"),
        ("2031-03-08", "三天后"),
        ("2031-03-19", "两周后"),
        ("2031-03-19", "２周以后"),
        ("2031-04-05", "一个月之后"),
        ("2031-03-20", "半个月后"),
        ("2032-03-05", "一年后"),
        ("2031-03-03", "两天前"),
        ("2031-03-20", "3月20日"),
        ("2031-03-20", "三月二十号"),
        ("2031-03-20", "３月２０日"),
        ("2031-03-20", "2031年3月20日"),
        ("2031-03-20", "二〇三一年三月二十日"),
        ("2035-12-24", "2035年12月24日"),
        ("2031-03-20", "20号"),
        ("2031-04-02", "下个月初"),
    ],
)
def test_chinese_dates_may_follow_from_the_day_of_the_conversation(day: str, said: str) -> None:
    assert ungrounded({"text": day}, said, date="2031-03-05", language="zh") == []


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2031-03-08", "明天"),
        ("2031-03-07", "大后天"),
        ("2031-03-07", "下周五"),
        ("2031-03-09", "三天后"),
        ("2031-03-21", "3月20日"),
        ("2032-03-20", "2031年3月20日"),
        ("2031-12-01", "1月12日"),
        ("2031-03-06", "尽快"),
        ("2031-06-05", "三月"),
    ],
)
def test_a_chinese_date_that_nothing_implies_is_ungrounded(day: str, said: str) -> None:
    assert ungrounded({"text": day}, said, date="2031-03-05", language="zh") == ["calls[0].text"]


def test_a_chinese_moment_needs_its_day_and_its_time() -> None:
    said = "明天下午三点"
    for value, expected in (
        ("2031-03-06T15:00", []),
        ("2031-03-06T03:00", ["calls[0].text"]),
        ("2031-03-07T15:00", ["calls[0].text"]),
    ):
        found = ungrounded({"text": value}, said, date="2031-03-05", language="zh")
        assert found == expected


@pytest.mark.parametrize(
    ("numeral", "value"),
    [
        ("十", 10),
        ("十五", 15),
        ("二十", 20),
        ("一百零五", 105),
        ("一百一十", 110),
        ("两万三", 23000),
        ("一亿二千万", 120_000_000),
        ("一二三", 123),
        ("百", None),
        ("万", None),
    ],
)
def test_numerals_are_read(numeral: str, value: int | None) -> None:
    assert read_numeral(numeral) == value


def test_without_a_day_of_the_conversation_nothing_is_computed() -> None:
    assert ungrounded({"text": "2031-03-06"}, "tomorrow") == ["calls[0].text"]


def test_dates_of_other_languages_are_left_to_the_review() -> None:
    said = "übermorgen bitte"
    assert ungrounded({"text": "2031-03-07"}, said, date="2031-03-05", language="de") == []
    assert ungrounded({"text": "2031-03-07"}, said, language="de") == ["calls[0].text"]


def test_a_moment_needs_its_day_and_its_time() -> None:
    today = "2031-03-05"
    assert ungrounded({"text": "2031-03-06T15:00:00"}, "tomorrow at 3 pm", date=today) == []
    assert ungrounded({"text": "2031-03-06T15:00"}, "tomorrow at 3 pm", date=today) == []
    assert ungrounded({"text": "2031-03-06T16:00:00"}, "tomorrow at 3 pm", date=today) != []
    assert ungrounded({"text": "2031-03-07T15:00:00"}, "tomorrow at 3 pm", date=today) != []
