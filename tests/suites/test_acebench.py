"""ACEBench's adapter on a tiny clone of its layout: its scripts ask and grade, and we grade beside them."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looptool.config import LoopConfig
from looptool.errors import ConfigError, EngineError
from looptool.records import BenchmarkItem, BenchmarkScore
from looptool.suites import list_categories, run_category, serve_on_socket
from tests.suites.clone import make_clone

Say = Callable[[str, int], str | None]
"""From name and number of the question to the answer; None: the request fails."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return make_clone(tmp_path_factory.mktemp("acebench"))


def configure(made: tuple[Path, str], **more: Any) -> LoopConfig:
    section = {"clone": str(made[0]), "commit": made[1], "python": sys.executable} | more
    return LoopConfig.model_validate({"benchmarks": {"acebench": section}})


def run(
    config: LoopConfig, say: Say, category: str = "normal_atom_bool"
) -> tuple[dict[int, BenchmarkItem], BenchmarkScore, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    async def complete(request: Request) -> Response:
        seen.append(await request.json())
        found = re.search(r"greet (\w+) (\d+)", seen[-1]["messages"][-1]["content"])
        assert found
        text = say(found[1], int(found[2]))
        if text is None:
            return JSONResponse({"error": {"message": "prompt_too_wide"}}, 400)
        message = {"role": "assistant", "content": text}
        return JSONResponse(
            {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    with serve_on_socket(app) as socket:
        items, score = run_category("acebench", category, socket, config)
    return {int(item.item_id.rsplit("_", 1)[1]): item for item in items}, score, seen


def test_both_rules_stand_side_by_side_and_failed_requests_apart(clone: tuple[Path, str]) -> None:
    def say(name: str, times: int) -> str | None:
        answers = {
            "Ann": "[Diary.greet(name='Ann', times=1)]",
            "Bob": "[Diary.greet(name='Bob', times=99)]",  # officially right: numbers do not count
            "Cid": "I would rather not.",
            "Dee": None,
            "Eve": "[Diary.greet(name='dear Eve', times=5)]",  # officially right: containment
        }
        return answers.get(name, f"Well: [Diary.greet(name='{name}', times={times})] done")

    items, score, _ = run(configure(clone), say)
    assert [items[n].official for n in range(6)] == [True, True, False, None, True, True]
    assert [items[n].strict for n in range(6)] == [True, False, False, None, False, True]
    assert items[3].error.startswith("Error during inference")
    assert items[3].answer == ""
    assert (score.n, score.available, score.errors, score.decided) == (6, 6, 1, 5)
    assert (score.official, score.strict, score.only_official) == (0.8, 0.4, 2)
    assert score.reported == pytest.approx(4 / 6)  # the harness counts the failed request as wrong
    assert score.version == f"{clone[1]} en"


def test_the_policy_is_asked_in_the_clones_own_words_and_greedily(clone: tuple[Path, str]) -> None:
    _, _, seen = run(configure(clone), lambda name, n: f"[Diary.greet(name='{name}', times={n})]")
    assert {body["model"] for body in seen} == {"gpt-looptool"}
    assert {body["temperature"] for body in seen} == {0.01}
    assert {body["max_tokens"] for body in seen} == {LoopConfig().evaluate.max_new_tokens}
    assert not any("tools" in body for body in seen)


def test_sentences_are_graded_by_the_benchmark_alone(clone: tuple[Path, str]) -> None:
    text = "Due to the limitations of the function, I cannot solve this problem."
    items, score, _ = run(configure(clone), lambda *_: text, "special_irrelevant")
    assert score.official == 1.0
    assert (score.decided, score.strict) == (0, None)
    assert all(item.strict_note == "graded by fixed sentences alone" for item in items.values())


def test_a_limit_takes_the_same_items_every_time_and_the_clone_stays_as_it_is(
    clone: tuple[Path, str],
) -> None:
    before = sorted(str(path) for path in clone[0].rglob("*") if ".git" not in path.parts)
    say = lambda name, n: f"[Diary.greet(name='{name}', times={n})]"  # noqa: E731
    first, score, _ = run(configure(clone, limit=2), say)
    second, _, _ = run(configure(clone, limit=2), say)
    assert first.keys() == second.keys()
    assert (score.n, score.available, score.official) == (2, 6, 1.0)
    after = sorted(str(path) for path in clone[0].rglob("*") if ".git" not in path.parts)
    assert after == before


def test_a_policy_that_never_answers_is_a_broken_engine_and_no_score(
    clone: tuple[Path, str],
) -> None:
    with pytest.raises(EngineError, match="none of 6 requests was answered"):
        run(configure(clone), lambda *_: None)


def test_a_clone_elsewhere_or_at_another_commit_is_refused(
    clone: tuple[Path, str], tmp_path: Path
) -> None:
    assert list_categories("acebench", configure(clone, categories=["normal_atom_bool"]))
    for wrong, says in (
        ({"clone": ""}, "is no clone"),
        ({"clone": str(tmp_path)}, r"generate\.py"),
        ({"commit": "0" * 40}, "checkout 0000"),
        ({"commit": "main"}, "40 digits"),
        ({"categories": ["agent_multi_turn"]}, "agent_multi_turn cannot be run"),
        ({"python": str(tmp_path / "python")}, "no such file"),
    ):
        with pytest.raises(ConfigError, match=says):
            list_categories("acebench", configure(clone, **wrong))


def test_items_hold_what_the_policy_said_as_text(clone: tuple[Path, str]) -> None:
    items, _, _ = run(configure(clone), lambda name, n: "[1] \u202e\x00 '; DROP TABLE")
    assert {item.answer for item in items.values()} == {"[1] \u202e\x00 '; DROP TABLE"}
    assert json.dumps([item.model_dump() for item in items.values()])
    assert not any(item.official or item.strict for item in items.values())
    assert os.environ.get("GPT_BASE_URL") is None
