"""From a mismatch to validated new samples, with the scripted teacher behind the real client."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from looptool.calls import render_calls
from looptool.chat import AsgiTransport, Teacher
from looptool.config import (
    ExpandConfig,
    JudgeConfig,
    NoiseConfig,
    SimulatorConfig,
    TeacherConfig,
    ValidateConfig,
)
from looptool.expand import ExpandOutcome, Setting, Variety, error_seeds, expand_seeds
from looptool.judge import JudgeOutcome, judge_mismatches
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
from looptool.seed.difficulty import name_difficulty
from looptool.seed.people import load_people
from looptool.simulator import create_app
from looptool.validate import ValidationOutcome, find_label_problems, validate_samples

FORECAST = make_tool(
    "get_forecast",
    "Get the weather forecast for a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city"],
    },
)
FIND = make_tool(
    "find_recipes",
    "Find recipes with given ingredients.",
    {
        "type": "object",
        "properties": {"ingredients": {"type": "array", "items": {"type": "string"}}},
        "required": ["ingredients"],
    },
)


def make(text: str, kind: Kind, label: Label) -> Sample:
    return make_sample(
        kind=kind,
        split=Split.TRAIN,
        tools=(FORECAST, FIND),
        messages=(UserMessage(content=text),),
        label=label,
        date="2031-03-05",
        dialogue_id=f"d-{text}",
    )


def forecast(**arguments: Any) -> ToolCall:
    return ToolCall(name="get_forecast", arguments=arguments)


def answer(call: ToolCall) -> str:
    return render_calls([{"name": call.name, "arguments": call.arguments}])


PORTO, FARO = forecast(city="Porto", days=3), forecast(city="Faro", days=2)
PREDICTION_WRONG = make(
    "What's the weather forecast in Porto for 3 days?", Kind.SINGLE, Label(calls=(PORTO,))
)
LABEL_WRONG = make(
    "What's the weather forecast in Faro for 2 days?",
    Kind.SINGLE,
    Label(calls=(forecast(city="Faro", days=3),)),
)
SHOULD_ASK = make("Get me the weather forecast.", Kind.CLARIFY, Label(text="For which city?"))
OUTPUTS = [
    (PREDICTION_WRONG, answer(forecast(city="Porto", days=5))),
    (LABEL_WRONG, answer(FARO)),
    (SHOULD_ASK, answer(forecast(city="Porto"))),
]


def pairs() -> list[tuple[Sample, ProbeResult]]:
    return [
        (
            sample,
            ProbeResult(
                sample_id=sample.sample_id,
                output=output,
                matched=False,
                relaxed=False,
                called=True,
                tokens=9,
                ppl_output=1.1,
            ),
        )
        for sample, output in OUTPUTS
    ]


async def run(noise: NoiseConfig) -> tuple[JudgeOutcome, ExpandOutcome, ValidationOutcome]:
    app = create_app(SimulatorConfig(seed=3, noise=noise))
    async with Teacher(TeacherConfig(), AsgiTransport(app)) as teacher:
        judged = await judge_mismatches(
            pairs(), JudgeConfig(), teacher, rule_check=find_label_problems
        )
        rows = {sample.sample_id: sample for sample, _ in pairs()}

        async def check(sample: Sample) -> Rejection | None:
            found = await validate_samples([sample], ValidateConfig(), teacher, stage="expand")
            return found.rejected[0] if found.rejected else None

        setting = Setting(
            config=ExpandConfig(per_seed=3),
            variety=Variety(("a student", "a nurse"), ("plain", "terse", "chatty")),
            people=load_people(),
            check=check,
            name_difficulty=name_difficulty,
            random_seed=1,
            iteration=1,
        )
        grown = await expand_seeds(error_seeds(rows, judged.judgements, 1), setting, teacher)
        kept = await validate_samples(
            [PREDICTION_WRONG, SHOULD_ASK, *grown.samples],
            ValidateConfig(),
            teacher,
            stage="validate",
        )
    return judged, grown, kept


def test_a_mismatch_becomes_validated_new_samples() -> None:
    judged, grown, kept = asyncio.run(run(NoiseConfig()))
    assert [j.verdict for j in judged.judgements] == ["PRED_WRONG", "LABEL_WRONG", "PRED_WRONG"]
    assert judged.judgements[1].new_label == Label(calls=(FARO,))
    assert judged.judgements[2].error_type == "should_ask"
    kinds = Counter(sample.kind for sample in grown.samples)
    assert kinds == {Kind.CLARIFY: 3, Kind.SINGLE: 6}
    assert kept.rejected == ()


def test_the_same_run_gives_the_same_rows() -> None:
    assert asyncio.run(run(NoiseConfig())) == asyncio.run(run(NoiseConfig()))


def test_malformed_replies_are_asked_again() -> None:
    judged, grown, _ = asyncio.run(run(NoiseConfig(malformed_rate=0.3)))
    assert [j.verdict for j in judged.judgements] == ["PRED_WRONG", "LABEL_WRONG", "PRED_WRONG"]
    assert len(grown.samples) == 9


@pytest.mark.parametrize("output", ["I cannot do that.", "<tool_call>{oops"])
def test_a_prediction_that_says_nothing_useful_is_wrong(output: str) -> None:
    async def work() -> JudgeOutcome:
        async with Teacher(
            TeacherConfig(), AsgiTransport(create_app(SimulatorConfig()))
        ) as teacher:
            sample, result = pairs()[0]
            return await judge_mismatches(
                [(sample, result.model_copy(update={"output": output}))],
                JudgeConfig(),
                teacher,
                rule_check=find_label_problems,
            )

    assert asyncio.run(work()).judgements[0].verdict == "PRED_WRONG"
