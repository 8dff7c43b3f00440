"""The policy by vLLM, offline: one pass gives text and log-probabilities of answer and label.

Runs inside the child process (`looptool.engines.job`) or a Ray actor, never in the caller's. The
tokens are ours (`TokenSide`), so that prompts and texts are those of every other engine. Requests
are handed to vLLM while it already works on the first ones; it batches them by itself, so that
`batch_size` only says how often progress is told.

A label that does not fit into the context behind its prompt has no log-probabilities.
"""

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from vllm import LLM, SamplingParams
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind

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
from looptool.errors import ConfigError

BATCHED_TOKENS = 2048
"""Tokens of one forward pass. Scoring labels makes vLLM hold fp32 logits for all of them (1.2 GiB for
152k words), which it does not foresee when it takes the GPU's memory."""
LABEL = "label-"
"""Prefix of the request that scores a label."""


class VllmEngine:
    """`looptool.engines.Engine` in this process, or in processes that vLLM starts for itself."""

    def __init__(self, checkpoint_dir: Path, options: EngineOptions) -> None:
        self._folder = checkpoint_dir
        llm, self._tokens = make_llm(checkpoint_dir, options)
        self._engine = llm.llm_engine
        self._context: int = llm.model_config.max_model_len

    def info(self) -> EngineInfo:
        """Name, versions and size."""
        names = ("vllm", "torch", "transformers")
        return EngineInfo(
            name="vllm",
            checkpoint=str(self._folder),
            versions={name: version(name) for name in names},
            parameters=count_parameters(self._folder),
        )

    def close(self) -> None:
        """Nothing to give back before the process ends."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        *,
        label_texts: LabelTexts = None,
        on_progress: OnProgress = None,
    ) -> list[Generation]:
        """See `looptool.engines.Engine.generate`."""
        found: dict[int, Generation] = {}
        rows: dict[int, Row] = {}
        params = self._params(limits.max_new_tokens)
        fitted = self._tokens.fit_all(prompts, limits, label_texts, self._context)
        for i, row in enumerate(fitted):
            if isinstance(row, Generation):
                found[i] = row
            else:
                rows[i] = row
                self._add(str(i), row.token_ids, params)
                self._add_label(i, row)
        outputs = self._collect(len(found), len(prompts), limits.batch_size, on_progress)
        for i, row in rows.items():
            scored = self._read_label(row, outputs.get(f"{LABEL}{i}"))
            found[i] = self._read(row, outputs[str(i)].outputs[0], scored)
        return [found[i] for i in range(len(prompts))]

    def sample(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        sampling: Sampling,
        *,
        on_progress: OnProgress = None,
    ) -> list[tuple[Generation, ...]]:
        """See `looptool.engines.Engine.sample`."""
        found: dict[int, tuple[Generation, ...]] = {}
        rows: dict[int, Row] = {}
        if current_platform.is_cpu():  # everything is drawn in this process
            torch.manual_seed(sampling.seed)
        for i, row in enumerate(self._tokens.fit_all(prompts, limits, None, self._context)):
            if isinstance(row, Generation):
                found[i] = (row,)
            else:
                rows[i] = row
                self._add(str(i), row.token_ids, self._params(limits.max_new_tokens, sampling, i))
        outputs = self._collect(len(found), len(prompts), limits.batch_size, on_progress)
        for i, row in rows.items():
            found[i] = tuple(self._read(row, answer) for answer in outputs[str(i)].outputs)
        return [found[i] for i in range(len(prompts))]

    def _params(
        self, max_new_tokens: int, sampling: Sampling | None = None, number: int = 0
    ) -> SamplingParams:
        """Greedy, or the draws for one of the prompts: each request has random numbers of its own.

        Not on a CPU: there vLLM fails as soon as a prompt of such a request is read in pieces.
        """
        own_seed = sampling is not None and not current_platform.is_cpu()
        return SamplingParams(
            n=sampling.answers if sampling else 1,
            temperature=sampling.temperature if sampling else 0.0,
            seed=sampling.seed + number if sampling and own_seed else None,
            max_tokens=max_new_tokens,
            logprobs=0,
            stop_token_ids=self._tokens.end_ids,
            detokenize=False,
            flat_logprobs=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _add_label(self, i: int, row: Row) -> None:
        token_ids = [*row.token_ids, *(row.label_ids or ())]
        if row.label_ids is None or len(token_ids) >= self._context:
            return
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=0,
            detokenize=False,
            flat_logprobs=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._add(f"{LABEL}{i}", token_ids, params)

    def _add(self, name: str, token_ids: list[int], params: SamplingParams) -> None:
        self._engine.add_request(name, {"prompt_token_ids": token_ids}, params)

    def _collect(
        self,
        known: int,
        total: int,
        batch_size: int,
        on_progress: OnProgress,
    ) -> dict[str, Any]:
        """Everything that was asked, by request name."""
        outputs: dict[str, Any] = {}
        done, told = known, 0
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                if output.finished:
                    outputs[output.request_id] = output
                    done += not output.request_id.startswith(LABEL)
            if on_progress is not None and done > told and (done - told >= batch_size):
                told = done
                on_progress(done, total)
        if on_progress is not None and told < total:
            on_progress(total, total)
        return outputs

    def _read_label(self, row: Row, label: Any | None) -> Sequence[float] | None:
        if label is None or row.label_ids is None:
            return None
        # One number for each token but the first; the label's are the last ones.
        scored: Sequence[float] = label.prompt_logprobs.logprobs[-len(row.label_ids) :]
        return scored

    def _read(self, row: Row, answer: Any, scored: Sequence[float] | None = None) -> Generation:
        if answer.finish_reason not in ("stop", "length"):
            return Generation(
                failure=f"engine_{answer.finish_reason}", prompt_tokens=len(row.token_ids)
            )
        return self._tokens.answer(row, answer.token_ids, answer.logprobs.logprobs, scored)


def make_llm(folder: Path | str, options: EngineOptions) -> tuple[LLM, TokenSide]:
    """vLLM's own object on a checkpoint, and the tokenizer's side of it."""
    tokens = TokenSide(Path(folder))
    on_cpu = current_platform.is_cpu()
    cache_gib = options.cache_gib or (1.0 if on_cpu else None)
    alone = options.tensor_parallel == 1
    if on_cpu and alone:
        # Everything in this process: two more would only cost their start and their memory.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if on_cpu:
        # Threads bound to cores get in the way of whatever else runs there, replicas above all.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    try:
        llm = LLM(
            model=str(folder),
            dtype=options.dtype,
            max_model_len=min(tokens.max_tokens, options.context_tokens or tokens.max_tokens),
            max_num_batched_tokens=BATCHED_TOKENS,
            enforce_eager=on_cpu,
            tensor_parallel_size=options.tensor_parallel,
            distributed_executor_backend="uni" if alone else "mp",
            gpu_memory_utilization=options.gpu_memory_rate,
            kv_cache_memory_bytes=None if cache_gib is None else int(cache_gib * (1 << 30)),
            generation_config="vllm",
        )
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigError(f"vLLM cannot open {folder}: {exc}") from exc
    return llm, tokens
