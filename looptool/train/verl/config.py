"""veRL's configuration of one run: its own `ppo_trainer`, our differences, the profile's values.

Three layers over veRL's defaults: `verl_configs/grpo.yaml` (what every run changes), an overlay of
the hardware (`train.verl_config`), and values computed from the profile (`computed_values`), over
which `train.verl_overrides` has the last word. A key that veRL does not know is an error, and the
whole is checked by veRL's own validator before a GPU is touched. The result is one file, and that
file is what the job runs.

`compose` needs hydra, `validate` needs veRL: they run in the interpreter of `train.python`.
"""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from looptool.config import TrainConfig
from looptool.errors import ConfigError

JsonObject = dict[str, Any]

OPEN_NODES = ("override_config", "engine_kwargs", "ray_init")
"""Mappings that veRL hands on to others: any key may be added below them."""
ENV_VARS = "ray_kwargs.ray_init.runtime_env.env_vars"
"""Where an overlay names environment variables; the Ray job gets them."""


def config_folder() -> Path:
    """`verl_configs/`: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package.parent / "verl_configs", package / "_verl_configs"):
        if (folder / "grpo.yaml").is_file():
            return folder
    raise ConfigError(f"no verl_configs beside {package}; reinstall looptool or restore the folder")


def find_overlay(name: str) -> Path:
    """The overlay's file: a name in `verl_configs/`, or a path to a YAML file of one's own."""
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path.resolve()
        raise ConfigError(f"train.verl_config {name} is no file")
    folder = config_folder()
    known = sorted(p.stem for p in folder.glob("*.yaml") if p.stem != "grpo")
    if name not in known:
        raise ConfigError(f"unknown train.verl_config {name!r}; known: {', '.join(known)}")
    return folder / f"{name}.yaml"


def computed_values(
    config: TrainConfig, *, work: Path, base: Path, steps: int, random_seed: int
) -> JsonObject:
    """What the profile says, by veRL's dotted names."""
    rows = str(work / "train.parquet")
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    return {
        "data.train_files": rows,
        "data.val_files": rows,
        "data.train_batch_size": config.batch_size,
        "data.max_prompt_length": config.max_prompt_tokens,
        "data.max_response_length": config.max_response_tokens,
        "data.seed": random_seed,
        "actor_rollout_ref.model.path": str(base),
        f"{actor}.ppo_mini_batch_size": config.mini_batch_size or config.batch_size,
        f"{actor}.clip_ratio": config.clip_low,
        f"{actor}.clip_ratio_low": config.clip_low,
        f"{actor}.clip_ratio_high": config.clip_high,
        f"{actor}.use_kl_loss": config.kl_coef > 0,
        f"{actor}.kl_loss_coef": config.kl_coef,
        f"{actor}.data_loader_seed": random_seed,
        f"{actor}.optim.lr": config.learning_rate,
        f"{actor}.fsdp_config.seed": random_seed,
        f"{rollout}.n": config.group_size,
        f"{rollout}.temperature": config.temperature,
        f"{rollout}.seed": random_seed,
        f"{rollout}.max_model_len": config.max_prompt_tokens + config.max_response_tokens,
        f"{rollout}.agent.agent_loop_config_path": str(work / "agent_loops.yaml"),
        "trainer.experiment_name": work.name,
        "trainer.total_training_steps": steps,
        "trainer.default_local_dir": str(work / "checkpoints"),
        "trainer.rollout_data_dir": str(work / "rollouts"),
        "trainer.save_freq": min(config.save_steps, steps),
        "trainer.max_actor_ckpt_to_keep": config.keep_checkpoints,
    }


def compose(overlay: Path, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> Any:
    """The whole configuration (an OmegaConf mapping); raises ConfigError for unknown keys."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(verl_config_folder()), version_base=None):
        config = hydra_compose("ppo_trainer")
    OmegaConf.set_struct(config, False)
    for file in (config_folder() / "grpo.yaml", overlay):
        layer = OmegaConf.load(file)
        check_known(layer, config, file.name)
        config.merge_with(layer)
    for where, layer_values in (("computed", values), ("train.verl_overrides", overrides)):
        for key, value in layer_values.items():
            layer = OmegaConf.create()
            OmegaConf.update(layer, key, value, force_add=True)
            check_known(layer, config, where)
            config.merge_with(layer)
    return config


def verl_config_folder() -> Path:
    """The folder of veRL's own configuration, found without importing veRL."""
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "veRL is not installed in this interpreter; run `make engines`, or set train.python to "
            "an interpreter that has it"
        )
    return Path(spec.submodule_search_locations[0]) / "trainer" / "config"


def check_known(layer: Any, config: Any, where: str) -> None:
    """Refuse keys that `config` does not have, but for open nodes and veRL's typed sections.

    A section with `_target_` is a dataclass of veRL, which refuses unknown fields itself.
    """
    from omegaconf import DictConfig

    def walk(node: Any, known: Any, path: tuple[str, ...]) -> None:
        if not isinstance(node, DictConfig) or set(path) & set(OPEN_NODES):
            return
        if not isinstance(known, DictConfig):
            return
        for key in node:
            here = (*path, str(key))
            if key not in known:
                if "_target_" not in known and str(key) not in OPEN_NODES:
                    raise ConfigError(f"{where}: veRL has no setting {'.'.join(here)}")
                continue
            walk(node._get_node(key), known._get_node(key), here)

    walk(layer, config, ())


def take_env_vars(config: Any) -> dict[str, str]:
    """The environment of the job, taken out of the configuration: Ray refuses it in two places."""
    from omegaconf import OmegaConf

    found = OmegaConf.select(config, ENV_VARS)
    if found is None:
        return {}
    env = {str(name): str(value) for name, value in found.items()}
    del OmegaConf.select(config, ENV_VARS.rpartition(".")[0])["env_vars"]
    return env


def validate(config: Any) -> None:
    """veRL's own checks; raises ConfigError with what veRL says.

    Imports veRL, so the environment of the overlay must be set before (see `set_environment`).
    """
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    try:
        omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
        validate_config(
            config=config,
            use_reference_policy=need_reference_policy(config),
            use_critic=need_critic(config),
        )
    except Exception as exc:  # assertions, ValueErrors, OmegaConf's own: all say what is wrong
        raise ConfigError(f"veRL refuses the configuration: {type(exc).__name__}: {exc}") from exc


def set_environment(env: Mapping[str, str]) -> None:
    """Set the overlay's variables in this process, before veRL is imported."""
    os.environ.update(env)
