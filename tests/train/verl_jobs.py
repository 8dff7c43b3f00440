"""What the tests ask of veRL itself, answered by the interpreter that has it: one op per question."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from looptool.engines.worker import Emit, serve

JsonObject = dict[str, Any]


def handle(request: JsonObject, _emit: Emit) -> JsonObject:
    ops = {
        "compose": compose,
        "prepare": prepare,
        "dataset": read_dataset,
        "rollout": run_agent_loop,
        "score": score,
        "advantages": compute_advantages,
    }
    return ops[request["op"]](request)


def load(request: JsonObject) -> Any:
    """The configuration that `prepare` wrote, as the job's processes see it."""
    from omegaconf import OmegaConf

    return OmegaConf.load(Path(request["work"]) / "config.yaml")


def load_tokenizer(config: Any) -> Any:
    from verl.utils import hf_tokenizer

    return hf_tokenizer(config.actor_rollout_ref.model.path)


def prepare(request: JsonObject) -> JsonObject:
    """Why a run is refused, empty if it is not."""
    from looptool.errors import LoopToolError
    from looptool.train.verl.prepare import prepare

    try:
        prepare(request)
    except LoopToolError as exc:
        return {"error": f"{type(exc).__name__}: {exc}"}
    return {"error": ""}


def compose(request: JsonObject) -> JsonObject:
    """A composed and validated configuration; only its resolved values come back."""
    from omegaconf import OmegaConf

    from looptool.config import TrainConfig
    from looptool.train.verl import config as verl_config

    config = TrainConfig.model_validate(request["config"])
    values = verl_config.computed_values(
        config, work=Path("/w"), base=Path(request["base"]), steps=10, random_seed=1
    )
    overlay = verl_config.find_overlay(config.verl_config)
    composed = verl_config.compose(overlay, values, config.verl_overrides)
    env = verl_config.take_env_vars(composed)
    verl_config.validate(composed)
    loaded = any(name.startswith("looptool.train.verl.cpu") for name in sys.modules)
    picked = {key: OmegaConf.select(composed, key) for key in request["keys"]}
    return {"env": env, "values": picked, "cpu_loaded": loaded}


def read_dataset(request: JsonObject) -> JsonObject:
    """The rows as veRL's own dataset and loader give them."""
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    config = load(request)
    dataset = RLHFDataset(config.data.train_files, load_tokenizer(config), config.data)
    batch = collate_fn([dataset[i] for i in range(len(dataset))])
    names = ("raw_prompt", "extra_info", "reward_model", "data_source", "index")
    return {name: [_plain(value) for value in batch[name]] for name in names}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def run_agent_loop(request: JsonObject) -> JsonObject:
    """Token ids that our agent loop sends to the server for each row."""
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.config import omega_conf_to_dataclass
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.workers.rollout.replica import TokenOutput

    from looptool.train.verl.agent import ToolPromptAgentLoop

    config = load(request)
    config.actor_rollout_ref.rollout.prompt_length = request["prompt_length"]
    tokenizer = load_tokenizer(config)
    dataset = RLHFDataset(config.data.train_files, tokenizer, config.data)
    seen: list[list[int]] = []

    class Server:
        """Remembers each prompt and answers with one token."""

        async def generate(self, prompt_ids: list[int], **_options: Any) -> Any:
            seen.append(list(prompt_ids))
            return TokenOutput(token_ids=[tokenizer.eos_token_id], log_probs=[0.0])

    async def roll_out() -> None:
        config.actor_rollout_ref.rollout = config.actor_rollout_ref.rollout
        omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
        for i in range(len(dataset)):
            loop = ToolPromptAgentLoop(
                trainer_config=DictConfigWrap(config),
                server_manager=Server(),
                tokenizer=tokenizer,
                processor=None,
                dataset_cls=RLHFDataset,
                data_config=DictConfigWrap(config.data),
                hf_model_type="qwen3",
            )
            await loop.run({}, **dataset[i])

    try:
        asyncio.run(roll_out())
    except Exception as exc:
        return {"prompts": seen, "error": f"{type(exc).__name__}: {exc}"}
    return {"prompts": seen, "error": ""}


def score(request: JsonObject) -> JsonObject:
    """What veRL's reward manager makes of texts, by the reward function of the configuration."""
    import numpy as np
    import torch
    from tensordict import TensorDict
    from verl import DataProto
    from verl.trainer.ppo.reward import load_reward_manager

    config = load(request)
    tokenizer = load_tokenizer(config)

    async def run() -> list[JsonObject]:
        manager = load_reward_manager(config, tokenizer)
        found = []
        for text, truth in request["pairs"]:
            ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
            batch = TensorDict({"responses": ids, "attention_mask": torch.ones_like(ids)}, 1)
            rows = {
                "data_source": np.array(["looptool"], dtype=object),
                "reward_model": np.array([{"ground_truth": truth}], dtype=object),
                "extra_info": np.array([{}], dtype=object),
            }
            data = DataProto(batch=batch, non_tensor_batch=rows)
            found.append(await manager.run_single(data))
        return found

    return {"scores": asyncio.run(run())}


def compute_advantages(request: JsonObject) -> JsonObject:
    """GRPO's advantages of one-token answers, by veRL's own function."""
    import numpy as np
    import torch
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    rewards = torch.tensor(request["rewards"])[:, None]
    advantages, _ = compute_grpo_outcome_advantage(
        rewards, torch.ones_like(rewards), np.array(request["groups"])
    )
    return {"advantages": advantages[:, 0].tolist()}


if __name__ == "__main__":
    serve(handle)
