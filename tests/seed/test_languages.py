"""Personas, styles and languages are data; a dialogue in Chinese passes the same checks."""

import asyncio
import re
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from looptool.chat import AsgiTransport, Teacher
from looptool.config import SimulatorConfig, TeacherConfig
from looptool.errors import ConfigError
from looptool.prompts import render
from looptool.records import AssistantMessage, Dialogue, Kind, Split, UserMessage
from looptool.seed import cut_samples, load_catalogue
from looptool.seed.agents import Scene
from looptool.seed.dialogue import Conversation
from looptool.seed.people import load_people
from looptool.simulator import create_app
from looptool.simulator.speak import STYLES
from looptool.validate import check_dialogue, review_dialogues

HAN = re.compile(r"[\u4e00-\u9fff]")
KINDS = (Kind.SINGLE, Kind.PARALLEL, Kind.CLARIFY, Kind.NO_TOOL, Kind.MULTI_TURN)


async def play(teacher: Teacher, kind: Kind, number: int, **fields: Any) -> Dialogue:
    rng = Random(f"{kind}{number}")
    scene = Scene(
        teacher=teacher,
        model="",
        kind=kind,
        tools=tuple(rng.sample(load_catalogue(), 4)),
        turns=2 if kind is Kind.MULTI_TURN else 1,
        date="2031-02-03",
        nonce=str(number),
        seed=rng.getrandbits(31),
        **{"persona": "", "style": STYLES[number % len(STYLES)], "language": "zh", **fields},
    )
    conversation = Conversation(scene, rng, twice=False, max_messages=12)
    await conversation.play()
    return conversation.as_dialogue(Split.TRAIN)


@cache
def chinese_dialogues() -> tuple[Dialogue, ...]:
    async def run() -> tuple[Dialogue, ...]:
        app = create_app(SimulatorConfig())
        async with Teacher(TeacherConfig(), AsgiTransport(app)) as teacher:
            plays = [play(teacher, kind, number) for kind in KINDS for number in range(20)]
            return tuple(await asyncio.gather(*plays))

    return asyncio.run(run())


def test_everything_that_is_said_is_chinese() -> None:
    for dialogue in chinese_dialogues():
        for message in dialogue.messages:
            if isinstance(message, UserMessage):
                assert message.content.endswith("。")
            if isinstance(message, AssistantMessage) and not message.calls:
                assert HAN.search(message.content)
                assert not re.search(r"\b(the|is|which|sorry)\b", message.content, re.IGNORECASE)
        assert HAN.search(dialogue.messages[0].content)


def test_chinese_dialogues_break_no_rule() -> None:
    broken = [violation for one in chinese_dialogues() for violation in check_dialogue(one)]
    assert broken == []


def test_chinese_dialogues_pass_the_review() -> None:
    async def run() -> Any:
        app = create_app(SimulatorConfig())
        async with Teacher(TeacherConfig(), AsgiTransport(app)) as teacher:
            return await review_dialogues(chinese_dialogues(), teacher)

    assert set(asyncio.run(run())) == {None}


def test_chinese_dialogues_hold_every_kind_of_decision_asked_for() -> None:
    kinds = Counter(s.kind for one in chinese_dialogues() for s in cut_samples(one))
    assert {*KINDS, Kind.SUMMARY} <= set(kinds)
    for one in chinese_dialogues():
        decisions = {sample.kind for sample in cut_samples(one)}
        assert one.kind in decisions or one.kind is Kind.MULTI_TURN


def test_there_are_thirty_personas_and_every_style_says_how_it_sounds() -> None:
    people = load_people()
    assert len(people.personas) >= 30
    assert len(set(people.personas.values())) == len(people.personas)
    assert set(STYLES) <= set(people.styles)
    assert {"en", "zh"} <= set(people.languages)
    assert people.language("en").notes == ""


def test_a_name_that_is_not_in_the_file_is_the_users_own_words() -> None:
    people = load_people()
    assert people.persona("a diver") == "a diver"
    assert people.persona("sheep_farmer").startswith("a sheep farmer")
    assert people.style("like a pirate") == ""
    assert "Portuguese" in people.language("Portuguese").notes


def test_all_stands_for_everyone_in_the_file() -> None:
    people = load_people()
    chosen = people.choose_personas(("a diver", "all", "law_student"))
    assert chosen[0] == "a diver"
    assert set(chosen) == {"a diver", *people.personas}
    assert len(chosen) == len(people.personas) + 1
    assert people.choose_styles(("plain",)) == ("plain",)


def test_a_file_of_ones_own_adds_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "people.toml"
    file.write_text(
        '[personas]\ndiver = "a diver of 40"\nlaw_student = "a judge"\n'
        '[languages.pt]\nname = "Portuguese"\nnotes = "As spoken in Lisbon."\n'
    )
    people = load_people(str(file))
    assert people.persona("diver") == "a diver of 40"
    assert people.persona("law_student") == "a judge"
    assert people.persona("night_nurse") == load_people().persona("night_nurse")
    assert people.language("pt").name == "Portuguese"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[persons]", "persons"),
        ("[personas]\nx = 3", "personas.x"),
        ('personas = "x"', "personas"),
        ("[languages.pt]\nnotes = 'x'", "languages.pt"),
        ("[languages]\npt = 'Portuguese'", "languages.pt"),
        ("[personas", "TOML"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "people.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(place)):
        load_people(str(file))


def test_a_file_that_is_not_there_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_people("nowhere/people.toml")


def prompts_of(**fields: Any) -> list[str]:
    """The system parts of the prompts of one dialogue, by the order in which they were sent."""
    sent: list[str] = []
    scripted = create_app(SimulatorConfig())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = await receive()
        sent.append(request["body"].decode())

        async def again() -> Any:
            return request

        await scripted(scope, again, send)

    async def run() -> None:
        async with Teacher(TeacherConfig(), AsgiTransport(app)) as teacher:
            await play(teacher, Kind.SINGLE, 0, **fields)

    asyncio.run(run())
    return sent


def test_the_prompts_say_who_speaks_how_and_in_which_language() -> None:
    plan, user, assistant, *_ = prompts_of(persona="sheep_farmer", style="terse", language="zh")
    assert "Simplified Chinese" in plan
    assert "Speak Simplified Chinese" in user
    assert "whatever you say, say it in Simplified Chinese" in assistant
    assert "sheep farmer of 58" in plan
    assert "sheep farmer of 58" in user
    assert "like a note" in user


def test_english_needs_no_word_about_the_language() -> None:
    plan, user, assistant, *_ = prompts_of(language="en", style="a very special manner")
    assert not re.search(r"English|How the style sounds", plan + user + assistant)
    assert "a very special manner" in user


def test_a_language_that_nobody_described_is_asked_for_by_its_name() -> None:
    system = render(
        "seed_user",
        need={},
        conversation=[],
        persona="",
        style="plain",
        date="",
        language="Swahili",
        language_name="Swahili",
        language_notes=load_people().language("Swahili").notes,
    )[0]["content"]
    assert "Speak Swahili and no other language." in system
