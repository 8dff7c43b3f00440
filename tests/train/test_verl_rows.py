"""veRL rows hold a sample without loss, and what veRL logs becomes our steps."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from looptool.calls import compute_score, render_calls
from looptool.errors import ConfigError, DataError, TrainingError
from looptool.records import (
    AssistantMessage,
    Kind,
    Label,
    Sample,
    Split,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.train.rows import build_row
from looptool.train.verl.config import config_folder, find_overlay
from looptool.train.verl.rows import pack_message, pack_row, unpack_prompt, unpack_tools, write_rows
from looptool.train.verl.steps import Sizes, StepFolder, build_step, last_visits

TOOL = make_tool(
    "get_weather",
    "Weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
SECOND = make_tool("book", "", {"type": "object", "properties": {"n": {"type": "integer"}}})


def _sample(city: str = "Köln") -> Sample:
    return make_sample(
        kind=Kind.MULTI_TURN,
        split=Split.TRAIN,
        tools=(TOOL, SECOND),
        messages=(
            SystemMessage(content="Be brief."),
            UserMessage(content="Rome?"),
            AssistantMessage(
                calls=(
                    ToolCall(name="get_weather", arguments={"city": "Rome"}),
                    ToolCall(name="book", arguments={"n": 2}),
                )
            ),
            ToolMessage(name="get_weather", content='{"sun": true}'),
            ToolMessage(name="book", content="{}"),
            UserMessage(content=f"And {city}?"),
        ),
        label=Label(calls=(ToolCall(name="get_weather", arguments={"city": city}),)),
        dialogue_id="d",
    )


def _read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_a_parquet_row_gives_back_messages_tools_and_truth(tmp_path: Path) -> None:
    sample = _sample()
    write_rows([pack_row(build_row(sample), 7)], tmp_path / "x.parquet")
    row = _read(tmp_path / "x.parquet")[0]
    assert unpack_prompt(row["prompt"]) == sample.chat()
    assert unpack_tools(row["extra_info"]) == sample.tool_specs()
    assert row["extra_info"]["index"] == 7
    truth = row["reward_model"]["ground_truth"]
    assert json.loads(truth)["sample_id"] == sample.sample_id
    right = render_calls(sample.label.as_calls())
    assert compute_score(row["data_source"], right, truth, row["extra_info"])["score"] == 1


def test_arguments_of_different_calls_are_not_merged(tmp_path: Path) -> None:
    write_rows([pack_row(build_row(_sample()), 0)], tmp_path / "x.parquet")
    calls = unpack_prompt(_read(tmp_path / "x.parquet")[0]["prompt"])[2]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == [{"city": "Rome"}, {"n": 2}]


def test_the_order_of_keys_is_kept() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": 2}}}
    packed = pack_message({"role": "assistant", "content": "", "tool_calls": [call]})
    assert '{"z": 1, "a": 2}' in packed["tool_calls"]


@pytest.mark.parametrize("message", [{"role": "user", "content": []}, {"role": "user", "x": "y"}])
def test_a_message_that_would_lose_something_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        pack_message(message)


def test_an_unknown_overlay_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="known: laptop_cpu, one_gpu, paper_32b, paper_8b"):
        find_overlay("paper")
    assert find_overlay(str(config_folder() / "one_gpu.yaml")).name == "one_gpu.yaml"


SIZES = Sizes(batch_size=2, group_size=2, max_response_tokens=32)
LOGGED = {
    "actor/pg_loss": 0.25,
    "actor/pg_clipfrac": 0.125,
    "actor/entropy": 1.5,
    "response_length/mean": 20.0,
    "response_length/max": 32.0,
    "response_length/clip_ratio": 0.25,
    "timing_s/step": 3.0,
    "timing_s/gen": 2.0,
    "timing_s/update_actor": 0.5,
    "timing_s/old_log_prob": 0.25,
}


def _rollout(uid: str, sample: str, score: float, output: str = "No.") -> dict[str, Any]:
    gts = json.dumps({"sample_id": sample, "calls": [], "tools": []})
    return {"uid": uid, "gts": gts, "score": score, "output": output, "step": 1}


ROLLOUTS = [
    _rollout("g1_0_0", "a", 1.0),
    _rollout("g1_1_0", "a", 0.0, "<tool_call>{"),
    _rollout("g2_0_0", "b", 0.0),
    _rollout("g2_1_0", "b", 0.0),
]


def test_a_step_counts_signal_passes_and_unreadable_answers() -> None:
    step = build_step(1, LOGGED, ROLLOUTS, SIZES)
    found = step.metrics
    assert (found.reward_mean, found.reward_std) == (0.25, 0.25)
    assert (found.zero_variance_rate, found.pass_any_rate) == (0.5, 0.5)
    assert (found.truncated_rate, found.parse_error_rate, found.masked) == (0.25, 0.25, 0)
    assert (found.loss, found.entropy, found.clip_rate, found.seconds) == (0.25, 1.5, 0.125, 3.0)
    assert [(s.sample_id, s.rollouts, s.passed, s.parse_errors) for s in step.rollouts] == [
        ("a", 2, 1, 1),
        ("b", 2, 0, 0),
    ]
    assert step.tokens == 80
    assert step.timings == {"generate": 2.0, "update": 0.75, "save": 0.0}


def test_a_short_longest_answer_is_not_truncated() -> None:
    logged = {**LOGGED, "response_length/max": 31.0}
    assert build_step(1, logged, ROLLOUTS, SIZES).metrics.truncated_rate == 0


def test_a_rollout_that_failed_is_masked_and_not_scored_zero() -> None:
    found = build_step(1, LOGGED, ROLLOUTS[:1] + ROLLOUTS[2:], SIZES).metrics
    assert found.masked == 1
    assert found.reward_mean == pytest.approx(1 / 3)


def test_a_step_without_any_rollout_is_an_error() -> None:
    with pytest.raises(TrainingError, match="all of them failed"):
        build_step(1, LOGGED, [], SIZES)


def _write(work: Path, number: int, rollouts: list[dict[str, Any]]) -> None:
    (work / "rollouts").mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rollouts)
    (work / "rollouts" / f"{number}.jsonl").write_text(text)


def _log(work: Path, numbers: list[int]) -> Path:
    path = work / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": n, "data": LOGGED}) + "\n" for n in numbers))
    return path


def test_steps_are_read_once_whole_and_survive_a_resumed_run(tmp_path: Path) -> None:
    folder = StepFolder(tmp_path, SIZES)
    log = _log(tmp_path, [1, 2])
    _write(tmp_path, 1, [*ROLLOUTS, _rollout("pad0_0_0", "a", 0.0)])
    _write(tmp_path, 2, ROLLOUTS[:3])
    assert [m.step for m in folder.read_new(log, ended=False)] == [1]  # 2 is being written
    assert folder.read_new(log, ended=False) == []
    assert [m.masked for m in folder.read_new(log, ended=True)] == [1]
    assert list((tmp_path / "rollouts").iterdir()) == []

    again = StepFolder(tmp_path, SIZES)
    again.forget_after(1)
    assert [step.metrics.step for step in again.read_all()] == [1]
    _write(tmp_path, 2, [_rollout(f"g_{i}_0", "b", 1.0) for i in range(4)])
    again.read_new(_log(tmp_path, [2]), ended=False)
    passed = {stat.sample_id: stat.passed for stat in last_visits(again.read_all())}
    assert passed == {"a": 1, "b": 4}


def test_a_logged_step_without_rollouts_is_an_error_at_the_end(tmp_path: Path) -> None:
    folder = StepFolder(tmp_path, SIZES)
    log = _log(tmp_path, [1])
    assert folder.read_new(log, ended=False) == []
    with pytest.raises(TrainingError, match="wrote no"):
        folder.read_new(log, ended=True)
