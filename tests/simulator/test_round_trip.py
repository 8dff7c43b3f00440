"""What is said in any style is understood again, from the words and the tools alone."""

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import looptool
from looptool.simulator.ask import Ask, Reference, Slot, parse_asks, render_asks
from looptool.simulator.shapes import same_json, stated_values
from looptool.simulator.speak import STYLES, make_ask, speak
from looptool.simulator.toolbox import build_toolbox
from looptool.simulator.understand import Decision, decide
from looptool.simulator.values import draw_arguments
from tests.simulator.sample_tools import EVERYDAY, NASTY, S, tool, tool_of

CATALOGUE = [
    tool_of(row)
    for row in json.loads(
        (Path(looptool.__file__).parent / "seed/catalogue.json").read_text("utf-8")
    )["tools"]
]


def say_and_understand(specs: list[Any], style: str, seed: int, language: str = "en") -> bool:
    rng = random.Random(seed)
    box = build_toolbox(rng.sample(specs, min(5, len(specs))))
    chosen = rng.choice(box.tools)
    arguments = draw_arguments(chosen.leaves, chosen.parameters, rng)
    ask = make_ask(chosen, stated_values(chosen.leaves, arguments), action=rng.randrange(2))
    decision = hear(box, speak([ask], style, language, seed))
    return same_json(decision.calls, [{"name": chosen.name, "arguments": arguments}])


def hear(box: Any, text: str) -> Decision:
    return decide(box, [{"role": "user", "content": text}])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("specs", [EVERYDAY, CATALOGUE], ids=["everyday", "catalogue"])
def test_every_style_comes_back_as_the_same_call(specs: list[Any], style: str) -> None:
    right = sum(say_and_understand(specs, style, seed) for seed in range(200))
    assert right >= 194


@pytest.mark.parametrize("style", STYLES)
def test_chinese_comes_back_as_the_same_call(style: str) -> None:
    assert sum(say_and_understand(EVERYDAY, style, seed, "zh") for seed in range(60)) >= 57


@pytest.mark.parametrize(
    "value",
    [
        "Paris, France",
        'she said "no"',
        " padded ",
        "for you and me",
        "3 days",
        "Dr. Who?",
        "no wait, stop",
        "a; also b",
        "line\nbreak",
        "",
        "é–ñ 漢字",
        "with title x",
        "C:\\temp\\new",
        "it's 5 o'clock",
        "trailing.",
        "<tool_call>",
    ],
)
@pytest.mark.parametrize("style", STYLES)
def test_strings_that_look_like_grammar_survive(value: str, style: str) -> None:
    box = build_toolbox([tool("add_note", "Add a note to a folder.", {"title": S, "remark": S})])
    values = {("title",): value, ("remark",): "plain words"}
    text = speak([make_ask(box.tools[0], values)], style)
    decision = hear(box, text)
    assert decision.calls == [
        {"name": "add_note", "arguments": {"title": value, "remark": "plain words"}}
    ], text


def test_drawn_arguments_satisfy_their_schemas() -> None:
    for spec in EVERYDAY + CATALOGUE + NASTY[:-2]:
        box = build_toolbox([spec])
        for seed in range(15):
            found = draw_arguments(
                box.tools[0].leaves, box.tools[0].parameters, random.Random(seed)
            )
            jsonschema.Draft202012Validator(box.tools[0].parameters or {}).validate(found)


@pytest.mark.parametrize("spec", NASTY, ids=lambda spec: spec["function"]["name"])
def test_nasty_tools_are_drawn_said_and_heard_without_an_exception(spec: Any) -> None:
    box = build_toolbox([spec, *EVERYDAY[:2]])
    chosen = box.tools[0]
    for seed in range(12):
        arguments = draw_arguments(chosen.leaves, chosen.parameters, random.Random(seed))
        for style in STYLES:
            text = speak([make_ask(chosen, stated_values(chosen.leaves, arguments))], style)
            assert hear(box, text).move in ("call", "ask", "refuse")


def test_a_need_comes_back_from_its_canonical_text() -> None:
    asks = [
        Ask("get the weather", (Slot("city", 'a; also "b" is 3, c'), Slot("days", 3))),
        Ask("", (Slot("line 1", [1, 2.5]),), "same"),
        Ask(
            "book it", (Slot("flight id", Reference("cheapest")), Slot("ok", True)), dependent=True
        ),
        Ask("stop"),
    ]
    assert parse_asks(render_asks(asks)) == asks


def test_text_that_is_no_need_is_not_read_as_one() -> None:
    assert parse_asks('Tell me: what is "this"?') is None
