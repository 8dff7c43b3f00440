"""TRL's log lines as `StepMetrics` rows."""

import time
from typing import Any

from transformers import TrainerCallback

from looptool.engines.worker import Emit


class StepReporter(TrainerCallback):  # type: ignore[misc]
    """Hands each optimiser step to the parent as soon as it is logged."""

    def __init__(self, emit: Emit, total: int) -> None:
        self._emit = emit
        self._total = total
        self._started = time.perf_counter()

    def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Start the step's clock."""
        self._started = time.perf_counter()

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: dict[str, float], **_kwargs: Any
    ) -> None:
        """One step's metrics; the summary at the end of training has no reward and is no step."""
        if "reward" not in logs:
            return
        step = {
            "step": state.global_step,
            "loss": logs["loss"],
            "reward_mean": logs["reward"],
            "reward_std": logs["reward_std"],
            "zero_variance_rate": logs["frac_reward_zero_std"],
            "response_tokens_mean": logs["completions/mean_length"],
            "truncated_rate": logs["completions/clipped_ratio"],
            "entropy": logs.get("entropy"),
            "seconds": time.perf_counter() - self._started,
        }
        self._emit({"step": step, "total": self._total})
