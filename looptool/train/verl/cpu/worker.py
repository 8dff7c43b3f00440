"""vLLM's worker extension for a CPU: weights stay as they are, so that veRL can write new ones.

vLLM repacks linear weights for oneDNN on a CPU and drops the originals; veRL's weight update then
finds nothing to write to. Chosen by `engine_kwargs.vllm.worker_extension_cls` in `laptop_cpu.yaml`.
"""

from typing import Any

import torch
import vllm.model_executor.layers.utils
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension


def _keep_plain_weights(layer: Any, remove_weight: bool = False) -> None:
    layer.cpu_linear = torch.nn.functional.linear


vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm = _keep_plain_weights


class CpuWorkerExtension(vLLMColocateWorkerExtension):  # type: ignore[misc]
    """veRL's extension, over plain weights."""
