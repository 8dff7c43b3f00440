"""Checkpoints: written whole or not at all, and checked before anybody relies on them.

Hugging Face format, bf16 safetensors, with the tokenizer and chat template of the base, file by
file. torch is imported inside functions: the checks run in a child process.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looptool.engines import check_model_folder
from looptool.errors import TrainingError

TOKENIZER_FILES = (
    "tokenizer*",
    "chat_template*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "generation_config.json",
)
"""What a checkpoint takes over from its base, unchanged."""
CHECK_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """What a check found; usable when `problems` is empty."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    """Peculiarities that are no fault, e.g. a vocabulary padded beyond the tokenizer's."""
    parameters: int
    tensors: int
    vocab_size: int
    tokenizer_size: int
    sha256: dict[str, str]
    """File name -> digest."""


def check_checkpoint(checkpoint_dir: str | Path) -> CheckpointReport:
    """Load it in a child process: tensors finite, it generates, sizes fit; digests of all files.

    Raises ConfigError if the folder is no checkpoint, EngineError if the process dies.
    """
    from looptool.engines.process import run_in_child

    folder = check_model_folder(checkpoint_dir)
    request = {"op": "check", "checkpoint": str(folder)}
    found = run_in_child("looptool.train.trl_job", request, timeout_s=CHECK_TIMEOUT_S)
    return read_report(found)


def read_report(found: dict[str, Any]) -> CheckpointReport:
    """A report that came as JSON."""
    lists = {name: tuple(found[name]) for name in ("problems", "notes")}
    return CheckpointReport(**{**found, **lists})


def inspect_checkpoint(folder: Path) -> CheckpointReport:
    """The check itself, in this process."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    problems: list[str] = []
    notes: list[str] = []
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    state = model.state_dict()
    problems += [
        f"tensor {name} holds values that are not finite"
        for name, tensor in state.items()
        if not bool(torch.isfinite(tensor).all())
    ]
    vocab_size = int(model.config.vocab_size)
    if vocab_size < len(tokenizer):
        problems.append(f"vocab_size {vocab_size} is below the tokenizer's {len(tokenizer)}")
    if vocab_size > len(tokenizer):
        notes.append(
            f"vocab_size {vocab_size} is above the tokenizer's {len(tokenizer)}: engines that "
            "mask the difference do not agree with those that do not"
        )
    if not tokenizer.chat_template:
        problems.append("there is no chat template")
    elif not problems:
        problems += _try_to_generate(model, tokenizer)
    return CheckpointReport(
        problems=tuple(problems),
        notes=tuple(notes),
        parameters=model.num_parameters(),
        tensors=len(state),
        vocab_size=vocab_size,
        tokenizer_size=len(tokenizer),
        sha256=hash_files(folder),
    )


def _try_to_generate(model: Any, tokenizer: Any) -> list[str]:
    from looptool.engines import Prompt
    from looptool.engines.decode import decode, end_token_ids
    from looptool.engines.tokens import render_prompt

    prompt = render_prompt(tokenizer, Prompt(messages=[{"role": "user", "content": "Hello"}]))
    ends = end_token_ids(model, tokenizer)
    if not ends:
        return ["there is no end-of-turn token"]
    answer = decode(model, [prompt], max_new_tokens=4, end_ids=ends, pad_id=ends[0])[0]
    return [] if answer.token_ids else ["it generates nothing"]


def hash_files(folder: Path) -> dict[str, str]:
    """sha256 of every file, by name."""
    found = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def write_checkpoint(model: Any, base_dir: Path, folder: Path) -> None:
    """Weights in bf16, tokenizer files as they are in the base."""
    import torch

    folder.mkdir(parents=True)
    for pattern in TOKENIZER_FILES:
        for path in base_dir.glob(pattern):
            shutil.copy2(path, folder / path.name)
    model.to(torch.bfloat16).save_pretrained(folder)


def publish(partial: Path, out_dir: Path) -> None:
    """Give a whole checkpoint its final name; what had the name before is replaced."""
    old = out_dir.with_name(f".{out_dir.name}.old")
    try:
        shutil.rmtree(old, ignore_errors=True)
        if out_dir.exists():
            out_dir.rename(old)
        partial.rename(out_dir)
    except OSError as exc:
        raise TrainingError(f"checkpoint folder {out_dir} cannot be written: {exc}") from exc
    shutil.rmtree(old, ignore_errors=True)
