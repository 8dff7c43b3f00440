"""The policy behind a vLLM server's OpenAI API: completions of token ids, with log-probabilities.

Runs inside the child process (`looptool.engines.job`). The prompt is rendered and the answer decoded
here, by the checkpoint's own tokenizer, so that the server's chat template and tool parser play no
part. A server that serves another checkpoint is refused: nothing may be measured on the wrong model.

A request that the server refuses is a record; a server that does not answer is an `EngineError`.
"""

import os
from collections.abc import Callable, Sequence
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
    Sampling,
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

        def ask(row: Row) -> tuple[Generation, ...]:
            (choice,) = self._complete(row.token_ids, limits.max_new_tokens)
            return (self._read(row, choice, self._score_label(row)),)

        answers = self._ask_all(ask, prompts, limits, label_texts, on_progress)
        return [one for (one,) in answers]

    def sample(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        sampling: Sampling,
        *,
        on_progress: OnProgress = None,
    ) -> list[tuple[Generation, ...]]:
        """See `looptool.engines.Engine.sample`; `batch_size` requests are in flight at once.

        The server draws from random numbers of its own: a request with a seed would end a vLLM server on a
        CPU (`VllmEngine`), and answers of one under load are not repeated to the bit anyway.
        """

        def ask(row: Row) -> tuple[Generation, ...]:
            choices = self._complete(
                row.token_ids,
                limits.max_new_tokens,
                n=sampling.answers,
                temperature=sampling.temperature,
            )
            return tuple(self._read(row, choice) for choice in choices)

        return self._ask_all(ask, prompts, limits, None, on_progress)

    def _ask_all(
        self,
        ask: Callable[[Row], tuple[Generation, ...]],
        prompts: Sequence[Prompt],
        limits: Limits,
        label_texts: LabelTexts,
        on_progress: OnProgress,
    ) -> list[tuple[Generation, ...]]:
        """What `ask` gives for each prompt that fits, in order."""

        def work(row: Row | Generation) -> tuple[Generation, ...]:
            return (row,) if isinstance(row, Generation) else _catch_refusal(ask, row)

        found: list[tuple[Generation, ...]] = []
        pool = ThreadPoolExecutor(limits.batch_size)
        try:
            fitted = self._tokens.fit_all(prompts, limits, label_texts, self._context)
            for answers in pool.map(work, fitted):
                found.append(answers)
                if on_progress is not None and len(found) % limits.batch_size == 0:
                    on_progress(len(found), len(prompts))
        except openai.OpenAIError as exc:
            raise EngineError(
                f"endpoint {self._url} failed after {ATTEMPTS} tries: {shorten(exc)}"
            ) from exc
        finally:
            pool.shutdown(cancel_futures=True)
        if found and all(g[0].failure.startswith("endpoint_refused") for g in found):
            refused = found[0][0].failure
            raise EngineError(f"endpoint {self._url} refused every request: {refused}")
        if on_progress is not None:
            on_progress(len(prompts), len(prompts))
        return found

    def _read(
        self, row: Row, choice: dict[str, Any], scored: list[float] | None = None
    ) -> Generation:
        if choice["finish_reason"] not in ("stop", "length"):
            return Generation(
                failure=f"engine_{choice['finish_reason']}", prompt_tokens=len(row.token_ids)
            )
        return self._tokens.answer(
            row, choice["token_ids"], choice["logprobs"]["token_logprobs"], scored
        )

    def _score_label(self, row: Row) -> list[float] | None:
        token_ids = [*row.token_ids, *(row.label_ids or ())]
        if row.label_ids is None or len(token_ids) >= self._context:
            return None
        (choice,) = self._complete(token_ids, 1, extra={"prompt_logprobs": 0})
        tail = choice["prompt_logprobs"][-len(row.label_ids) :]
        return [
            float(seen[str(token)]["logprob"])
            for token, seen in zip(row.label_ids, tail, strict=True)
        ]

    def _complete(
        self,
        token_ids: list[int],
        max_tokens: int,
        *,
        n: int = 1,
        temperature: float = 0.0,
        extra: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        completion = self._client.completions.create(
            model=self._model,
            prompt=token_ids,
            max_tokens=max_tokens,
            n=n,
            temperature=temperature,
            top_p=1.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            logprobs=0,
            extra_body={
                **PLAIN,
                "stop_token_ids": self._tokens.end_ids,
                "return_token_ids": True,
                **(extra or {}),
            },
        )
        return [choice.model_dump() for choice in completion.choices]


def _catch_refusal(
    ask: Callable[[Row], tuple[Generation, ...]], row: Row
) -> tuple[Generation, ...]:
    """What `ask` gives; a prompt that the server refuses is a record that says so."""
    try:
        return ask(row)
    except (openai.BadRequestError, openai.UnprocessableEntityError) as exc:
        return (
            Generation(
                failure=f"endpoint_refused: {shorten(exc)}", prompt_tokens=len(row.token_ids)
            ),
        )
