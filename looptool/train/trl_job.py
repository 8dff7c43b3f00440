"""The trainer's child process: GRPO by TRL with the paper's settings, and the check of checkpoints.

Settings that the paper names come from `TrainConfig`; the others are chosen to fit it: `loss_type`
`dapo` is the token-mean loss over the whole batch, rewards are divided by the group's standard
deviation, the learning rate is constant, and each batch is sampled from the weights that it
updates.
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looptool.calls import compute_score
from looptool.config import TrainConfig
from looptool.engines import Prompt
from looptool.engines.worker import Emit, serve
from looptool.train.rows import BatchPlan, plan_batches

JsonObject = dict[str, Any]


class Reward:
    """Binary reward of each rollout, and the pass counts of each sample's latest visit."""

    __name__ = "match"

    def __init__(self) -> None:
        self.stats: dict[str, JsonObject] = {}
        self.seconds = 0.0

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        ground_truth: Sequence[str],
        sample_id: Sequence[str],
        visit: Sequence[int],
        **_kwargs: Any,
    ) -> list[float | None]:
        """Score decoded completions; None (masked, not 0) where the label itself is broken."""
        started = time.perf_counter()
        rewards: list[float | None] = []
        for text, truth, sample, number in zip(
            completions, ground_truth, sample_id, visit, strict=True
        ):
            score = compute_score("looptool", text, truth, None)
            rewards.append(None if score["defect"] else score["score"])
            self._count(sample, number, score)
        self.seconds += time.perf_counter() - started
        return rewards

    def _count(self, sample_id: str, visit: int, score: dict[str, float]) -> None:
        stat = self.stats.get(sample_id)
        if stat is None or stat["visit"] != visit:
            stat = {"visit": visit, "rollouts": 0, "passed": 0, "parse_errors": 0}
            self.stats[sample_id] = stat
        stat["rollouts"] += 1
        stat["passed"] += int(score["score"])
        stat["parse_errors"] += int(score["parse_error"])

    def rows(self) -> list[JsonObject]:
        """The counts as `RolloutStat` rows."""
        names = ("rollouts", "passed", "parse_errors")
        return [
            {"sample_id": sample, **{name: stat[name] for name in names}}
            for sample, stat in sorted(self.stats.items())
        ]


def handle(request: JsonObject, emit: Emit) -> JsonObject:
    """Answer one request of the parent."""
    if request["op"] == "check":
        from looptool.train.checkpoint import inspect_checkpoint

        return dataclasses.asdict(inspect_checkpoint(Path(request["checkpoint"])))
    return train(request, emit)


def train(request: JsonObject, emit: Emit) -> JsonObject:
    """Train and write the checkpoint; steps go to `emit`."""
    started = time.perf_counter()
    import torch
    from transformers import AutoTokenizer

    from looptool.engines.attention import share_grouped_keys
    from looptool.train.callback import StepReporter
    from looptool.train.checkpoint import inspect_checkpoint, write_checkpoint

    config = TrainConfig.model_validate(request["config"])
    torch.set_flush_denormal(True)
    share_grouped_keys()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    base = Path(request["base"])
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows, too_long = _read_rows(Path(request["rows"]), tokenizer, config)
    plan = plan_batches(
        len(rows), config.batch_size, config.epochs, config.max_steps, request["random_seed"]
    )
    reward = Reward()
    reporter = StepReporter(emit, total=len(plan.batches))
    trainer = _build_trainer(request, tokenizer, _lay_out(rows, plan), reward, reporter)
    loaded = time.perf_counter()
    trainer.train()
    trained = time.perf_counter()
    write_checkpoint(trainer.accelerator.unwrap_model(trainer.model), base, Path(request["out"]))
    checkpoint = inspect_checkpoint(Path(request["out"]))
    tokens = int(trainer.timings.pop("tokens", 0))
    return {
        "too_long": too_long,
        "rollouts": reward.rows(),
        "checkpoint": dataclasses.asdict(checkpoint),
        "counts": {
            "used": len(plan.used),
            "unused_tail": plan.unused_tail,
            "rollouts": len(plan.batches) * config.batch_size * config.group_size,
            "generated_tokens": tokens,
            "timings": {
                **trainer.timings,
                "reward": reward.seconds,
                "update": trainer.timings["update"] - reward.seconds,
                "load": loaded - started,
                "save": time.perf_counter() - trained,
            },
        },
    }


def _read_rows(
    path: Path, tokenizer: Any, config: TrainConfig
) -> tuple[list[JsonObject], list[str]]:
    """Rows with the prompt as text, and the ids of those whose prompt is too long."""
    rows: list[JsonObject] = []
    too_long: list[str] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            raw = json.loads(line)
            prompt = Prompt(messages=raw["messages"], tools=raw["tools"])
            text = tokenizer.apply_chat_template(
                list(prompt.messages),
                tools=list(prompt.tools) or None,
                add_generation_prompt=True,
                tokenize=False,
            )
            length = len(tokenizer(text, add_special_tokens=False)["input_ids"])
            if length > config.max_prompt_tokens:
                too_long.append(raw["sample_id"])
                continue
            fields = {name: raw[name] for name in ("sample_id", "ground_truth")}
            rows.append({"prompt": text, **fields})
    return rows, too_long


def _lay_out(rows: Sequence[JsonObject], plan: BatchPlan) -> list[JsonObject]:
    """The rows in the order in which they are trained on, each visit numbered by its step."""
    return [
        {**rows[row], "visit": step} for step, batch in enumerate(plan.batches) for row in batch
    ]


def _build_trainer(
    request: JsonObject, tokenizer: Any, visits: list[JsonObject], reward: Reward, reporter: Any
) -> Any:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig

    from looptool.train.grpo import SharedPrefixTrainer

    config = TrainConfig.model_validate(request["config"])
    rows = config.batch_size * config.group_size
    args = GRPOConfig(
        output_dir=request["work"],
        seed=request["random_seed"],
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_iterations=1,
        num_train_epochs=1,
        shuffle_dataset=False,  # the plan has shuffled
        num_generations=config.group_size,
        max_completion_length=config.max_response_tokens,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        epsilon=config.clip_low,
        epsilon_high=config.clip_high,
        beta=config.kl_coef,
        scale_rewards="group",
        loss_type="dapo",
        bf16=config.bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        pad_to_multiple_of=32,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        log_completions=False,
    )
    base = request["base"]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    sampler = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16 if config.bf16 else torch.float32
    ).eval()
    return SharedPrefixTrainer(
        model=model,
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_list(visits),
        processing_class=tokenizer,
        callbacks=[reporter],
        sampler=sampler,
    )


if __name__ == "__main__":
    serve(handle)
