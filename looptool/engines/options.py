"""From a profile to the options of its engine."""

from looptool.config import LoopConfig
from looptool.engines import EngineOptions


def engine_options(config: LoopConfig) -> EngineOptions:
    """How the profile wants its engine to run."""
    policy, probe, evaluate = config.policy, config.probe, config.evaluate
    return EngineOptions(
        dtype=policy.dtype,
        threads=policy.threads,
        timeout_s=policy.timeout_s,
        restarts=policy.restarts,
        python=policy.python,
        context_tokens=max(
            probe.max_prompt_tokens + probe.max_new_tokens,
            evaluate.max_prompt_tokens + evaluate.max_new_tokens,
        ),
        gpu_memory_rate=policy.gpu_memory_rate,
        cache_gib=policy.cache_gib,
        tensor_parallel=probe.tensor_parallel,
        replicas=probe.replicas,
        ray_address=policy.ray_address,
        endpoint=policy.endpoint,
        api_key_env=policy.api_key_env,
    )
