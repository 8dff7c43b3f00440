"""Dialogues by the scripted teacher, through the production client, prompts and parsers."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from looptool.chat import AsgiTransport, Teacher
from looptool.config import NoiseConfig, SeedConfig, SimulatorConfig, TeacherConfig
from looptool.errors import BudgetExceeded, ConfigError, TeacherRefused, TeacherUnavailable
from looptool.records import (
    AssistantMessage,
    Cast,
    Dialogue,
    Kind,
    Split,
    ToolMessage,
    UserMessage,
)
from looptool.seed import Played, SeedOutcome, Simulation, load_catalogue, simulate_dialogues
from looptool.seed.links import find_links
from looptool.simulator import create_app

SMALL = {"tools_min": 3, "tools_max": 5, "turns_max": 3}
App = Callable[..., Any]


def ask(
    work: Callable[[Teacher], Any],
    noise: NoiseConfig | None = None,
    wrap: Callable[[App], App] = lambda app: app,
    **teacher: Any,
) -> Any:
    app = wrap(create_app(SimulatorConfig(noise=noise or NoiseConfig())))

    async def run() -> Any:
        settings = TeacherConfig(**{"attempts": 8, **teacher})
        async with Teacher(settings, AsgiTransport(app)) as client:
            return await work(client)

    return asyncio.run(run())


def simulate(
    *,
    noise: NoiseConfig | None = None,
    teacher: dict[str, Any] | None = None,
    target: int = 40,
    seed: int = 0,
    split: Split = Split.TRAIN,
    **config: Any,
) -> SeedOutcome:
    settings = SeedConfig.model_validate({**SMALL, **config})
    outcome: SeedOutcome = ask(
        lambda client: simulate_dialogues(
            settings, load_catalogue(), client,
            split=split, target_samples=target, random_seed=seed,
        ),
        noise,
        **(teacher or {}),
    )  # fmt: skip
    return outcome


def play(
    kind: Kind = Kind.SINGLE,
    count: int = 12,
    *,
    noise: NoiseConfig | None = None,
    wrap: Callable[[App], App] = lambda app: app,
    teacher: dict[str, Any] | None = None,
    cast: dict[str, Any] | None = None,
    numbers: Sequence[int] = (),
    tools: Any = None,
    seed: int = 0,
    date: str = "",
    proven: int = 0,
    on_played: Callable[[int], None] | None = None,
    **config: Any,
) -> Played:
    casts = [
        Cast(**{"split": Split.TRAIN, "kind": kind, "number": number, **(cast or {})})
        for number in numbers or range(count)
    ]

    async def work(client: Teacher) -> Played:
        simulation = Simulation(
            SeedConfig.model_validate({**SMALL, **config}),
            {casts[0].split: load_catalogue() if tools is None else tools},
            client,
            random_seed=seed,
            date=date,
            proven=proven,
            on_played=on_played,
        )
        return await simulation.play(casts)

    played: Played = ask(work, noise, wrap, **(teacher or {}))
    return played


def roles(dialogue: Dialogue) -> list[str]:
    return [message.role for message in dialogue.messages]


def test_the_target_is_met_exactly() -> None:
    outcome = simulate(target=60)
    assert len(outcome.samples) == len({sample.sample_id for sample in outcome.samples}) == 60
    assert outcome.missing == {}
    assert outcome.played.rejections == ()
    made = {sample.sample_id for sample in outcome.played.samples}
    assert {s.sample_id for s in (*outcome.samples, *outcome.surplus)} == made


def test_all_kinds_of_decisions_come_in_their_numbers() -> None:
    outcome = simulate(target=100)
    counts = Counter(sample.kind for sample in outcome.samples)
    assert counts == {kind: round(100 * weight) for kind, weight in SeedConfig().kinds.items()}
    for sample in outcome.samples:
        assert bool(sample.label.calls) == (
            sample.kind not in (Kind.CLARIFY, Kind.NO_TOOL, Kind.SUMMARY)
        )
        assert isinstance(sample.messages[-1], UserMessage | ToolMessage)
        assert 3 <= len(sample.tools) <= 5


def test_tools_in_context_and_difficulty_are_met_too() -> None:
    shape = {"tools": {"3": 1, "6-8": 1}, "difficulty": {"easy": 1, "hard": 1}}
    outcome = simulate(target=60, targets=shape, kinds={"single": 1.0})
    counts = Counter((len(s.tools) == 3, s.difficulty) for s in outcome.samples)
    assert counts[True, "easy"] == counts[True, "hard"] == counts[False, "easy"] == 15
    # No domain of the catalogue has six tools, so that hard dialogues over six cannot be had.
    assert {str(cell): n for cell, n in outcome.missing.items()} == {"train/single/6-8/hard": 15}


def test_dialogues_are_well_formed_and_bounded() -> None:
    outcome = simulate(target=150)
    for dialogue in outcome.played.dialogues:
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


def test_the_result_does_not_depend_on_concurrency_or_on_passing_faults() -> None:
    calm = simulate(teacher={"max_concurrency": 1}, target=20)
    faults = NoiseConfig(http_error_rate=0.02, cut_rate=0.02)
    rough = simulate(teacher={"max_concurrency": 32}, noise=faults, target=20)
    assert calm.samples == rough.samples
    assert calm.played == rough.played


def test_a_dialogue_is_the_same_whatever_else_is_played() -> None:
    many = play(numbers=range(6))
    few = play(numbers=[4, 2])
    assert few.dialogues == (many.dialogues[4], many.dialogues[2])


def test_another_seed_or_split_gives_other_dialogues() -> None:
    heldout = {"split": Split.HELDOUT_SEEN}
    ids = [
        {dialogue.dialogue_id for dialogue in played.dialogues}
        for played in (play(), play(seed=1), play(cast=heldout))
    ]
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]


def test_the_held_out_dialogues_are_written_by_their_own_model() -> None:
    asked: set[str] = set()

    def listen(app: App) -> App:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            request = await receive()
            asked.add(json.loads(request["body"])["model"])

            async def again() -> Any:
                return request

            await app(scope, again, send)

        return wrapped

    play(count=1, wrap=listen, heldout_model="scripted-expert")
    assert asked == {"scripted"}
    play(
        count=1, wrap=listen, heldout_model="scripted-expert", cast={"split": Split.HELDOUT_UNSEEN}
    )
    assert asked == {"scripted", "scripted-expert"}


def test_each_dialogue_has_its_day_unless_one_is_given() -> None:
    assert len({d.date for d in play().dialogues}) > 5
    assert {d.date for d in play(date="2031-02-03").dialogues} == {"2031-02-03"}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SUMMARY])
def test_each_kind_of_dialogue_has_its_decision(kind: Kind) -> None:
    played = play(kind)
    assert kind in {sample.kind for sample in played.samples}
    assert [one.samples for one in played.plays] == [
        sum(s.dialogue_id == d.dialogue_id for s in played.samples) for d in played.dialogues
    ]
    for dialogue in played.dialogues:
        assert dialogue.kind is kind
        if kind is Kind.RETRY:
            failed = next(m for m in dialogue.messages if isinstance(m, ToolMessage))
            assert "error" in json.loads(failed.content)
        if kind is Kind.MULTI_TURN:
            assert roles(dialogue).count("user") >= 2
        if kind is Kind.MULTI_STEP:
            assert find_links(dialogue.tools)


def test_about_half_of_the_other_tools_are_near_misses() -> None:
    played = play(count=40, tools_min=5, tools_max=5)
    shares = []
    for dialogue in played.dialogues:
        domains = [tool.domain for tool in dialogue.tools]
        shares.append(max(domains.count(domain) for domain in domains))
    assert 2.8 <= sum(shares) / len(shares) <= 3.6


@pytest.mark.parametrize(("difficulty", "alike"), [("easy", 1), ("medium", 2), ("hard", 3)])
def test_the_difficulty_says_how_many_distractors_are_near_misses(
    difficulty: str, alike: int
) -> None:
    # One large domain, and others of one tool each: the focus of a near miss is in the large one.
    tools = [
        tool.model_copy(update={"domain": "large" if number < 6 else str(number)})
        for number, tool in enumerate(load_catalogue()[:20])
    ]
    played = play(count=10, cast={"difficulty": difficulty, "tools": "3"}, tools=tools)
    for dialogue in played.dialogues:
        assert dialogue.difficulty == difficulty
        near = [tool.domain for tool in dialogue.tools].count("large")
        assert near == alike if difficulty != "easy" else near <= 2
    assert {sample.difficulty for sample in played.samples} == {difficulty}


def test_a_difficulty_that_the_tools_cannot_give_is_recorded_as_what_it_is() -> None:
    domain = load_catalogue()[0].domain
    tools = [tool for tool in load_catalogue() if tool.domain == domain]
    played = play(count=5, cast={"difficulty": "easy"}, tools=tools)
    assert {dialogue.difficulty for dialogue in played.dialogues} == {"hard"}


def test_malformed_replies_that_last_make_a_rejection() -> None:
    played = play(noise=NoiseConfig(malformed_rate=0.15), teacher={"attempts": 2}, count=40)
    broken = [one for one in played.plays if one.rule]
    assert {one.rule for one in broken} == {"teacher_malformed"}
    assert {one.dialogue_id for one in broken} == {""}
    assert len(broken) == len(played.rejections) == 40 - len(played.dialogues)
    for one, rejection in zip(broken, played.rejections, strict=True):
        assert rejection.stage == "seed"
        assert rejection.row_id == f"train/single/{one.number}"
        assert "malformed" in rejection.detail
        assert rejection.row["tools"]


def test_dialogues_that_failed_are_made_up_for() -> None:
    outcome = simulate(noise=NoiseConfig(malformed_rate=0.15), teacher={"attempts": 2}, target=30)
    assert outcome.played.rejections
    assert len(outcome.samples) == 30


def test_a_teacher_that_never_makes_sense_ends_the_search() -> None:
    outcome = simulate(
        noise=NoiseConfig(malformed_rate=1.0), teacher={"attempts": 1}, target=5,
        kinds={"single": 1.0},
    )  # fmt: skip
    assert outcome.samples == ()
    assert sum(outcome.missing.values()) == 5
    assert {one.rule for one in outcome.played.plays} == {"teacher_malformed"}


def answer_with(status: int, prompts: str = "") -> Callable[[App], App]:
    """An endpoint that answers so, to the prompts that hold a text."""

    def wrap(app: App) -> App:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            request = await receive()

            async def again() -> Any:
                return request

            if prompts.encode() not in request["body"]:
                await app(scope, again, send)
                return
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

        return wrapped

    return wrap


def test_an_endpoint_that_is_down_is_an_exception_and_not_data() -> None:
    with pytest.raises(TeacherRefused):
        play(wrap=answer_with(401))
    with pytest.raises(TeacherUnavailable):
        play(wrap=answer_with(503), teacher={"attempts": 1})


def test_a_refusal_is_about_its_dialogue_when_the_endpoint_is_known_to_answer() -> None:
    played = play(count=1, wrap=answer_with(400), proven=1)
    assert [rejection.rule for rejection in played.rejections] == ["teacher_refused"]


def test_the_budget_ends_the_stage() -> None:
    with pytest.raises(BudgetExceeded):
        play(teacher={"price_in": 1000.0, "budget_usd": 1.0})


def test_a_split_without_tools_cannot_be_played() -> None:
    with pytest.raises(ConfigError, match="no tools"):
        asyncio.run(draw_without_tools())


async def draw_without_tools() -> None:
    from looptool.seed.casting import Casting

    async with Teacher(TeacherConfig(), AsgiTransport(create_app(SimulatorConfig()))) as client:
        Casting(SeedConfig(), (), client)


def test_fewer_tools_than_asked_for_are_enough() -> None:
    played = play(count=5, tools=load_catalogue()[:2])
    assert {len(dialogue.tools) for dialogue in played.dialogues} == {2}


def test_progress_is_told_dialogue_by_dialogue() -> None:
    seen: list[int] = []
    play(count=7, on_played=seen.append)
    assert seen == [1] * 7


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
    played = play(wrap=lambda app: disagree(app, draws=1))
    assert sum(one.marked_turns for one in played.plays) == 0
    names = {call.name for sample in played.samples for call in sample.label.calls}
    assert not any(name.startswith("tool_") for name in names)


def test_three_opinions_mark_the_turn_and_end_the_dialogue() -> None:
    played = play(wrap=lambda app: disagree(app, draws=3))
    assert played.samples == ()
    assert {(one.rule, one.marked_turns) for one in played.plays} == {("no_majority", 1)}
    row = played.rejections[0].row
    assert row["marked_turns"] == [len(row["messages"]) - 1]


def test_without_self_consistency_the_first_opinion_counts() -> None:
    played = play(wrap=lambda app: disagree(app, draws=1), self_consistency=False)
    assert {s.label.calls[0].name for s in played.samples if s.label.calls} >= {"tool_1"}
    answers = [m.content for d in played.dialogues for m in d.messages if m.role == "tool"]
    assert any("there is no tool" in answer for answer in answers)
