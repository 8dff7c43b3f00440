"""The engine's child process: opens a checkpoint, then answers `generate` requests."""

import dataclasses
from pathlib import Path
from typing import Any

from looptool.engines import Engine, Prompt
from looptool.engines.worker import Emit, serve
from looptool.errors import EngineError

JsonObject = dict[str, Any]


class _Job:
    """State of the process: the one open engine."""

    engine: Engine | None = None

    def handle(self, request: JsonObject, emit: Emit) -> JsonObject:
        """Answer one request; progress goes to `emit`."""
        if request["op"] == "open":
            self.engine = _load(request)
            return dataclasses.asdict(self.engine.info())
        if self.engine is None:
            raise EngineError("the engine's process was asked before a checkpoint was opened")
        generations = self.engine.generate(
            [Prompt(messages=m, tools=t) for m, t in request["prompts"]],
            max_new_tokens=request["max_new_tokens"],
            max_prompt_tokens=request["max_prompt_tokens"],
            batch_size=request["batch_size"],
            label_texts=request["label_texts"],
            on_progress=lambda done, total: emit({"done": done, "total": total}),
        )
        return {"generations": [dataclasses.asdict(g) for g in generations]}


def _load(request: JsonObject) -> Engine:
    if request["name"] != "transformers":
        raise EngineError(f"the engine's process does not know {request['name']!r}")
    import torch

    from looptool.engines.transformers import TransformersEngine

    if request["threads"] is not None:
        torch.set_num_threads(request["threads"])
    return TransformersEngine(Path(request["checkpoint"]), dtype=request["dtype"])


if __name__ == "__main__":
    serve(_Job().handle)
