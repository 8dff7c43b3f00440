"""Several vLLM engines side by side, as Ray actors on an existing cluster or a local one.

Runs inside the child process (`looptool.engines.job`), which leads: it cuts the prompts into
portions, keeps every replica busy, puts the answers back in order, and starts a replica that died
again; its portion is redone. A local cluster ends with this process.

Why actors and not Ray Data's batch inference: the engine, its prompts and its answers are the ones of
a single process, down to the typed failures, and a portion is the unit that is redone. Every node
needs looptool and vLLM in the environment that its Ray runs in, and the checkpoint under the same path.
A replica's GPUs lie on one node; an engine over several nodes is left out.
"""

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from looptool.engines import (
    Engine,
    EngineInfo,
    EngineOptions,
    Generation,
    LabelTexts,
    Limits,
    OnProgress,
    Prompt,
    Sampling,
)
from looptool.engines.process import package_path, thread_env
from looptool.errors import ConfigError, EngineError, LoopToolError, shorten

PORTIONS = 4
"""Portions per replica: more even out unequal lengths, fewer let vLLM batch more."""
PORTION_MIN = 16
"""Prompts in a portion, at least."""
DEATHS = 3
"""Replicas that may die during one `generate`."""
OBJECT_STORE_BYTES = 1 << 28
"""Of a local cluster: prompts and answers are small."""
SHARED_ENV = (
    "HF_HUB_OFFLINE",
    "TOKENIZERS_PARALLELISM",
    "VLLM_NO_USAGE_STATS",
    "VLLM_LOGGING_LEVEL",
)


class Replica:
    """One engine in its own Ray worker, opened by the first call."""

    def __init__(self, folder: str, options: EngineOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._opened: Engine | None = None

    def _engine(self) -> Engine:
        from looptool.engines.vllm import VllmEngine

        if not self._folder.is_dir():
            raise ConfigError(
                f"checkpoint {self._folder} is not on node {ray.util.get_node_ip_address()}; "
                "every node of the cluster must see it under this path"
            )
        if self._opened is None:
            self._opened = VllmEngine(self._folder, self._options)
        return self._opened

    def info(self) -> EngineInfo:
        """See `looptool.engines.Engine.info`."""
        return self._engine().info()

    def where(self) -> tuple[str, int]:
        """Node and process id."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def generate(
        self, prompts: list[Prompt], labels: list[str | None], limits: Limits
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`."""
        return self._engine().generate(prompts, limits, label_texts=labels)

    def sample(
        self, prompts: list[Prompt], limits: Limits, sampling: Sampling
    ) -> list[tuple[Generation, ...]]:
        """See `looptool.engines.Engine.sample`."""
        return self._engine().sample(prompts, limits, sampling)


class ReplicatedEngine:
    """`looptool.engines.Engine` over `replicas` Ray actors."""

    def __init__(self, checkpoint_dir: Path, options: EngineOptions) -> None:
        self._folder = checkpoint_dir
        self._options = options
        _connect(options)
        self._gpus = _gpus_per_replica(options)
        self._replicas = [self._start() for _ in range(options.replicas)]
        self._info = _get([r.info.remote() for r in self._replicas])[0]

    def _start(self) -> Any:
        env = {name: os.environ[name] for name in SHARED_ENV if name in os.environ}
        if not self._options.ray_address:  # the local cluster sees the paths that we see
            env["PYTHONPATH"] = package_path()
        actor = ray.remote(
            num_cpus=self._options.threads or 1,
            num_gpus=self._gpus,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {**env, **thread_env(self._options.threads)}},
        )(Replica)
        return actor.remote(str(self._folder), self._options)

    def info(self) -> EngineInfo:
        """That of the first replica, and Ray's version."""
        versions = {**self._info.versions, "ray": ray.__version__}
        return EngineInfo("vllm", self._info.checkpoint, versions, self._info.parameters)

    def places(self) -> list[tuple[str, int]]:
        """Node and process id of every replica."""
        found: list[tuple[str, int]] = _get([r.where.remote() for r in self._replicas])
        return found

    def close(self) -> None:
        """End the replicas, and the cluster if it is our own."""
        for replica in self._replicas:
            ray.kill(replica)
        self._replicas = []
        ray.shutdown()

    def generate(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        *,
        label_texts: LabelTexts = None,
        on_progress: OnProgress = None,
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`."""
        labels = list(label_texts) if label_texts is not None else [None] * len(prompts)

        def ask(replica: Any, where: slice) -> Any:
            return replica.generate.remote(list(prompts[where]), labels[where], limits)

        return self._spread(ask, len(prompts), on_progress)

    def sample(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        sampling: Sampling,
        *,
        on_progress: OnProgress = None,
    ) -> list[tuple[Generation, ...]]:
        """See `looptool.engines.Engine.sample`."""

        def ask(replica: Any, where: slice) -> Any:
            own = dataclasses.replace(sampling, seed=sampling.seed + where.start)
            return replica.sample.remote(list(prompts[where]), limits, own)

        return self._spread(ask, len(prompts), on_progress)

    def _spread(
        self, ask: Callable[[Any, slice], Any], total: int, on_progress: OnProgress
    ) -> list[Any]:
        """What `ask` gets from the replicas for all portions of `total` prompts, in order."""
        portions = cut(total, len(self._replicas))
        waiting = deque(range(len(portions)))
        free = deque(range(len(self._replicas)))
        running: dict[Any, tuple[int, int]] = {}  # reference -> (portion, replica)
        found: dict[int, list[Any]] = {}
        deaths = 0
        while len(found) < len(portions):
            while waiting and free:
                portion, replica = waiting.popleft(), free.popleft()
                running[ask(self._replicas[replica], portions[portion])] = portion, replica
            done, _ = ray.wait(list(running), num_returns=1)
            portion, replica = running.pop(done[0])
            try:
                found[portion] = _get(done[0])
            except ReplicaDied as exc:
                deaths += 1
                if deaths > DEATHS:
                    raise EngineError(f"{deaths} replicas died, the last one: {exc}") from exc
                self._replicas[replica] = self._start()
                waiting.appendleft(portion)
            free.append(replica)
            if on_progress is not None:
                on_progress(sum(map(len, found.values())), total)
        return [answer for i in range(len(portions)) for answer in found[i]]


class ReplicaDied(EngineError):
    """The process of one replica ended."""


def cut(total: int, replicas: int) -> list[slice]:
    """Even portions of `total` prompts, several for each replica while they are not too small."""
    size = max(PORTION_MIN, -(-total // (replicas * PORTIONS)))
    return [slice(start, start + size) for start in range(0, total, size)]


def _connect(options: EngineOptions) -> None:
    """Join the cluster, or start a local one that ends with this process."""
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        if options.ray_address:
            ray.init(address=options.ray_address, **quiet)
        else:
            # One logical CPU for each thread of each replica, whatever the machine has.
            cpus = max(os.cpu_count() or 1, options.replicas * (options.threads or 1))
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
    except (RayError, ConnectionError, OSError, RuntimeError, ValueError) as exc:
        raise EngineError(
            f"Ray at {options.ray_address or 'this machine'} cannot be used: {shorten(exc, 300)}"
        ) from exc


def _gpus_per_replica(options: EngineOptions) -> int:
    """GPUs to ask for; ConfigError when the cluster cannot ever give what was asked."""
    held = ray.cluster_resources()
    gpus = options.tensor_parallel if held.get("GPU") else 0
    cpus = options.threads or 1
    for name, each in (("GPU", gpus), ("CPU", cpus)):
        if each * options.replicas > held.get(name, 0):
            raise ConfigError(
                f"{options.replicas} replicas need {each * options.replicas} {name}s, the Ray "
                f"cluster has {held.get(name, 0):.0f}; set probe.replicas and "
                "probe.tensor_parallel to what it has"
            )
    return gpus


def _get(references: Any) -> Any:
    try:
        return ray.get(references)
    except RayTaskError as exc:
        if isinstance(exc.cause, LoopToolError):
            raise exc.cause from exc
        raise EngineError(f"a replica failed: {shorten(exc, 600)}") from exc
    except RayError as exc:
        raise ReplicaDied(shorten(exc, 400)) from exc
