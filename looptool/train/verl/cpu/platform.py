"""A veRL platform named `cpu`: gloo, no streams, logical GPUs.

Imported by every process through `VERL_USE_EXTERNAL_MODULES=looptool.train.verl.cpu.platform`, with
`VERL_PLATFORM=cpu` to choose it and `VERL_ENGINE_DEVICE=cuda` to get veRL's FSDP engine, which is
registered for the device names cuda and npu only and does nothing that needs one.
"""

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
import torch.distributed.fsdp
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry


def _make_device_module() -> types.ModuleType:
    """What veRL expects of `torch.cuda`, for a device that has no memory of its own."""
    module = types.ModuleType("looptool_cpu_device")

    def do_nothing(*_args: Any, **_kwargs: Any) -> None:
        return None

    def zero(*_args: Any, **_kwargs: Any) -> int:
        return 0

    for name in (
        "empty_cache",
        "synchronize",
        "ipc_collect",
        "set_device",
        "reset_peak_memory_stats",
        "reset_max_memory_allocated",
        "set_per_process_memory_fraction",
    ):
        setattr(module, name, do_nothing)
    for name in (
        "memory_allocated",
        "max_memory_allocated",
        "memory_reserved",
        "max_memory_reserved",
    ):
        setattr(module, name, zero)
    members: dict[str, Any] = {
        "is_available": lambda: False,
        "device_count": lambda: 1,
        "current_device": lambda: torch.device("cpu"),
        "get_device_name": lambda *_: "cpu",
        "mem_get_info": lambda *_: (8 << 30, 16 << 30),
        "memory_stats": lambda *_: {},
        "memory_summary": lambda *_: "",
        "manual_seed": torch.manual_seed,
        "manual_seed_all": torch.manual_seed,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "current_stream": torch.cpu.current_stream,
        "Stream": torch.cpu.Stream,
        "stream": torch.cpu.stream,
    }
    for name, member in members.items():
        setattr(module, name, member)
    return module


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):  # type: ignore[misc]
    """The processor as if it were one accelerator; Ray counts it as a logical GPU."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _make_device_module()

    def is_available(self) -> bool:
        """No accelerator."""
        return False

    def current_device(self) -> torch.device:
        """The processor."""
        return torch.device("cpu")

    def device_count(self) -> int:
        """One."""
        return 1

    def set_device(self, device_index: int) -> None:
        """There is no choice."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Nothing runs asynchronously."""

    def manual_seed(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """The allocator has none."""

    def empty_cache(self) -> None:
        """Nothing is cached."""

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        """None."""
        return None, None

    def communication_backend_name(self) -> str:
        """Collectives over gloo."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Ray sets it for its logical GPUs; nothing reads it."""
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No profiler."""
        yield

    def profiler_start(self) -> None:
        """No profiler."""

    def profiler_stop(self) -> None:
        """No profiler."""

    def ray_resource_name(self) -> str:
        """Logical GPUs, as declared by `ray start --num-gpus`."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """Keeps Ray from hiding devices."""
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        """No: weights go to vLLM through shared memory."""
        return False

    def cudart(self) -> None:
        """None."""


def _use_gloo_alone() -> None:
    """veRL asks for one backend per device, `cpu:gloo,cpu:gloo` here, which torch refuses."""
    original = torch.distributed.init_process_group

    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if backend is not None and backend.count("cpu:") > 1:
            backend = "gloo"
        return original(backend, *args, **kwargs)

    torch.distributed.init_process_group = init_process_group


def _pin_no_memory() -> None:
    """The reference policy is offloaded to pinned memory, which needs an accelerator."""

    class UnpinnedOffload(torch.distributed.fsdp.CPUOffloadPolicy):  # type: ignore[misc]
        def __init__(self, pin_memory: bool = False) -> None:
            super().__init__(pin_memory=False)

    torch.distributed.fsdp.CPUOffloadPolicy = UnpinnedOffload


_use_gloo_alone()
_pin_no_memory()
