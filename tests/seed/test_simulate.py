"""Dialogues by the scripted teacher, through the production client, prompts and parsers."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from looptool.chat import AsgiTransport, Teacher
from looptool.config import NoiseConfig, SeedConfig, SimulatorConfig, TeacherConfig
from looptool.errors import BudgetExceeded, ConfigError, TeacherRefused, TeacherUnavailable
from looptool.records import (
    AssistantMessage,
    Dialogue,
    Kind,
    Split,
    ToolMessage,
    UserMessage,
)
from looptool.seed import SeedOutcome, load_catalogue, simulate_dialogues
from looptool.seed.links import find_links
from looptool.simulator import create_app

SMALL = {"tools_min": 3, "tools_max": 5, "turns_max": 3}
App = Callable[..., Any]


def simulate(
    *,
    noise: NoiseConfig | None = None,
    wrap: Callable[[App], App] = lambda app: app,
    teacher: dict[str, Any] | None = None,
    target: int = 40,
    seed: int = 0,
    tools: Any = None,
    split: Split = Split.TRAIN,
    progress: Callable[[int], None] | None = None,
    date: str = "",
    **config: Any,
) -> SeedOutcome:
    app = wrap(create_app(SimulatorConfig(noise=noise or NoiseConfig())))
    settings = TeacherConfig(**{"attempts": 8, **(teacher or {})})

    async def run() -> SeedOutcome:
        async with Teacher(settings, AsgiTransport(app)) as client:
            return await simulate_dialogues(
                SeedConfig(**{**SMALL, **config}),
                load_catalogue() if tools is None else tools,
                client,
                split=split,
                target_samples=target,
                random_seed=seed,
                date=date,
                on_progress=progress,
            )

    return asyncio.run(run())


def roles(dialogue: Dialogue) -> list[str]:
    return [message.role for message in dialogue.messages]


def test_the_target_is_met_and_everything_is_counted() -> None:
    seen: list[int] = []
    outcome = simulate(target=60, progress=seen.append)
    assert 60 <= len(outcome.samples) <= 70
    assert outcome.report.met
    assert outcome.report.samples == len(outcome.samples) == seen[-1]
    assert outcome.report.dialogues == len(outcome.dialogues)
    assert sum(outcome.report.kinds.values()) == len(outcome.samples)
    assert outcome.rejections == ()
    assert len({sample.sample_id for sample in outcome.samples}) == len(outcome.samples)


def test_all_kinds_of_decisions_come_out() -> None:
    outcome = simulate(target=150, summary_rate=1.0)
    assert set(outcome.report.kinds) == {kind.value for kind in Kind}
    for sample in outcome.samples:
        assert bool(sample.label.calls) == (
            sample.kind not in (Kind.CLARIFY, Kind.NO_TOOL, Kind.SUMMARY)
        )
        assert isinstance(sample.messages[-1], UserMessage | ToolMessage)
        assert 3 <= len(sample.tools) <= 5


def test_dialogues_are_well_formed_and_bounded() -> None:
    outcome = simulate(target=150)
    for dialogue in outcome.dialogues:
        pending = 0
        assert roles(dialogue)[0] == "user"
        assert len(dialogue.messages) <= 20
        for message in dialogue.messages:
            if isinstance(message, ToolMessage):
                json.loads(message.content)
                pending -= 1
            else:
                assert pending == 0
            pending += len(message.calls) if isinstance(message, AssistantMessage) else 0
        assert pending == 0


def test_the_result_does_not_depend_on_concurrency_or_on_passing_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("looptool.chat.client.BACKOFF_S", 0.001)
    monkeypatch.setattr("looptool.chat.client.RETRY_AFTER_CAP_S", 0.001)
    faults = NoiseConfig(http_error_rate=0.05, cut_rate=0.05)
    calm = simulate(teacher={"max_concurrency": 1})
    rough = simulate(teacher={"max_concurrency": 32}, noise=faults)
    assert [s.sample_id for s in calm.samples] == [s.sample_id for s in rough.samples]
    assert calm.report == rough.report


def test_another_seed_or_split_gives_other_dialogues() -> None:
    ids = [
        {d.dialogue_id for d in simulate(seed=seed, split=split, target=20).dialogues}
        for seed, split in ((0, Split.TRAIN), (1, Split.TRAIN), (0, Split.HELDOUT_SEEN))
    ]
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]


def test_a_larger_target_only_adds() -> None:
    few = [s.sample_id for s in simulate(target=20).samples]
    many = [s.sample_id for s in simulate(target=50).samples]
    assert many[: len(few)] == few


def test_each_dialogue_has_its_day_unless_one_is_given() -> None:
    assert len({d.date for d in simulate(target=30).dialogues}) > 5
    assert {d.date for d in simulate(target=30, date="2031-02-03").dialogues} == {"2031-02-03"}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SUMMARY])
def test_each_kind_of_dialogue_has_its_decision(kind: Kind) -> None:
    outcome = simulate(kinds={kind: 1.0}, target=20)
    wanted = {Kind.MULTI_TURN: {"single", "multi_turn"}}.get(kind, {kind.value})
    assert wanted & set(outcome.report.kinds)
    for dialogue in outcome.dialogues:
        assert dialogue.kind is kind
        if kind is Kind.RETRY:
            failed = next(m for m in dialogue.messages if isinstance(m, ToolMessage))
            assert "error" in json.loads(failed.content)
        if kind is Kind.MULTI_TURN:
            assert roles(dialogue).count("user") >= 2
        if kind is Kind.MULTI_STEP:
            assert find_links(dialogue.tools)


def test_about_half_of_the_other_tools_are_near_misses() -> None:
    outcome = simulate(kinds={Kind.SINGLE: 1.0}, target=60, tools_min=5, tools_max=5)
    shares = []
    for dialogue in outcome.dialogues:
        domains = [tool.domain for tool in dialogue.tools]
        shares.append(max(domains.count(domain) for domain in domains))
    assert 2.8 <= sum(shares) / len(shares) <= 3.6


def test_malformed_replies_that_last_make_a_rejection_and_another_dialogue() -> None:
    outcome = simulate(noise=NoiseConfig(malformed_rate=0.15), teacher={"attempts": 2}, target=60)
    assert outcome.report.met
    assert set(outcome.report.rejected) == {"teacher_malformed"}
    for rejection in outcome.rejections:
        assert rejection.stage == "seed"
        assert "malformed" in rejection.detail
        assert rejection.row["tools"]


def test_a_teacher_that_never_makes_sense_ends_the_search() -> None:
    outcome = simulate(noise=NoiseConfig(malformed_rate=1.0), teacher={"attempts": 1})
    assert not outcome.report.met
    assert outcome.samples == ()
    assert outcome.report.rejected == {"teacher_malformed": 60}


def answer_with(status: int) -> Callable[[App], App]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    return lambda _: app


def test_an_endpoint_that_is_down_is_an_exception_and_not_data() -> None:
    with pytest.raises(TeacherRefused):
        simulate(wrap=answer_with(401))
    with pytest.raises(TeacherUnavailable):
        simulate(wrap=answer_with(503), teacher={"attempts": 1})


def test_the_budget_ends_the_stage() -> None:
    with pytest.raises(BudgetExceeded):
        simulate(teacher={"price_in": 1000.0, "budget_usd": 1.0})


def test_no_tools_and_impossible_settings_are_configuration_errors() -> None:
    for config in (
        {"tools": ()},
        {"kinds": {}},
        {"kinds": {Kind.SINGLE: -1.0}},
        {"kinds": {Kind.SUMMARY: 1.0}},
        {"tools_min": 9, "tools_max": 3},
    ):
        with pytest.raises(ConfigError):
            simulate(**config)


def test_fewer_tools_than_asked_for_are_enough() -> None:
    outcome = simulate(tools=load_catalogue()[:2], kinds={Kind.SINGLE: 1.0}, target=5)
    assert all(len(sample.tools) <= 2 for sample in outcome.samples)


def disagree(app: App, *, draws: int) -> App:
    """The scripted teacher, but each of the first `draws` opinions on a decision is another."""
    asked: dict[str, int] = {}

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        request = await receive()
        document = json.loads(request["body"])

        async def again() -> Any:
            return request

        text = document["messages"][0]["content"]
        question = document["messages"][1]["content"]
        count = asked[question] = asked.get(question, 0) + 1
        if not text.startswith("Role: assistant") or count > draws:
            await app(scope, again, send)
            return
        call = {"name": f"tool_{count}", "arguments": {}}
        content = json.dumps({"content": "", "tool_calls": [call]})
        choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(
            {"type": "http.response.body", "body": json.dumps({"choices": [choice]}).encode()}
        )

    return wrapped


def test_two_of_three_opinions_outvote_the_third() -> None:
    outcome = simulate(wrap=lambda app: disagree(app, draws=1), kinds={Kind.SINGLE: 1.0}, target=10)
    assert outcome.report.marked_turns == 0
    names = {call.name for sample in outcome.samples for call in sample.label.calls}
    assert not any(name.startswith("tool_") for name in names)


def test_three_opinions_mark_the_turn_and_end_the_dialogue() -> None:
    outcome = simulate(wrap=lambda app: disagree(app, draws=3), kinds={Kind.SINGLE: 1.0}, target=10)
    assert outcome.samples == ()
    assert set(outcome.report.rejected) == {"no_majority"}
    row = outcome.rejections[0].row
    assert row["marked_turns"] == [len(row["messages"]) - 1]


def test_without_self_consistency_the_first_opinion_counts() -> None:
    outcome = simulate(
        wrap=lambda app: disagree(app, draws=1),
        kinds={Kind.SINGLE: 1.0},
        target=10,
        self_consistency=False,
    )
    assert {sample.label.calls[0].name for sample in outcome.samples if sample.label.calls} >= {
        "tool_1"
    }
    answers = [m.content for d in outcome.dialogues for m in d.messages if m.role == "tool"]
    assert any("there is no tool" in answer for answer in answers)
