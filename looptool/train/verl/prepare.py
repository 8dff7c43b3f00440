"""The child process before and after the Ray job, in the interpreter that has veRL.

`prepare`: leave out prompts that are too long, plan the batches, write the rows in the order of
training, compose and validate the configuration. `check`: inspect the exported checkpoint.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from looptool.config import TrainConfig
from looptool.engines.worker import Emit, serve
from looptool.errors import ConfigError
from looptool.train.rows import plan_batches

JsonObject = dict[str, Any]

AGENT_LOOP = "looptool.train.verl.agent.ToolPromptAgentLoop"


def handle(request: JsonObject, _emit: Emit) -> JsonObject:
    """Answer one request of the parent."""
    if request["op"] == "check":
        from looptool.train.checkpoint import inspect_checkpoint

        return dataclasses.asdict(inspect_checkpoint(Path(request["checkpoint"])))
    return prepare(request)


def prepare(request: JsonObject) -> JsonObject:
    """Write `train.parquet`, `agent_loops.yaml` and `config.yaml` into the work folder."""
    from looptool.train.verl import config as verl_config

    config = TrainConfig.model_validate(request["config"])
    work, base, seed = Path(request["work"]), Path(request["base"]), request["random_seed"]
    rows, too_long = read_rows(work / "rows.jsonl", base, config.max_prompt_tokens)
    plan = plan_batches(len(rows), config.batch_size, config.epochs, config.max_steps, seed)
    write_visits(rows, [row for batch in plan.batches for row in batch], work / "train.parquet")
    steps = len(plan.batches)
    values = verl_config.computed_values(
        config, work=work, base=base, steps=steps, random_seed=seed
    )
    composed = verl_config.compose(
        verl_config.find_overlay(config.verl_config), values, config.verl_overrides
    )
    env = verl_config.take_env_vars(composed)
    verl_config.set_environment(env)
    check_sizes(composed, config)
    verl_config.validate(composed)
    write_config(composed, work)
    return {
        "too_long": too_long,
        "used": len(plan.used),
        "unused_tail": plan.unused_tail,
        "steps": steps,
        "env": env,
        "device": composed.trainer.device,
        "gpus": composed.trainer.n_gpus_per_node * composed.trainer.nnodes,
    }


def read_rows(path: Path, base: Path, max_prompt_tokens: int) -> tuple[list[JsonObject], list[str]]:
    """The rows whose prompt fits, and the ids of those whose prompt does not."""
    from transformers import AutoTokenizer

    from looptool.engines import Prompt
    from looptool.engines.tokens import render_prompt

    tokenizer = AutoTokenizer.from_pretrained(base)
    rows: list[JsonObject] = []
    too_long: list[str] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            prompt = Prompt(messages=row["messages"], tools=row["tools"])
            if len(render_prompt(tokenizer, prompt)) > max_prompt_tokens:
                too_long.append(row["sample_id"])
            else:
                rows.append(row)
    return rows, too_long


def write_visits(rows: list[JsonObject], order: list[int], path: Path) -> None:
    """One row per visit, in the order of training."""
    from looptool.train.verl.rows import pack_row, write_rows

    write_rows([pack_row(rows[row], index) for index, row in enumerate(order)], path)


def check_sizes(composed: Any, config: TrainConfig) -> None:
    """Refuse sizes at which veRL would pad with empty rows, or cut, without saying so."""
    gpus = composed.trainer.n_gpus_per_node * composed.trainer.nnodes
    parallel = composed.actor_rollout_ref.rollout.tensor_model_parallel_size
    mini = composed.actor_rollout_ref.actor.ppo_mini_batch_size
    rollouts = config.batch_size * config.group_size
    if config.batch_size % mini:
        raise ConfigError(
            f"train.batch_size {config.batch_size} is no multiple of the mini batch {mini}; "
            "set train.mini_batch_size to a divisor"
        )
    if (mini * config.group_size) % gpus:
        raise ConfigError(
            f"{mini} prompts x {config.group_size} rollouts do not divide among {gpus} GPUs; "
            "change train.batch_size, train.mini_batch_size or train.group_size"
        )
    if gpus % parallel:
        raise ConfigError(f"{gpus} GPUs are no multiple of tensor parallel {parallel}")
    if composed.data.train_batch_size * composed.actor_rollout_ref.rollout.n != rollouts:
        raise ConfigError("train.verl_overrides must not change the batch or the group size")


def write_config(composed: Any, work: Path) -> None:
    """The file that the job runs, and the registration of our agent loop."""
    from omegaconf import OmegaConf

    OmegaConf.save(composed, work / "config.yaml")
    loop = {"name": composed.actor_rollout_ref.rollout.agent.default_agent_loop}
    OmegaConf.save([{**loop, "_target_": AGENT_LOOP}], work / "agent_loops.yaml")


if __name__ == "__main__":
    serve(handle)
