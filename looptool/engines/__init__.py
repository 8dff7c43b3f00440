"""The policy behind one small protocol: greedy answers with log-probabilities (method, section 4).

An engine turns prompts (chat messages and tools, rendered by the model's own chat template) into
`Generation`s in the same order. A prompt that does not fit is a record of type `prompt_too_long`,
never cut. `open_engine` starts the engine in a child process, so that its memory is given back and
a crash never takes the caller along; nothing here imports torch.

Left out on purpose: sampling, streaming, chat sessions. Probe and evaluation decode greedily.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from looptool.errors import ConfigError

JsonObject = dict[str, Any]

ENGINES = ("transformers",)
"""Names that `open_engine` knows."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One decision to make."""

    messages: Sequence[JsonObject]
    """The context in the OpenAI chat shape."""
    tools: Sequence[JsonObject] = ()
    """OpenAI tool specs."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The greedy answer to one prompt; when `failure` is set, nothing else here may be used."""

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


class Engine(Protocol):
    """A policy that answers."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_new_tokens: int,
        max_prompt_tokens: int,
        batch_size: int = 64,
        label_texts: Sequence[str | None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Generation]:
        """Answer every prompt, in order; `label_texts[i]` asks for that label's probabilities."""
        ...

    def info(self) -> EngineInfo:
        """Name, versions and size."""
        ...

    def close(self) -> None:
        """Give everything back; may be called twice."""
        ...


def open_engine(
    name: str,
    checkpoint_dir: str | Path,
    *,
    threads: int | None = None,
    dtype: str = "float32",
    timeout_s: float = 3600.0,
) -> Engine:
    """Start an engine on a checkpoint in its own process; raises ConfigError, EngineError."""
    if name not in ENGINES:
        raise ConfigError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    folder = check_model_folder(checkpoint_dir)
    from looptool.engines.client import ChildEngine

    return ChildEngine(name, folder, threads=threads, dtype=dtype, timeout_s=timeout_s)


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
