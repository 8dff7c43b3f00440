"""What runs inside the Ray job: veRL's `main_ppo` on the prepared configuration, then the export.

    python -m looptool.train.verl.job WORK_FOLDER

All output also goes to `log/train.log` in the work folder. The export merges the shards of the last
checkpoint into Hugging Face format (bf16), with the tokenizer files of the base, file by file.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from looptool.train.checkpoint import TOKENIZER_FILES

EXPORT = "export"
LATEST = "latest_checkpointed_iteration.txt"


def main(work: Path) -> None:
    """Train from where the last checkpoint ends, then export."""
    _copy_output(work / "log" / "train.log")
    run = json.loads((work / "run.json").read_text(encoding="utf-8"))
    if latest_step(work) < run["steps"]:
        train(work)
    export(work, Path(run["base"]))
    print("looptool: checkpoint exported", flush=True)


def train(work: Path) -> None:
    """veRL's own entry point; it resumes by itself (`trainer.resume_mode`)."""
    from verl.trainer.main_ppo import main as main_ppo

    sys.argv = [
        "main_ppo",
        f"--config-path={work}",
        "--config-name=config",
        f"hydra.run.dir={work / 'hydra'}",
        "hydra.output_subdir=null",
    ]
    main_ppo()
    end_ray()


def end_ray() -> None:
    """Give back what the training holds before the export needs memory."""
    import ray

    ray.shutdown()


def export(work: Path, base: Path) -> None:
    """The last checkpoint in Hugging Face format; the folder appears only when whole."""
    partial, out = work / f"{EXPORT}.partial", work / EXPORT
    for folder in (partial, out):
        shutil.rmtree(folder, ignore_errors=True)
    step = latest_step(work)
    merge(work / "checkpoints" / f"global_step_{step}" / "actor", partial)
    for pattern in TOKENIZER_FILES:
        for path in partial.glob(pattern):
            path.unlink()
        for path in base.glob(pattern):
            shutil.copy2(path, partial / path.name)
    for path in partial.iterdir():
        path.chmod(0o644)  # the caller may be another user of the shared file system
    partial.rename(out)


def merge(shards: Path, out: Path) -> None:
    """veRL's merger of FSDP shards, as `python -m verl.model_merger merge` calls it."""
    from verl.model_merger.base_model_merger import ModelMergerConfig
    from verl.model_merger.fsdp_model_merger import FSDPModelMerger

    config = ModelMergerConfig(
        operation="merge",
        backend="fsdp",
        local_dir=str(shards),
        target_dir=str(out),
        hf_model_config_path=str(shards / "huggingface"),
    )
    merger = FSDPModelMerger(config)
    merger.merge_and_save()
    merger.cleanup()


def latest_step(work: Path) -> int:
    """The step of the last whole checkpoint; 0 without one."""
    try:
        return int((work / "checkpoints" / LATEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0


def _copy_output(log: Path) -> None:
    """Send stdout and stderr, those of child processes included, to the log as well."""
    log.parent.mkdir(parents=True, exist_ok=True)
    tee = subprocess.Popen(["tee", "-a", str(log)], stdin=subprocess.PIPE)  # noqa: S603, S607
    if tee.stdin is None:
        raise RuntimeError("tee has no input")
    os.dup2(tee.stdin.fileno(), 1)
    os.dup2(tee.stdin.fileno(), 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
