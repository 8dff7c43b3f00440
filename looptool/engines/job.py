"""The engine's child process: opens a checkpoint, then answers `generate` and `sample` requests."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from looptool.engines import Engine, EngineOptions, Generation, Limits, Prompt, Sampling
from looptool.engines.worker import Emit, serve
from looptool.errors import EngineError

JsonObject = dict[str, Any]


class _Job:
    """State of the process: the one open engine."""

    engine: Engine | None = None

    def handle(self, request: JsonObject, emit: Emit) -> JsonObject:
        """Answer one request; progress goes to `emit`."""
        if request["op"] == "open":
            options = EngineOptions(**request["options"])
            self.engine = load_engine(request["name"], Path(request["checkpoint"]), options)
            return dataclasses.asdict(self.engine.info())
        if self.engine is None:
            raise EngineError("the engine's process was asked before a checkpoint was opened")
        prompts = [Prompt(messages=m, tools=t) for m, t in request["prompts"]]
        limits = Limits(**request["limits"])

        def tell(done: int, total: int) -> None:
            emit({"done": done, "total": total})

        if request["op"] == "sample":
            sampling = Sampling(**request["sampling"])
            drawn = self.engine.sample(prompts, limits, sampling, on_progress=tell)
            return {"answers": [_as_rows(answers) for answers in drawn]}
        labels = request["label_texts"]
        greedy = self.engine.generate(prompts, limits, label_texts=labels, on_progress=tell)
        return {"answers": _as_rows(greedy)}


def _as_rows(generations: Iterable[Generation]) -> list[JsonObject]:
    return [dataclasses.asdict(generation) for generation in generations]


def load_engine(name: str, folder: Path, options: EngineOptions) -> Engine:
    """Open the engine in this process; with replicas, this process leads them."""
    if options.replicas > 1 or options.ray_address:
        from looptool.engines.replicas import ReplicatedEngine

        return ReplicatedEngine(folder, options)
    if name == "vllm":
        from looptool.engines.vllm import VllmEngine

        return VllmEngine(folder, options)
    if name == "endpoint":
        from looptool.engines.endpoint import EndpointEngine

        return EndpointEngine(folder, options)
    if name != "transformers":
        raise EngineError(f"the engine's process does not know {name!r}")
    import torch

    from looptool.engines.transformers import TransformersEngine

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return TransformersEngine(folder, dtype=options.dtype)


if __name__ == "__main__":
    serve(_Job().handle)
