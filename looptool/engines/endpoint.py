"""The policy behind a vLLM server's OpenAI API: completions of token ids, with log-probabilities.

Runs inside the child process (`looptool.engines.job`). The prompt is rendered and the answer decoded
here, by the checkpoint's own tokenizer, so that the server's chat template and tool parser play no
part. A server that serves another checkpoint is refused: nothing may be measured on the wrong model.

A request that the server refuses is a record; a server that does not answer is an `EngineError`.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai

from looptool.engines import (
    EngineInfo,
    EngineOptions,
    Generation,
    LabelTexts,
    Limits,
    OnProgress,
    Prompt,
    count_parameters,
)
from looptool.engines.tokens import Row, TokenSide
from looptool.errors import ConfigError, EngineError, shorten

ATTEMPTS = 6
"""Tries of one request; between them the client waits, longer each time."""
REQUEST_TIMEOUT_S = 600.0
"""Deadline of one try."""
PLAIN = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Against sampling defaults that a server may have taken from the model's generation_config."""


class EndpointEngine:
    """`looptool.engines.Engine` whose work is done by a server that somebody else runs."""

    def __init__(self, checkpoint_dir: Path, options: EngineOptions) -> None:
        self._folder = checkpoint_dir
        self._tokens = TokenSide(checkpoint_dir)
        self._url = options.endpoint
        self._client = openai.OpenAI(
            base_url=options.endpoint,
            api_key=os.environ.get(options.api_key_env) or "none",
            max_retries=ATTEMPTS - 1,
            timeout=REQUEST_TIMEOUT_S,
        )
        served = self._find_model()
        self._model: str = served["id"]
        self._context = min(
            self._tokens.max_tokens,
            served.get("max_model_len") or self._tokens.max_tokens,
            options.context_tokens or self._tokens.max_tokens,
        )

    def _find_model(self) -> dict[str, Any]:
        """What the server says about the model that was started from our checkpoint's folder."""
        try:
            models = [model.model_dump() for model in self._client.models.list()]
        except openai.OpenAIError as exc:
            raise EngineError(
                f"endpoint {self._url} does not list its models ({shorten(exc)}); is the server up?"
            ) from exc
        for model in models:
            if Path(str(model.get("root"))).resolve() == self._folder:
                return model
        serves = ", ".join(f"{m['id']} from {m.get('root')}" for m in models) or "nothing"
        raise ConfigError(
            f"endpoint {self._url} serves {shorten(serves, 300)}, not {self._folder}; start it with "
            f"`vllm serve {self._folder}` or use engine vllm, which opens every checkpoint by itself"
        )

    def info(self) -> EngineInfo:
        """Name and size; the server's versions are not known here."""
        return EngineInfo(
            name="endpoint",
            checkpoint=str(self._folder),
            versions={"openai": openai.__version__},
            parameters=count_parameters(self._folder),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def generate(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        *,
        label_texts: LabelTexts = None,
        on_progress: OnProgress = None,
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`; `batch_size` requests are in flight at once."""

        def work(row: Row | Generation) -> Generation:
            return row if isinstance(row, Generation) else self._answer(row, limits.max_new_tokens)

        found: list[Generation] = []
        pool = ThreadPoolExecutor(limits.batch_size)
        try:
            fitted = self._tokens.fit_all(prompts, limits, label_texts, self._context)
            for generation in pool.map(work, fitted):
                found.append(generation)
                if on_progress is not None and len(found) % limits.batch_size == 0:
                    on_progress(len(found), len(prompts))
        except openai.OpenAIError as exc:
            raise EngineError(
                f"endpoint {self._url} failed after {ATTEMPTS} tries: {shorten(exc)}"
            ) from exc
        finally:
            pool.shutdown(cancel_futures=True)
        if found and all(g.failure.startswith("endpoint_refused") for g in found):
            raise EngineError(f"endpoint {self._url} refused every request: {found[0].failure}")
        if on_progress is not None:
            on_progress(len(prompts), len(prompts))
        return found

    def _answer(self, row: Row, max_new_tokens: int) -> Generation:
        try:
            choice = self._complete(row.token_ids, max_new_tokens)
            label_logprobs = self._score_label(row)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as exc:
            return Generation(
                failure=f"endpoint_refused: {shorten(exc)}", prompt_tokens=len(row.token_ids)
            )
        if choice["finish_reason"] not in ("stop", "length"):
            return Generation(
                failure=f"engine_{choice['finish_reason']}", prompt_tokens=len(row.token_ids)
            )
        return self._tokens.answer(
            row, choice["token_ids"], choice["logprobs"]["token_logprobs"], label_logprobs
        )

    def _score_label(self, row: Row) -> list[float] | None:
        token_ids = [*row.token_ids, *(row.label_ids or ())]
        if row.label_ids is None or len(token_ids) >= self._context:
            return None
        choice = self._complete(token_ids, 1, prompt_logprobs=0)
        tail = choice["prompt_logprobs"][-len(row.label_ids) :]
        return [
            float(seen[str(token)]["logprob"])
            for token, seen in zip(row.label_ids, tail, strict=True)
        ]

    def _complete(self, token_ids: list[int], max_tokens: int, **extra: Any) -> dict[str, Any]:
        completion = self._client.completions.create(
            model=self._model,
            prompt=token_ids,
            max_tokens=max_tokens,
            temperature=0.0,
            top_p=1.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            logprobs=0,
            extra_body={
                **PLAIN,
                "stop_token_ids": self._tokens.end_ids,
                "return_token_ids": True,
                **extra,
            },
        )
        choice: dict[str, Any] = completion.choices[0].model_dump()
        return choice
