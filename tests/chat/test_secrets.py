"""The key is in the header of a request and nowhere else, whatever goes wrong."""

import asyncio
import json
import logging
import pickle
import traceback
from typing import Any

import pytest
from starlette.responses import Response

from looptool.chat import AsgiTransport, Teacher
from looptool.config import TeacherConfig, parse_config
from looptool.errors import ConfigError, LoopToolError, TeacherRefused
from tests.chat.test_teacher import MESSAGES, URL, Endpoint, Greeting, breaks, fails, says, sends

KEY = "sk-very-secret-1234"


def everything_about(error: BaseException) -> str:
    """The texts of an exception, of its notes, of what caused it and of its traceback."""
    seen: list[str] = []
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None:
            seen += [str(each), repr(each), *traceback.format_exception(each, chain=True)]
            left += [each.__cause__, each.__context__]
    return "\n".join(seen)


def ask(server: Endpoint, **config: Any) -> tuple[Any, Teacher]:
    settings = TeacherConfig(base_url=URL, attempts=2, api_key_env="MY_KEY", **config)

    async def run() -> tuple[Any, Teacher]:
        async with Teacher(settings, AsgiTransport(server.app)) as teacher:
            try:
                return await teacher.ask(MESSAGES, reply=Greeting, stage="seed"), teacher
            except LoopToolError as error:
                return error, teacher

    return asyncio.run(run())


def quotes(status: int) -> Any:
    return fails(status, f"incorrect API key provided: {KEY}", {"x-key": KEY})


@pytest.mark.parametrize(
    "answer",
    [
        quotes(401),
        quotes(400),
        quotes(500),
        breaks(ConnectionResetError(f"cut after {KEY}")),
        sends(f"<html>{KEY}</html>".encode()),
        lambda _: Response(b"", 307, {"location": f"ftp://{KEY}@elsewhere/"}),
        says(),
    ],
)
def test_no_text_of_a_failure_holds_the_key(
    answer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = Endpoint(answer)
    with caplog.at_level(logging.DEBUG):
        outcome, teacher = ask(server)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    shown = [caplog.text, repr(teacher), repr(teacher.endpoints), repr(teacher.config)]
    shown += [json.dumps(teacher.usage_report()), json.dumps(server.requests)]
    if isinstance(outcome, Exception):
        shown.append(everything_about(outcome))
        assert outcome.__cause__ is None
        assert outcome.__context__ is None
        assert str(pickle.loads(pickle.dumps(outcome))) == str(outcome)
    assert [text for text in shown if KEY in text] == []


def test_a_refused_key_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    error, _ = ask(Endpoint(quotes(401)))
    assert isinstance(error, TeacherRefused)
    assert "MY_KEY" in str(error)


def test_the_line_break_at_the_end_of_a_key_file_is_no_part_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    server = Endpoint(says())
    ask(server)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [f"{KEY}\nX: y", f"{KEY} {KEY}", f"{KEY}é"])
def test_a_value_that_can_be_no_key_is_refused_unseen(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(ConfigError, match="MY_KEY") as caught:
        Teacher(TeacherConfig(base_url=URL, api_key_env="MY_KEY"))
    assert KEY not in everything_about(caught.value)


@pytest.mark.parametrize(
    "teacher",
    [
        {"base_url": f"http://user:{KEY}@host/v1"},
        {"base_url": f"http://{KEY}@host/v1"},
        {"base_url": f"https://host/v1?api_key={KEY}"},
        {"base_url": [URL, f"https://host/v1#{KEY}"]},
        {"api_key_env": KEY},
        {"api_key": KEY},
        {"base_url": f"https://[{KEY}"},
    ],
)
def test_a_profile_that_holds_the_key_is_refused_unseen(teacher: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="teacher") as caught:
        parse_config({"teacher": teacher})
    assert KEY not in everything_about(caught.value)
