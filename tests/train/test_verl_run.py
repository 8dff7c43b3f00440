"""One real GRPO training by veRL, Ray, FSDP and vLLM on a CPU: killed once, cancelled once, then ended.

The base policy trains on the same few prompts in every step. The first caller, with a Ray cluster of
its own, is killed by `kill -9`; the second one, on a cluster that lives on, is cancelled; the third
one ends the training. Each start costs a minute or more, so all tests look at this one story.
"""

import asyncio
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from looptool.chat import AsgiTransport, Teacher
from looptool.config import SeedConfig, TeacherConfig, TrainConfig
from looptool.engines.interpreter import engines_pythons, find_python
from looptool.engines.process import package_path
from looptool.records import Sample, Split, StepMetrics
from looptool.seed import load_catalogue, simulate_dialogues
from looptool.simulator import create_app
from looptool.train import TrainOutcome, check_checkpoint, train_policy
from looptool.train.verl.cluster import start_cluster
from looptool.train.verl.supervise import find_descendants

NEEDS_VERL = pytest.mark.skipif(
    not any(path.is_file() for path in engines_pythons()), reason="veRL is missing: make engines"
)
pytestmark = [pytest.mark.engines, NEEDS_VERL, pytest.mark.timeout(2700)]

BASE = Path(__file__).parents[2] / "models" / "nano-base"
PROMPTS = 8
STEPS = 22
KILL_AFTER, CANCEL_AFTER = 3, 6
CONFIG = TrainConfig(
    trainer="verl",
    verl_config="laptop_cpu",
    batch_size=PROMPTS,
    group_size=8,
    epochs=STEPS,
    learning_rate=3e-4,
    temperature=1.3,
    max_prompt_tokens=768,
    max_response_tokens=96,
    save_steps=2,
    timeout_s=2400,
    stall_timeout_s=1200,
)


@dataclass
class Story:
    """What was seen on the way."""

    samples: list[Sample]
    killed_pids: list[int] = field(default_factory=list)
    left_by_killed: list[int] = field(default_factory=list)
    left_by_cancelled: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    outcome: TrainOutcome | None = None


class Cancelled(Exception):
    """What a cancelled flow run raises in the midst of a task."""


def _draw_samples() -> list[Sample]:
    """Samples of the scripted expert, as the seed stage makes them."""
    config = SeedConfig(
        train_samples=40, tools_min=2, tools_max=3, turns_max=2, self_consistency=False
    )

    async def run() -> Sequence[Sample]:
        teaching = TeacherConfig(model="scripted-expert")
        async with Teacher(teaching, AsgiTransport(create_app(teaching.simulator))) as teacher:
            made = await simulate_dialogues(
                config,
                load_catalogue(),
                teacher,
                split=Split.TRAIN,
                target_samples=config.train_samples,
                random_seed=1,
            )
            return made.samples

    return sorted(asyncio.run(run()), key=lambda s: len(str(s.chat())))[:PROMPTS]


def _train(
    story: Story,
    out: Path,
    on_step: Callable[[StepMetrics, int], None] | None = None,
    config: TrainConfig = CONFIG,
) -> TrainOutcome:
    began = time.monotonic()
    try:
        return train_policy(
            story.samples,
            BASE,
            out,
            config,
            random_seed=7,
            on_progress=on_step,
            on_log=story.said.append,
        )
    finally:
        story.seconds.append(time.monotonic() - began)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    told = Story(_draw_samples())
    _be_killed(told, folder)
    _be_cancelled(told, folder / "m1")
    told.outcome = _train(told, folder / "m1")
    return told


def _be_killed(story: Story, folder: Path) -> None:
    """A caller that is killed by `kill -9` when its training is under way."""
    file = folder / "samples.jsonl"
    file.write_text("".join(s.model_dump_json() + "\n" for s in story.samples), encoding="utf-8")
    script = Path(__file__).with_name("verl_caller.py")
    arguments = [str(file), str(BASE), str(folder / "m1"), CONFIG.model_dump_json()]
    began = time.monotonic()
    caller = subprocess.Popen(
        [sys.executable, "-P", str(script), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": package_path()},
    )
    assert caller.stdout is not None
    for line in caller.stdout:
        if int(line) >= KILL_AFTER:
            break
    story.killed_pids = find_descendants(caller.pid)
    caller.kill()
    assert caller.wait() == -signal.SIGKILL
    caller.stdout.close()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        story.left_by_killed = [p for p in story.killed_pids if Path(f"/proc/{p}").exists()]
        if not story.left_by_killed:
            break
        time.sleep(0.5)
    story.seconds.append(time.monotonic() - began)


def _be_cancelled(story: Story, out: Path) -> None:
    """A caller that is cancelled; the cluster is not its own and lives on."""

    def cancel(step: StepMetrics, _total: int) -> None:
        if step.step >= CANCEL_AFTER:
            raise Cancelled

    logs = out.with_name("ray")
    with (
        start_cluster(find_python("verl"), 1, logs) as jobs,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TEST_RAY_TOKEN", jobs.token)
        settings = {"ray_address": jobs.address, "ray_token_env": "TEST_RAY_TOKEN"}
        with pytest.raises(Cancelled):
            _train(story, out, cancel, CONFIG.model_copy(update=settings))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            story.left_by_cancelled = _find_workers()
            if not story.left_by_cancelled:
                break
            time.sleep(0.5)


def _find_workers() -> list[str]:
    """Command lines of our descendants that belong to a training, not to the cluster."""
    found = []
    for pid in find_descendants(os.getpid()):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if any(mark in line for mark in ("ray::", "VLLM", "verl.job", "main_ppo", "spawn_main")):
            found.append(line)
    return [line for line in found if "ray::IDLE" not in line and "ray::Dashboard" not in line]


def test_nothing_is_left_of_a_training_whose_caller_was_killed(story: Story) -> None:
    assert len(story.killed_pids) > 10
    assert story.left_by_killed == []


def test_a_cancelled_training_ends_its_job_and_leaves_the_cluster(story: Story) -> None:
    assert story.left_by_cancelled == []


def test_each_new_call_resumes_at_the_last_checkpoint_and_says_so(story: Story) -> None:
    assert story.outcome is not None
    said = [line for line in story.said if line.startswith("resuming from")]
    pattern = rf"resuming from the checkpoint of step (\d+) of {STEPS}"
    first, second = (int(re.fullmatch(pattern, line)[1]) for line in said)  # type: ignore[index]
    # A step may end between its report and the signal that it was awaited for.
    assert first in (2, 4)
    assert second in (6, 8)
    assert story.outcome.report.resumed_from == second


def test_every_step_is_reported_once(story: Story) -> None:
    assert story.outcome is not None
    steps = story.outcome.steps
    assert [step.step for step in steps] == list(range(1, STEPS + 1))
    assert all(math.isfinite(step.loss) and step.seconds > 0 for step in steps)
    assert all(step.entropy is not None and step.entropy > 0 for step in steps)
    assert all(step.clip_rate is not None and 0 <= step.clip_rate < 1 for step in steps)
    assert sum(step.masked for step in steps) == 0
    report = story.outcome.report
    assert report.rollouts == STEPS * PROMPTS * CONFIG.group_size
    assert (report.used, report.unused_tail, report.steps) == (PROMPTS, 0, STEPS)


def test_the_reward_rises_significantly(story: Story) -> None:
    assert story.outcome is not None
    rewards = [step.reward_mean for step in story.outcome.steps]
    n = 5 * PROMPTS * CONFIG.group_size
    first, last = sum(rewards[:5]) / 5, sum(rewards[-5:]) / 5
    pooled = (first + last) / 2
    z = (last - first) / math.sqrt(pooled * (1 - pooled) * 2 / n)
    print(
        f"reward {first:.3f} -> {last:.3f}, z = {z:.1f}; by step {[round(r, 2) for r in rewards]}"
    )
    print(f"seconds of the three calls {[round(s) for s in story.seconds]}")
    assert z > 4


def test_the_pass_counts_are_those_of_the_last_epoch(story: Story) -> None:
    assert story.outcome is not None
    stats = story.outcome.rollouts
    assert sorted(s.sample_id for s in stats) == sorted(s.sample_id for s in story.samples)
    passed = sum(s.passed for s in stats)
    assert passed / (PROMPTS * CONFIG.group_size) == pytest.approx(
        story.outcome.steps[-1].reward_mean
    )


def test_the_export_loads_generates_and_differs_from_the_base(story: Story) -> None:
    from safetensors.torch import load_file

    assert story.outcome is not None
    folder = story.outcome.checkpoint_dir
    found = check_checkpoint(folder)
    assert found.problems == ()
    assert found == story.outcome.report.checkpoint
    assert found.parameters == check_checkpoint(BASE).parameters
    for name in ("chat_template.jinja", "tokenizer.json"):
        assert (folder / name).read_bytes() == (BASE / name).read_bytes()
    old, new = load_file(BASE / "model.safetensors"), load_file(folder / "model.safetensors")
    assert {str(t.dtype) for t in new.values()} == {"torch.bfloat16"}
    assert any(not new[name].equal(old[name].to(new[name].dtype)) for name in new if name in old)


def test_neither_optimiser_state_nor_old_checkpoints_are_left(story: Story) -> None:
    assert story.outcome is not None
    folder = story.outcome.checkpoint_dir.parent
    assert sorted(p.name for p in folder.iterdir()) == ["m1", "m1.log", "ray", "samples.jsonl"]
    assert "checkpoint exported" in (folder / "m1.log").read_text()
    assert list(Path("/dev/shm").glob("verl_weights_*")) == []
