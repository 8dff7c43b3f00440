"""The parts of a veRL run without Ray and without vLLM, each by veRL's own code."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from looptool.calls import render_calls
from looptool.config import TrainConfig
from looptool.engines.interpreter import find_python
from looptool.engines.process import Child, package_path, run_in_child
from looptool.records import (
    AssistantMessage,
    Kind,
    Label,
    Sample,
    Split,
    ToolCall,
    ToolMessage,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.train.rows import build_row

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

JOBS = "verl_jobs"
# Not `tests.train.verl_jobs`: veRL brings a package named tests.
JOBS_PATH = {"PYTHONPATH": os.pathsep.join([package_path(), str(Path(__file__).parent)])}
BASE = Path(__file__).parents[2] / "models" / "nano-base"
TOOLS = (
    make_tool(
        "get_weather",
        "Weather of a city",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
            },
            "required": ["city"],
        },
    ),
    make_tool("book", "Books", {"type": "object", "properties": {"n": {"type": "integer"}}}),
)
CONFIG = TrainConfig(
    trainer="verl",
    verl_config="laptop_cpu",
    batch_size=2,
    group_size=4,
    epochs=2,
    max_prompt_tokens=300,
    max_response_tokens=32,
)


def _sample(text: str) -> Sample:
    return make_sample(
        kind=Kind.MULTI_TURN,
        split=Split.TRAIN,
        tools=TOOLS,
        messages=(
            UserMessage(content="Rome?"),
            AssistantMessage(
                calls=(ToolCall(name="get_weather", arguments={"unit": "f", "city": "Rome"}),)
            ),
            ToolMessage(name="get_weather", content='{"sun": true}'),
            UserMessage(content=text),
        ),
        label=Label(calls=(ToolCall(name="get_weather", arguments={"city": "Köln"}),)),
        dialogue_id=text,
    )


SAMPLES = [_sample(f"And Köln, number {i}?" + " Please!" * i) for i in range(5)]
TOO_LONG = _sample("word " * 300)


def _write_rows(work: Path, config: TrainConfig, samples: list[Sample]) -> dict[str, Any]:
    """The request to prepare these samples in a folder."""
    rows = [build_row(sample) for sample in samples]
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "op": "prepare",
        "work": str(work),
        "base": str(BASE),
        "config": config.model_dump(mode="json"),
        "random_seed": 1,
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    work = tmp_path_factory.mktemp("verl")
    request = _write_rows(work, CONFIG, [*SAMPLES, TOO_LONG])
    prepare = "looptool.train.verl.prepare"
    return work, run_in_child(prepare, request, timeout_s=600, python=find_python("verl"))


@pytest.fixture(scope="module")
def verl(prepared: tuple[Path, dict[str, Any]]) -> Iterator[Child]:
    """A process that has veRL imported on the CPU platform."""
    env = {**prepared[1]["env"], **JOBS_PATH}
    with Child(JOBS, env=env, python=find_python("verl")) as child:
        yield child


@pytest.fixture(scope="module")
def plain_verl() -> Iterator[Child]:
    """A process that has veRL imported as on a machine with GPUs."""
    with Child(JOBS, env=JOBS_PATH, python=find_python("verl")) as child:
        yield child


def _ask(child: Child, op: str, work: Path, **request: Any) -> dict[str, Any]:
    return child.request({"op": op, "work": str(work), **request}, timeout_s=600)


def test_long_prompts_are_listed_and_batches_planned(
    prepared: tuple[Path, dict[str, Any]],
) -> None:
    found = prepared[1]
    assert found["too_long"] == [TOO_LONG.sample_id]
    assert (found["steps"], found["used"], found["unused_tail"]) == (5, 5, 0)
    assert (found["device"], found["gpus"]) == ("cpu", 1)


def test_verls_dataset_gives_every_visit_in_order(
    prepared: tuple[Path, dict[str, Any]], verl: Child
) -> None:
    from looptool.train.verl.rows import unpack_prompt, unpack_tools

    found = _ask(verl, "dataset", prepared[0])
    assert found["index"] == list(range(10))
    by_id = {sample.sample_id: sample for sample in SAMPLES}
    first, second = found["extra_info"][:5], found["extra_info"][5:]
    for epoch in (first, second):
        assert {info["sample_id"] for info in epoch} == set(by_id)
    for i in range(10):
        sample = by_id[found["extra_info"][i]["sample_id"]]
        assert unpack_prompt(found["raw_prompt"][i]) == sample.chat()
        assert unpack_tools(found["extra_info"][i]) == sample.tool_specs()
        truth = json.loads(found["reward_model"][i]["ground_truth"])
        assert truth["calls"] == sample.label.as_calls()


def test_a_rollout_sees_exactly_the_tokens_that_the_probe_sees(
    prepared: tuple[Path, dict[str, Any]], verl: Child
) -> None:
    from transformers import AutoTokenizer

    from looptool.engines.grading import build_prompt
    from looptool.engines.tokens import render_prompt

    order = [info["sample_id"] for info in _ask(verl, "dataset", prepared[0])["extra_info"]]
    found = _ask(verl, "rollout", prepared[0], prompt_length=300)
    assert found["error"] == ""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    probed = {s.sample_id: render_prompt(tokenizer, build_prompt(s)) for s in SAMPLES}
    assert found["prompts"] == [probed[sample_id] for sample_id in order]


def test_a_prompt_that_does_not_fit_is_an_error_and_never_cut(
    prepared: tuple[Path, dict[str, Any]], verl: Child
) -> None:
    found = _ask(verl, "rollout", prepared[0], prompt_length=20)
    assert found["prompts"] == []
    assert found["error"].startswith("DataError: a prompt of")


def test_the_reward_is_our_matching_rule(
    prepared: tuple[Path, dict[str, Any]], verl: Child
) -> None:
    from looptool.train.verl.rows import pack_row

    truth = pack_row(build_row(SAMPLES[0]), 0)["reward_model"]["ground_truth"]
    right = render_calls(SAMPLES[0].label.as_calls())
    texts = [right, f"<think>hm</think>\n{right}", "No.", right + right, "<tool_call>{"]
    found = _ask(verl, "score", prepared[0], pairs=[[text, truth] for text in texts])["scores"]
    assert [one["reward_score"] for one in found] == [1, 1, 0, 0, 0]
    assert [one["reward_extra_info"]["parse_error"] for one in found] == [0, 0, 0, 0, 1]


def test_advantages_are_normalised_by_the_group(
    prepared: tuple[Path, dict[str, Any]], verl: Child
) -> None:
    rewards, groups = [1.0, 0.0, 1.0, 1.0, 0.0], ["a", "a", "b", "b", "c"]
    found = _ask(verl, "advantages", prepared[0], rewards=rewards, groups=groups)["advantages"]
    assert found[:4] == pytest.approx([0.7071, -0.7071, 0, 0], abs=1e-3)


PAPER = {
    "algorithm.adv_estimator": "grpo",
    "data.train_batch_size": 128,
    "data.max_prompt_length": 4096,
    "data.max_response_length": 1024,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.clip_ratio_low": 0.2,
    "actor_rollout_ref.actor.clip_ratio_high": 0.28,
    "actor_rollout_ref.actor.use_kl_loss": False,
    "actor_rollout_ref.actor.entropy_coeff": 0,
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "actor_rollout_ref.rollout.n": 16,
    "actor_rollout_ref.rollout.temperature": 1.0,
}


@pytest.mark.parametrize(
    ("overlay", "gpus"), [("one_gpu", (1, 1, 1)), ("paper_8b", (1, 8, 8)), ("paper_32b", (4, 8, 4))]
)
def test_every_overlay_passes_verls_validator_with_the_papers_values(
    overlay: str, gpus: tuple[int, int, int], plain_verl: Child
) -> None:
    hardware = (
        "trainer.nnodes",
        "trainer.n_gpus_per_node",
        "actor_rollout_ref.rollout.tensor_model_parallel_size",
    )
    config = TrainConfig(trainer="verl", verl_config=overlay)
    request = {"op": "compose", "config": config.model_dump(mode="json"), "base": str(BASE)}
    found = plain_verl.request({**request, "keys": [*PAPER, *hardware]}, timeout_s=600)
    assert {key: found["values"][key] for key in PAPER} == PAPER
    assert tuple(found["values"][key] for key in hardware) == gpus
    assert (found["env"], found["cpu_loaded"]) == ({}, False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trainer.total_epoch": 3}, "veRL has no setting trainer.total_epoch"),
        ({"actor_rollout_ref.rollout.temprature": 1}, "veRL refuses .*temprature"),
        ({"actor_rollout_ref.actor.ppo_mini_batch_size": 3}, "no multiple of the mini batch 3"),
        ({"actor_rollout_ref.actor.loss_agg_mode": "mean"}, "veRL refuses .*loss_agg_mode"),
        ({"trainer.n_gpus_per_node": 3}, "do not divide among 3 GPUs"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_starts(
    tmp_path: Path, verl: Child, overrides: dict[str, Any], message: str
) -> None:
    config = CONFIG.model_copy(update={"verl_overrides": overrides})
    found = verl.request(_write_rows(tmp_path, config, SAMPLES), timeout_s=600)["error"]
    assert re.match(f"ConfigError: .*{message}", found, re.DOTALL), found


def test_samples_that_fill_no_batch_once_long_ones_are_left_out_are_refused(
    tmp_path: Path, verl: Child
) -> None:
    request = _write_rows(tmp_path, CONFIG, [SAMPLES[0], TOO_LONG])
    found = verl.request(request, timeout_s=600)["error"]
    assert found.startswith("ConfigError: 1 trainable samples do not fill one batch of 2")
