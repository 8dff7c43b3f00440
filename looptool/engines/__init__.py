"""The policy behind one small protocol: answers with log-probabilities (method, section 4).

An engine turns prompts (chat messages and tools, rendered by the model's own chat template) into
`Generation`s in the same order. A prompt that does not fit is a record of type `prompt_too_long`,
never cut. `open_engine` starts the engine in a child process, so that its memory is given back and
a crash never takes the caller along; nothing here imports torch.

    transformers   one process, for machines without a GPU and as the reference
    vllm           offline vLLM; one engine, or `replicas` of them as Ray actors
    endpoint       an OpenAI-compatible vLLM server that serves this checkpoint

Probe and evaluation decode greedily (`generate`); scouting draws several answers to each prompt
(`sample`). Left out on purpose: streaming, chat sessions.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from looptool.errors import ConfigError

JsonObject = dict[str, Any]

ENGINES = ("transformers", "vllm", "endpoint")
"""Names that `open_engine` knows."""
LabelTexts = Sequence[str | None] | None
"""For each prompt the label to be scored, None for those without; None: no label at all."""
OnProgress = Callable[[int, int], None] | None
"""Told how many prompts are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One decision to make."""

    messages: Sequence[JsonObject]
    """The context in the OpenAI chat shape."""
    tools: Sequence[JsonObject] = ()
    """OpenAI tool specs."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long prompts and answers may be, and how many go at once."""

    max_new_tokens: int
    """Tokens of an answer, the end of turn included."""
    max_prompt_tokens: int
    """A longer prompt is a record of type `prompt_too_long`."""
    batch_size: int = 64
    """Prompts at once; an engine that batches by itself only tells its progress that often."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn."""

    answers: int
    """To each prompt, at least 1."""
    temperature: float
    """Above 0; the whole distribution is drawn from (no top-p, no top-k)."""
    seed: int
    """Of the random numbers: an engine of ours that answers the same request again gives the same answers.
    An endpoint draws as it likes."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer to one prompt; when `failure` is set, nothing else here may be used."""

    text: str = ""
    """Decoded without special tokens (`<tool_call>` is not one)."""
    token_ids: tuple[int, ...] = ()
    """Generated tokens, the end-of-turn token included."""
    token_logprobs: tuple[float, ...] = ()
    """Natural log-probability of each generated token."""
    token_ends: tuple[int, ...] = ()
    """Where each token ends in `text`, in characters: token i is text[ends[i-1]:ends[i]]."""
    truncated: bool = False
    """Generation ended at the token limit."""
    prompt_tokens: int = 0
    label_logprobs: tuple[float, ...] | None = None
    """Log-probability of each token of the label text and of the end of turn after it."""
    failure: str = ""
    """Typed reason why there is no answer, e.g. `prompt_too_long`."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says about itself, for manifests."""

    name: str
    checkpoint: str
    versions: dict[str, str] = field(default_factory=dict)
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine runs; apart from `dtype`, nothing here changes what it answers."""

    dtype: str = "float32"
    """`float32` or `bfloat16`; an endpoint decides for itself."""
    threads: int | None = None
    """CPU threads of an engine; None: all cores."""
    timeout_s: float = 3600.0
    """Deadline of the start, and of one `generate`."""
    restarts: int = 0
    """How often one `generate` may start a dead engine again before it gives up."""
    python: str = ""
    """Interpreter that has the engine; empty: looked for (`looptool.engines.interpreter`)."""
    context_tokens: int | None = None
    """Longest prompt and answer together; None: what the model allows. vLLM's cache must hold it."""
    gpu_memory_rate: float = 0.9
    """vLLM: share of a GPU's memory that an engine takes."""
    cache_gib: float | None = None
    """vLLM: size of the key-value cache; None: what is left of the GPU's share, 1 on a CPU."""
    tensor_parallel: int = 1
    """vLLM: GPUs of one engine, on one node."""
    replicas: int = 1
    """Engines side by side, as Ray actors."""
    ray_address: str = ""
    """Existing Ray cluster (`auto`, `host:port` or `ray://host:port`); empty: a local one if needed."""
    endpoint: str = ""
    """Base URL of the server, for the engine `endpoint`."""
    api_key_env: str = "LOOPTOOL_POLICY_API_KEY"
    """Name of the environment variable that holds the endpoint's key."""


STANDARD = EngineOptions()


class Engine(Protocol):
    """A policy that answers."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        *,
        label_texts: LabelTexts = None,
        on_progress: OnProgress = None,
    ) -> list[Generation]:
        """Answer every prompt, in order; `label_texts[i]` asks for that label's probabilities."""
        ...

    def sample(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        sampling: Sampling,
        *,
        on_progress: OnProgress = None,
    ) -> list[tuple[Generation, ...]]:
        """Drawn answers to every prompt, in order; one with `failure` alone where there is none."""
        ...

    def info(self) -> EngineInfo:
        """Name, versions and size."""
        ...

    def close(self) -> None:
        """Give everything back; may be called twice."""
        ...


def open_engine(name: str, checkpoint_dir: str | Path, options: EngineOptions = STANDARD) -> Engine:
    """Start an engine on a checkpoint in its own process; raises ConfigError, EngineError."""
    check_options(name, options)
    folder = check_model_folder(checkpoint_dir)
    from looptool.engines.client import ChildEngine

    return ChildEngine(name, folder, options)


def check_options(name: str, options: EngineOptions) -> None:
    """Raise ConfigError for an unknown engine, or for options that it does not have."""
    if name not in ENGINES:
        raise ConfigError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    if name == "endpoint" and not options.endpoint:
        raise ConfigError("engine endpoint needs policy.endpoint, the server's URL (…/v1)")
    if name != "vllm" and (options.replicas, options.tensor_parallel) != (1, 1):
        raise ConfigError(
            f"probe.replicas = {options.replicas}, probe.tensor_parallel = "
            f"{options.tensor_parallel}: only engine vllm runs in replicas, not {name}"
        )


def check_model_folder(checkpoint_dir: str | Path) -> Path:
    """The folder as an absolute path; raises ConfigError unless it looks like a checkpoint."""
    folder = Path(checkpoint_dir).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(
            f"model folder {folder} does not exist; "
            "set policy.base to a Hugging Face checkpoint folder"
        )
    missing = [n for n in ("config.json", "tokenizer_config.json") if not (folder / n).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise ConfigError(
            f"model folder {folder} is not a whole Hugging Face checkpoint; missing: "
            + ", ".join(missing)
        )
    return folder


def count_parameters(folder: Path) -> int:
    """Numbers in a checkpoint's weight files, by their headers; tied weights count once."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        total += sum(math.prod(x["shape"]) for n, x in header.items() if n != "__metadata__")
    return total
