"""Which decisions of a dialogue become samples, and of which kind."""

from typing import Any

import pytest

from looptool.records import (
    AssistantMessage,
    Dialogue,
    Kind,
    Message,
    Split,
    ToolCall,
    ToolMessage,
    UserMessage,
    make_tool,
)
from looptool.seed import cut_samples

TOOLS = tuple(make_tool(name, "", {"type": "object", "properties": {}}) for name in ("a", "b"))


def user(text: str = "Do it.") -> UserMessage:
    return UserMessage(content=text)


def calls(*names: str) -> AssistantMessage:
    return AssistantMessage(calls=tuple(ToolCall(name=name) for name in names))


def says(text: str) -> AssistantMessage:
    return AssistantMessage(content=text)


def result(name: str, content: str = "{}") -> ToolMessage:
    return ToolMessage(name=name, content=content)


def dialogue(*messages: Message, kind: Kind = Kind.SINGLE, **more: Any) -> Dialogue:
    return Dialogue(
        dialogue_id="d-1", kind=kind, split=Split.TRAIN, tools=TOOLS, messages=messages, **more
    )


@pytest.mark.parametrize(
    ("messages", "kind", "kinds"),
    [
        ((user(), calls("a"), result("a"), says("Done.")), Kind.SINGLE, ["single", "summary"]),
        ((user(), calls("a", "b"), result("a"), result("b"), says("Done.")), Kind.PARALLEL,
         ["parallel", "summary"]),
        ((user(), calls("a"), result("a"), calls("b"), result("b"), says("Done.")),
         Kind.MULTI_STEP, ["single", "multi_step", "summary"]),
        ((user(), says("Which city?"), user("Rome"), calls("a"), result("a"), says("Done.")),
         Kind.CLARIFY, ["clarify", "multi_turn", "summary"]),
        ((user(), says("Which city, please tell me.")), Kind.CLARIFY, ["clarify"]),
        ((user(), says("I cannot. Anything else?")), Kind.NO_TOOL, ["no_tool"]),
        ((user(), says("I cannot.")), Kind.MULTI_TURN, ["no_tool"]),
        ((user(), calls("a"), result("a", '{"error": "503"}'), calls("a"), result("a"),
          says("Done.")), Kind.RETRY, ["single", "retry", "summary"]),
        ((user(), calls("a"), result("a"), says("Done."), user("And b."), calls("b"), result("b"),
          says("Done.")), Kind.MULTI_TURN, ["single", "summary", "multi_turn", "summary"]),
    ],
)  # fmt: skip
def test_every_decision_becomes_a_sample_of_its_kind(
    messages: tuple[Message, ...], kind: Kind, kinds: list[str]
) -> None:
    samples = cut_samples(dialogue(*messages, kind=kind))
    assert [sample.kind.value for sample in samples] == kinds
    for sample in samples:
        place = len(sample.messages)
        assert sample.messages == messages[:place]
        decision = messages[place]
        assert isinstance(decision, AssistantMessage)
        assert sample.label.calls == decision.calls


def test_words_beside_calls_are_no_part_of_the_label() -> None:
    both = AssistantMessage(content="Let me see.", calls=(ToolCall(name="a"),))
    (sample,) = cut_samples(dialogue(user(), both))
    assert sample.label.text == ""
    assert sample.label.calls == both.calls


def test_marked_turns_and_what_follows_them_are_never_samples() -> None:
    messages = (
        user(), calls("a"), result("a"), says("Done."), user(), calls("b"), result("b"), says("Ok."),
    )  # fmt: skip
    samples = cut_samples(dialogue(*messages, marked_turns=(5,)))
    assert [len(sample.messages) for sample in samples] == [1, 3]
    assert cut_samples(dialogue(*messages, marked_turns=(1,))) == []


def test_the_circumstances_of_the_dialogue_go_with_the_sample() -> None:
    about = {
        "date": "2031-05-06",
        "persona": "a pilot",
        "style": "terse",
        "language": "fr",
        "difficulty": "hard",
    }
    (sample,) = cut_samples(dialogue(user(), calls("a"), **about))
    assert sample.model_dump(include=set(about)) == about
    assert sample.dialogue_id == "d-1"
    assert sample.parent_id == sample.root_id == ""
