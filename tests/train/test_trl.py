"""GRPO by TRL on a tiny random model: real steps, a real checkpoint, real metrics."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from looptool.config import TrainConfig
from looptool.errors import ConfigError, TrainingError
from looptool.records import (
    Kind,
    Label,
    Sample,
    Split,
    StepMetrics,
    ToolCall,
    UserMessage,
    make_sample,
    make_tool,
)
from looptool.train import check_checkpoint, train_policy

pytestmark = pytest.mark.engines

TOOL = make_tool(
    "get_weather",
    "Weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CONFIG = TrainConfig(
    batch_size=2,
    group_size=4,
    epochs=1,
    learning_rate=1e-3,
    max_prompt_tokens=100,
    max_response_tokens=8,
    threads=1,
    timeout_s=200,
)


def _sample(text: str, label: Label | None = None) -> Sample:
    return make_sample(
        kind=Kind.NO_TOOL,
        split=Split.TRAIN,
        tools=(TOOL,),
        messages=(UserMessage(content=text),),
        # Words are right: a random model scores on this without having learnt anything.
        label=label or Label(text="No tool fits."),
        dialogue_id=text,
    )


SAMPLES = [_sample(f"Question {i}" + " again" * (i % 3)) for i in range(6)]
TOO_LONG = _sample("word " * 200)
BROKEN = _sample("x", Label(calls=(ToolCall(name="get_weather", arguments={"city": 7}),)))


def test_a_run_writes_a_checkpoint_metrics_and_pass_counts(
    tiny_model: Path, tmp_path: Path
) -> None:
    seen: list[tuple[StepMetrics, int]] = []
    out = train_policy(
        [*SAMPLES, TOO_LONG, BROKEN],
        tiny_model,
        tmp_path / "m1",
        CONFIG,
        random_seed=3,
        on_progress=lambda step, total: seen.append((step, total)),
    )
    assert [step.step for step in out.steps] == [1, 2, 3]
    assert seen == [(step, 3) for step in out.steps]
    assert all(math.isfinite(step.loss) and step.seconds > 0 for step in out.steps)
    assert all(step.entropy is not None and step.entropy > 0 for step in out.steps)
    assert sorted(stat.sample_id for stat in out.rollouts) == sorted(s.sample_id for s in SAMPLES)
    assert all(stat.rollouts == 4 >= stat.passed for stat in out.rollouts)
    rewards = [step.reward_mean for step in out.steps]
    passed = sum(stat.passed for stat in out.rollouts)
    assert sum(rewards) / 3 == pytest.approx(passed / 24, abs=1e-6)

    report = out.report
    assert report.too_long == (TOO_LONG.sample_id,)
    assert report.defects == (BROKEN.sample_id,)
    assert (report.used, report.unused_tail, report.rollouts) == (6, 0, 24)
    assert report.generated_tokens > 0

    assert out.checkpoint_dir == tmp_path / "m1"
    assert [p.name for p in tmp_path.iterdir()] == ["m1"]
    found = check_checkpoint(out.checkpoint_dir)
    assert found == report.checkpoint
    assert found.problems == ()
    assert found.vocab_size == found.tokenizer_size
    config = json.loads((out.checkpoint_dir / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    for name in ("chat_template.jinja", "tokenizer.json"):
        assert (out.checkpoint_dir / name).read_bytes() == (tiny_model / name).read_bytes()


def test_the_same_seed_gives_the_same_metrics_and_replaces_the_checkpoint(
    tiny_model: Path, tmp_path: Path
) -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        out = train_policy(SAMPLES, tiny_model, tmp_path / "m", CONFIG, random_seed=seed)
        return [step.model_dump(exclude={"seconds"}) for step in out.steps]

    first = run(5)
    assert run(5) == first
    assert run(6) != first


def test_a_killed_training_is_a_training_error_and_leaves_nothing_behind(
    tiny_model: Path, tmp_path: Path
) -> None:
    def kill_children(_step: StepMetrics, _total: int) -> None:
        me = str(os.getpid())
        for stat in Path("/proc").glob("[0-9]*/stat"):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if fields[1] == me:
                os.kill(int(stat.parent.name), signal.SIGKILL)

    with pytest.raises(TrainingError, match="SIGKILL"):
        train_policy(
            SAMPLES, tiny_model, tmp_path / "m", CONFIG, random_seed=1, on_progress=kill_children
        )
    assert list(tmp_path.iterdir()) == []


def test_too_few_samples_are_refused_before_a_process_is_started(
    tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="do not fill one batch of 2"):
        train_policy(SAMPLES[:1], tiny_model, tmp_path / "m", CONFIG, random_seed=1)


def test_a_checkpoint_with_a_value_that_is_not_finite_is_reported(
    tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "bad"
    folder.mkdir()
    for path in tiny_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"][0] = math.nan
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    problems = check_checkpoint(folder).problems
    assert problems == ("tensor model.norm.weight holds values that are not finite",)
