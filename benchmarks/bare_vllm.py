"""The other side of `benchmarks.vllm_overhead`: vLLM as its own documentation uses it."""

import time
from typing import Any

from vllm import LLM, SamplingParams

from looptool.engines import EngineOptions
from looptool.engines.tokens import TokenSide
from looptool.engines.vllm import make_llm
from looptool.engines.worker import Emit, serve

JsonObject = dict[str, Any]


class Bare:
    """State of the process: the open model."""

    llm: LLM
    tokens: TokenSide

    def handle(self, request: JsonObject, _emit: Emit) -> JsonObject:
        """Open the model, or generate and say how long that took."""
        if request["op"] == "open":
            options = EngineOptions(**request["options"])
            self.llm, self.tokens = make_llm(request["checkpoint"], options)
            return {}
        params = SamplingParams(temperature=0.0, max_tokens=request["max_new_tokens"], logprobs=0)
        began = time.monotonic()
        texts = [
            self.tokens.tokenizer.apply_chat_template(
                messages, tools=tools or None, add_generation_prompt=True, tokenize=False
            )
            for messages, tools in request["prompts"]
        ]
        outputs = self.llm.generate(texts, params, use_tqdm=False)
        seconds = time.monotonic() - began
        return {"seconds": seconds, "tokens": sum(len(o.outputs[0].token_ids) for o in outputs)}


if __name__ == "__main__":
    serve(Bare().handle)
