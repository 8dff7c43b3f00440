"""Trains the small policy from scratch: a Qwen3 of some 2 M parameters, on generated dialogues.

    python -m models.pretrain.train --out models/nano-base

Constant learning rate, linear decay over the last part only: copying from the context is learnt in
one sharp step, and an early decay freezes the model before it. Loss on the assistant's turns alone.
`<out>.run/` holds the checkpoint to resume from and `log.jsonl`; the weights folder is replaced
file by file, each written whole beside its place first. Left out: several processes, any data file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoTokenizer, GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from models.pretrain.data import BUCKET, Batch, stream_batches
from models.pretrain.evaluate import Sample, draw_samples, measure
from models.pretrain.tokenizer import TEMPLATE, train_tokenizer


@dataclass(frozen=True, slots=True)
class Settings:
    """One run; the command line sets any of them."""

    out: Path
    minutes: float
    seed: int
    learning_rate: float
    warmup_steps: int
    decay_rate: float
    """Share of the time at the end over which the learning rate falls to 2%."""
    lesson_steps: int
    """Steps of drill, then of easy dialogues, then until the full mix is reached."""
    taught_from: int
    """Step from which on most dialogues are the scripted teacher's."""
    start: Path | None
    """A weights folder to go on from instead of random weights."""
    eval_minutes: float
    layers: int
    hidden: int
    compile: bool
    """Compile the trunk: 1.4 times as fast, 40 s to begin with, needs a C++ compiler."""


@dataclass(slots=True)
class Progress:
    """What the log and the checkpoint carry."""

    step: int = 0
    elapsed_s: float = 0.0
    tokens: int = 0


def build_model(tokenizer: Any, settings: Settings) -> Qwen3ForCausalLM:
    """Random weights in fp32; heads of 64 since CPU attention kernels want that size."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=3 * settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(settings.seed)
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def write_model(model: Qwen3ForCausalLM, tokenizer: Any, folder: Path) -> None:
    """Writes the whole folder in bf16; each file is moved into place when it is complete."""
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    copy = Qwen3ForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.generation_config = model.generation_config
    copy.to(torch.bfloat16).save_pretrained(draft)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(draft)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(draft.iterdir()):
        path.chmod(0o644)
        os.replace(path, folder / path.name)
    draft.rmdir()


def compute_loss(model: Qwen3ForCausalLM, trunk: Any, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the learnt tokens; logits are computed for those alone.

    `trunk` is the model without its head, compiled or not.
    """
    tokens = torch.from_numpy(batch[0]).long()  # (batch, length)
    learnt = torch.from_numpy(batch[1])[:, 1:]
    hidden = trunk(input_ids=tokens).last_hidden_state[:, :-1]  # (batch, length - 1, hidden)
    places = learnt.reshape(-1).nonzero().squeeze(1)
    labels = tokens[:, 1:].reshape(-1)[places]
    spare = -len(places) % 1024  # few distinct shapes here too
    places = functional.pad(places, (0, spare))
    labels = functional.pad(labels, (0, spare), value=-100)
    logits = model.lm_head(hidden.reshape(-1, hidden.shape[-1])[places])  # (answers, vocabulary)
    return functional.cross_entropy(logits.float(), labels, ignore_index=-100)


def compute_rate(settings: Settings, progress: Progress) -> float:
    """The learning rate now: warm-up by steps, decay by time."""
    left = 1.0 - progress.elapsed_s / (60 * settings.minutes)
    decay = min(1.0, max(0.02, left / settings.decay_rate))
    return settings.learning_rate * min(1.0, (progress.step + 1) / settings.warmup_steps) * decay


def build_optimizer(model: Qwen3ForCausalLM, settings: Settings) -> torch.optim.AdamW:
    """Weight decay on matrices only."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))


def save_checkpoint(
    path: Path, model: Qwen3ForCausalLM, optimizer: torch.optim.AdamW, progress: Progress
) -> None:
    """Written beside its place and moved there: a kill leaves the previous one."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    torch.save(state, path.with_suffix(".draft"))
    os.replace(path.with_suffix(".draft"), path)


def load_checkpoint(path: Path, model: Qwen3ForCausalLM, optimizer: torch.optim.AdamW) -> Progress:
    """Restores both and returns the progress; a fresh one where there is no checkpoint."""
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def write_report(
    model: Qwen3ForCausalLM, tokenizer: Any, samples: list[Sample], log: Path, line: dict[str, Any]
) -> None:
    """Appends one JSON line with the greedy exact match by kind."""
    model.eval()
    line["exact_match"] = measure(model, tokenizer, samples)
    model.train()
    with log.open("a") as out:
        out.write(json.dumps(line) + "\n")


def prepare(settings: Settings) -> tuple[Qwen3ForCausalLM, Any]:
    """Model and tokenizer: from `start`, or new, the tokenizer kept if the folder has one."""
    source = settings.start or settings.out
    if (source / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(source)
        tokenizer.chat_template = TEMPLATE.read_text()
    else:
        tokenizer = train_tokenizer(seed=settings.seed)
    if settings.start:
        model = Qwen3ForCausalLM.from_pretrained(settings.start, dtype=torch.float32)
    else:
        model = build_model(tokenizer, settings)
    if not (settings.out / "model.safetensors").exists():
        write_model(model, tokenizer, settings.out)
    return model, tokenizer


def train(settings: Settings) -> None:
    """Runs until the minutes are used, from the checkpoint if there is one."""
    run = settings.out.with_name(settings.out.name + ".run")
    run.mkdir(parents=True, exist_ok=True)
    model, tokenizer = prepare(settings)
    optimizer = build_optimizer(model, settings)
    progress = load_checkpoint(run / "checkpoint.pt", model, optimizer)
    samples = draw_samples(seed=0, per_kind=12)
    first = -(-progress.step // BUCKET)
    batches = stream_batches(
        settings.out, settings.seed, first, settings.lesson_steps, settings.taught_from
    )
    model.train()
    trunk = torch.compile(model.model, dynamic=True) if settings.compile else model.model
    next_report_s = progress.elapsed_s + 60 * settings.eval_minutes
    losses: list[float] = []
    while progress.elapsed_s < 60 * settings.minutes:
        batch = next(batches)
        started = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = compute_rate(settings, progress)
        with torch.autocast("cpu", torch.bfloat16):
            loss = compute_loss(model, trunk, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        progress.step += 1
        progress.tokens += batch[0].size
        progress.elapsed_s += time.monotonic() - started
        if progress.elapsed_s >= next_report_s:
            next_report_s += 60 * settings.eval_minutes
            line = asdict(progress) | {"loss": round(sum(losses) / len(losses), 4)}
            losses.clear()
            write_report(model, tokenizer, samples, run / "log.jsonl", line)
            save_checkpoint(run / "checkpoint.pt", model, optimizer, progress)
            write_model(model, tokenizer, settings.out)
    write_report(model, tokenizer, samples, run / "log.jsonl", asdict(progress) | {"loss": None})
    save_checkpoint(run / "checkpoint.pt", model, optimizer, progress)
    write_model(model, tokenizer, settings.out)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("models/nano-base"))
    parser.add_argument("--minutes", type=float, default=54.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--warmup-steps", type=int, default=100)
    parser.add_argument("--decay-rate", type=float, default=0.3)
    parser.add_argument("--lesson-steps", type=int, default=384)
    parser.add_argument("--taught-from", type=int, default=1200)
    parser.add_argument("--start", type=Path, default=None)
    parser.add_argument("--eval-minutes", type=float, default=3.0)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    train(Settings(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
