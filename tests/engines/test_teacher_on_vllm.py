"""The teacher client against a real vLLM server with structured output.

The small policy behind it cannot teach. What it writes under a schema is nonsense in the right shape, so
the path to a large model can be walked: every role's own prompt is taken, the schema of its reply is
kept to, what was counted adds up, and nonsense is turned away with reasons.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from looptool.chat import AsgiTransport, Teacher
from looptool.config import (
    ExpandConfig,
    JudgeConfig,
    SeedConfig,
    SyntheticConfig,
    TeacherConfig,
    ValidateConfig,
)
from looptool.errors import TeacherError, TeacherMalformed, TeacherUnavailable
from looptool.expand import Setting, Variety, error_seeds, expand_seeds
from looptool.judge import judge_mismatches
from looptool.records import (
    Kind,
    Label,
    ProbeResult,
    Rejection,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.seed import load_catalogue, simulate_dialogues
from looptool.seed.difficulty import name_difficulty
from looptool.seed.people import load_people
from looptool.seed.synthetic import synthesise_tools
from looptool.simulator import create_app
from looptool.validate import find_label_problems, validate_samples
from tests.engines.conftest import BASE, SERVER_FLAGS, VllmServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

T = TypeVar("T")
ROLES = (
    "PlanReply",
    "UserReply",
    "AssistantReply",
    "ToolReply",
    "ToolSpecReply",
    "ReviewReply",
    "JudgeReply",
    "ExpandReply",
)
FORECAST = make_tool(
    "get_forecast",
    "Get the weather forecast for a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city"],
    },
)
SAMPLE = make_sample(
    kind=Kind.SINGLE,
    split=Split.TRAIN,
    tools=(FORECAST,),
    messages=(UserMessage(content="What's the weather forecast in Porto for 3 days?"),),
    label=Label(calls=(ToolCall(name="get_forecast", arguments={"city": "Porto", "days": 3}),)),
    date="2031-03-05",
    dialogue_id="d",
)
PROBE = ProbeResult(
    sample_id=SAMPLE.sample_id,
    output='<tool_call>\n{"name": "get_forecast", "arguments": {"city": "Porto", "days": 5}}\n'
    "</tool_call>",
    matched=False,
    relaxed=False,
    called=True,
    tokens=9,
    ppl_output=1.1,
)


class Recorder(Teacher):
    """A teacher that remembers the first request of each reply type."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: dict[str, tuple[Any, type[BaseModel]]] = {}

    async def ask(self, messages: Any, *, reply: Any, **options: Any) -> Any:
        self.asked.setdefault(reply.__name__, (messages, reply))
        return await super().ask(messages, reply=reply, **options)


async def play_all_roles(teacher: Teacher) -> None:
    """Every stage that asks a teacher, once."""
    seed = SeedConfig(tools_min=2, tools_max=2, turns_max=1, self_consistency=False)
    await simulate_dialogues(
        seed,
        load_catalogue(),
        teacher,
        split=Split.TRAIN,
        target_samples=8,
        random_seed=1,
    )
    await synthesise_tools(SyntheticConfig(), teacher, count=1, random_seed=1)
    await validate_samples([SAMPLE], ValidateConfig(), teacher, stage="validate")
    judged = await judge_mismatches(
        [(SAMPLE, PROBE)], JudgeConfig(), teacher, rule_check=find_label_problems
    )
    setting = Setting(
        config=ExpandConfig(per_seed=1),
        variety=Variety(("a nurse",), ("plain",)),
        people=load_people(),
        check=_accept,
        name_difficulty=name_difficulty,
        random_seed=1,
        iteration=1,
    )
    await expand_seeds(
        error_seeds({SAMPLE.sample_id: SAMPLE}, judged.judgements, 1), setting, teacher
    )


async def _accept(_sample: Sample) -> Rejection | None:
    return None


@pytest.fixture(scope="module")
def asked() -> dict[str, tuple[Any, type[BaseModel]]]:
    """A real prompt of each role, as the scripted teacher was asked it."""

    async def run() -> dict[str, tuple[Any, type[BaseModel]]]:
        config = TeacherConfig(model="scripted-expert")
        async with Recorder(config, AsgiTransport(create_app(config.simulator))) as teacher:
            await play_all_roles(teacher)
            return teacher.asked

    return asyncio.run(run())


def _teach(url: str, work: Callable[[Teacher], Awaitable[T]], **settings: Any) -> T:
    """What `work` makes of a teacher behind this server."""
    fields: dict[str, Any] = {
        "model": str(BASE),
        "max_tokens": 300,
        "temperature": 1.0,
        "attempts": 3,
        "patience_s": 120.0,
    } | settings

    async def run() -> T:
        async with Teacher(TeacherConfig(base_url=url, **fields)) as teacher:
            return await work(teacher)

    return asyncio.run(run())


CUT = "reached max_tokens"
OWN_RULE = "Value error"
"""What our models ask beyond the schema: an answer that says nothing is none."""


def test_what_any_role_is_told_keeps_to_its_schema(
    asked: dict[str, tuple[Any, type[BaseModel]]], server: VllmServer
) -> None:
    """A small model may talk until it is cut; nothing else may be wrong with its structure."""
    assert set(asked) == set(ROLES)

    async def work(teacher: Teacher) -> tuple[dict[str, list[BaseModel | TeacherError]], Teacher]:
        async def ask(role: str, seed: int) -> BaseModel | TeacherError:
            messages, reply = asked[role]
            try:
                return await teacher.ask(messages, reply=reply, stage=role, seed=seed)
            except TeacherError as error:
                return error

        found = {}
        for role in ROLES:
            found[role] = list(await asyncio.gather(*(ask(role, seed) for seed in range(8))))
        return found, teacher

    found, teacher = _teach(server.url, work, attempts=1)
    assert teacher.endpoints[0].format == "json_schema"
    whole = {}
    for role, replies in found.items():
        failures = [str(one) for one in replies if isinstance(one, TeacherError)]
        assert all(CUT in text or OWN_RULE in text for text in failures), failures
        whole[role] = [one for one in replies if isinstance(one, asked[role][1])]
        assert len(whole[role]) + len(failures) == 8
        usage = teacher.usage[role]
        assert (usage.requests, usage.answers, usage.estimated) == (8, len(whole[role]), 0)
        assert usage.prompt_tokens > 8 * 100
        assert 8 < usage.completion_tokens <= 8 * 300
    # Plans, tools and expansions hold lists without an end, and the small model finds none.
    for role in ("UserReply", "ToolReply", "JudgeReply"):
        assert whole[role], role


def test_the_judges_nonsense_is_counted_as_votes_and_changes_no_label(server: VllmServer) -> None:
    async def work(teacher: Teacher) -> Any:
        return await judge_mismatches(
            [(SAMPLE, PROBE)] * 4,
            JudgeConfig(votes=2, temperature=1.0),
            teacher,
            rule_check=find_label_problems,
        )

    found = _teach(server.url, work)
    votes = [vote for judgement in found.judgements for vote in judgement.votes]
    assert len(votes) == 16
    assert any(vote.verdict != "unreadable" for vote in votes)
    for judgement in found.judgements:
        assert judgement.new_label is None or judgement.verdict == "LABEL_WRONG"


def test_nonsense_is_turned_away_with_reasons(server: VllmServer) -> None:
    async def work(teacher: Teacher) -> Any:
        config = SyntheticConfig(max_attempts=4)
        return await synthesise_tools(config, teacher, count=1, random_seed=3)

    found = _teach(server.url, work, attempts=1)
    assert found.report.accepted == 0
    assert found.rejections
    assert all(row.rule and row.detail for row in found.rejections)


def test_a_reply_that_comes_too_late_is_given_up(server: VllmServer) -> None:
    async def work(teacher: Teacher) -> Any:
        messages = [{"role": "user", "content": "Plan."}]
        with pytest.raises((TeacherUnavailable, TeacherMalformed), match="within"):
            await teacher.ask(messages, reply=Endless, stage="late")
        return teacher.usage["late"]

    usage = _teach(server.url, work, timeout_s=0.05, attempts=2, max_tokens=2000)
    assert usage.failures == {"timeout": 2}


class Endless(BaseModel):
    """A reply that takes the server a while."""

    text: str


class Short(BaseModel):
    """A reply that even the smallest model ends."""

    done: bool


def test_a_server_that_is_killed_in_the_middle_is_waited_for(server: VllmServer) -> None:
    messages = [{"role": "user", "content": "Say whether it is done."}]

    async def work(teacher: Teacher) -> tuple[list[Short], dict[str, int]]:
        async def ask(seed: int) -> Short:
            return await teacher.ask(messages, reply=Short, stage="restart", seed=seed)

        first = await ask(0)
        server.kill()
        calls = [asyncio.create_task(ask(seed)) for seed in range(1, 25)]
        await asyncio.sleep(1)
        server.start()
        await asyncio.to_thread(server.wait)
        found = [first, *await asyncio.gather(*calls)]
        return found, teacher.usage["restart"].failures

    found, failures = _teach(server.url, work, patience_s=600.0, attempts=2, max_concurrency=8)
    assert len(found) == 25
    assert set(failures) == {"connection"}


def test_the_docs_name_the_flags_that_are_run_here() -> None:
    page = (BASE.parents[1] / "docs" / "teacher.md").read_text(encoding="utf-8")
    flag, value = SERVER_FLAGS[-2:]
    assert f"{flag} '{value}'" in page
    assert " ".join(SERVER_FLAGS[-5:-2]) in page
