"""One real GRPO training by veRL, Ray, FSDP and vLLM on a CPU, with three callers.

The base policy trains on the same few prompts in every step. The first caller is killed by `kill -9`
on a cluster that lives on; the second one takes up the job that still runs, and is cancelled; the
third one, with a cluster of its own, ends the training. Each start costs a minute or more, so all
tests look at this one story.
"""

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
from statistics import fmean

import pytest

from benchmarks.trainers import PROMPTS, draw_samples, make_config
from looptool.config import TrainConfig
from looptool.engines import EngineOptions, Generation, Limits, open_engine
from looptool.engines.grading import build_prompt, grade
from looptool.engines.interpreter import find_python
from looptool.engines.process import package_path
from looptool.records import Sample, StepMetrics
from looptool.train import TrainOutcome, check_checkpoint, train_policy
from looptool.train.verl.cluster import start_cluster
from looptool.train.verl.supervise import find_descendants

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]

BASE = Path(__file__).parents[2] / "models" / "nano-base"
STEPS = 24
KILL_AFTER, CANCEL_AFTER = 2, 7
ROLLOUTS = 32
"""Answers to each prompt by which base and trained policy are compared."""
CONFIG = make_config("verl", STEPS).model_copy(
    update={"save_steps": 2, "timeout_s": 3000.0, "stall_timeout_s": 2400.0}
)


OF_THE_CLUSTER = ("ray::IDLE", "ray::Dashboard", "ray::RuntimeEnvAgent")
"""A cluster's own processes, which outlive its jobs."""


@dataclass
class Story:
    """What was seen on the way."""

    samples: list[Sample]
    workers: list[str] = field(default_factory=list)
    """Command lines of the job's processes before the cancellation."""
    left_by_cancelled: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    outcome: TrainOutcome | None = None


class Cancelled(Exception):
    """What a cancelled flow run raises in the midst of a task."""


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
    told = Story(draw_samples(PROMPTS))
    with (
        start_cluster(find_python("verl"), 1, folder / "ray") as jobs,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TEST_RAY_TOKEN", jobs.token)
        settings = {"ray_address": jobs.address, "ray_token_env": "TEST_RAY_TOKEN"}
        config = CONFIG.model_copy(update=settings)
        _be_killed(told, folder, config)
        _be_cancelled(told, folder / "m1", config)
    told.outcome = _train(told, folder / "m1")
    return told


def _be_killed(story: Story, folder: Path, config: TrainConfig) -> None:
    """A caller that is killed by `kill -9` when its training is under way."""
    file = folder / "samples.jsonl"
    file.write_text("".join(s.model_dump_json() + "\n" for s in story.samples), encoding="utf-8")
    script = Path(__file__).with_name("verl_caller.py")
    arguments = [str(file), str(BASE), str(folder / "m1"), config.model_dump_json()]
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
    caller.kill()
    assert caller.wait() == -signal.SIGKILL
    caller.stdout.close()
    story.seconds.append(time.monotonic() - began)


def _be_cancelled(story: Story, out: Path, config: TrainConfig) -> None:
    """A caller that is cancelled; the cluster is not its own and lives on."""

    def cancel(step: StepMetrics, _total: int) -> None:
        if step.step >= CANCEL_AFTER:
            story.workers = _find_workers()
            raise Cancelled

    with pytest.raises(Cancelled):
        _train(story, out, cancel, config)
    deadline = time.monotonic() + 60
    while (left := _find_workers()) and time.monotonic() < deadline:
        time.sleep(0.5)
    story.left_by_cancelled = left


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
    return [line for line in found if not any(name in line for name in OF_THE_CLUSTER)]


HOLD_A_CLUSTER = """
import sys, time
from pathlib import Path
from looptool.engines.interpreter import find_python
from looptool.train.verl.cluster import start_cluster
with start_cluster(find_python("verl"), 1, Path(sys.argv[1])) as jobs:
    jobs.submit("idle", "sleep 600", {})
    while jobs.status("idle")[0] == "PENDING":
        time.sleep(0.5)
    print(jobs.status("idle")[0], flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_of_a_cluster_of_its_own_when_the_caller_is_killed(tmp_path: Path) -> None:
    caller = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD_A_CLUSTER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": package_path()},
    )
    assert caller.stdout is not None
    assert caller.stdout.readline() == b"RUNNING\n"
    pids = find_descendants(caller.pid)
    assert len(pids) > 8
    caller.kill()
    assert caller.wait() == -signal.SIGKILL
    caller.stdout.close()
    deadline = time.monotonic() + 90
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def test_a_job_whose_caller_was_killed_is_taken_up_by_the_next_call(story: Story) -> None:
    found = [line for line in story.said if re.match("following Ray job .* which still runs", line)]
    assert len(found) == 1


def test_a_cancelled_training_ends_its_job_and_leaves_the_cluster(story: Story) -> None:
    assert any("EngineCore" in line for line in story.workers)
    assert len(story.workers) > 5
    assert story.left_by_cancelled == []


def test_the_last_call_resumes_at_the_last_checkpoint_and_says_so(story: Story) -> None:
    assert story.outcome is not None
    (said,) = (line for line in story.said if line.startswith("resuming from"))
    found = re.fullmatch(rf"resuming from the checkpoint of step (\d+) of {STEPS}", said)
    assert found is not None
    # A step or two may end between the report of one and the end of the job.
    assert CANCEL_AFTER - 1 <= int(found[1]) < STEPS
    assert story.outcome.report.resumed_from == int(found[1])


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


def sample_pass_rates(folder: Path, samples: Sequence[Sample]) -> list[float]:
    """Share of right answers to each prompt, sampled by transformers as the rollouts are."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from looptool.engines.tokens import render_prompt

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # on shared cores two threads mostly wait for each other
    rates = []
    for sample in samples:
        ids = torch.tensor([render_prompt(tokenizer, build_prompt(sample))])
        how = {"do_sample": True, "temperature": CONFIG.temperature, "top_k": 0, "top_p": 1.0}
        with torch.inference_mode():
            found = model.generate(ids, num_return_sequences=ROLLOUTS, max_new_tokens=96, **how)
        said = tokenizer.batch_decode(found[:, ids.size(1) :], skip_special_tokens=True)
        graded = [grade(sample, Generation(text, (1,), (0.0,), (len(text),))) for text in said]
        rates.append(sum(result.matched for result in graded) / ROLLOUTS)
    return rates


def test_the_mean_reward_on_the_prompts_rises_significantly(story: Story) -> None:
    """The prompts are fixed, so chance lies in the rollouts of each prompt alone."""
    assert story.outcome is not None
    before = sample_pass_rates(BASE, story.samples)
    after = sample_pass_rates(story.outcome.checkpoint_dir, story.samples)
    noise = sum(rate * (1 - rate) for rate in (*before, *after)) / ROLLOUTS / PROMPTS**2
    z = (fmean(after) - fmean(before)) / math.sqrt(noise)
    rewards = [step.reward_mean for step in story.outcome.steps]
    print(f"sampled reward {fmean(before):.3f} -> {fmean(after):.3f}, z = {z:.1f}")
    print(f"reward by step {[round(reward, 2) for reward in rewards]}")
    print(f"seconds of the three calls {[round(s) for s in story.seconds]}")
    assert z > 4
    assert fmean(rewards[-5:]) > fmean(rewards[:5])


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


def test_the_export_answers_the_same_in_vllm_and_in_transformers(story: Story) -> None:
    assert story.outcome is not None
    prompts = [build_prompt(sample) for sample in story.samples]
    options = EngineOptions(threads=2, cache_gib=0.25, context_tokens=1024, timeout_s=600)
    texts = {}
    for name in ("vllm", "transformers"):
        engine = open_engine(name, story.outcome.checkpoint_dir, options)
        texts[name] = [g.text for g in engine.generate(prompts, Limits(96, 768))]
        engine.close()
    assert texts["vllm"] == texts["transformers"]
    assert any("<tool_call>" in text for text in texts["vllm"])


def test_neither_optimiser_state_nor_old_checkpoints_are_left(story: Story) -> None:
    assert story.outcome is not None
    folder = story.outcome.checkpoint_dir.parent
    assert sorted(p.name for p in folder.iterdir()) == ["m1", "m1.log", "ray", "samples.jsonl"]
    assert "checkpoint exported" in (folder / "m1.log").read_text()
    assert list(Path("/dev/shm").glob("verl_weights_*")) == []
