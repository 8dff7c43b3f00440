"""GRPO by veRL as a Ray job: the caller's side.

The work lies in a folder beside the new checkpoint, on a file system that the cluster's nodes
share: rows, configuration, log, checkpoints, steps. It survives a failure, a cancellation and
`kill -9`, so that the next call with the same inputs resumes at the last checkpoint; with other
inputs it starts anew. It is removed when the checkpoint is published: neither optimiser state nor
old checkpoints outlive a training.
"""

import hashlib
import json
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looptool.artifacts import folder_digest
from looptool.config import TrainConfig
from looptool.engines.interpreter import find_python
from looptool.engines.process import package_path, run_in_child
from looptool.errors import ConfigError, TrainingError
from looptool.records import Sample
from looptool.train.api import OnStep, TrainOutcome, TrainReport, TrainRequest
from looptool.train.checkpoint import CHECK_TIMEOUT_S, publish, read_report
from looptool.train.rows import build_row, find_defects, plan_batches
from looptool.train.verl.cluster import ENDED, RayJobs, open_jobs
from looptool.train.verl.config import config_folder, find_overlay
from looptool.train.verl.job import EXPORT, latest_step
from looptool.train.verl.steps import Sizes, StepFolder, last_visits

JsonObject = dict[str, Any]
Say = Callable[[str], None]

PREPARE = "looptool.train.verl.prepare"
JOB = "looptool.train.verl.job"
PREPARE_TIMEOUT_S = 1800.0
POLL_S = 1.0
OUTAGE_S = 300.0
"""How long an existing cluster may not answer while a job runs."""
TAIL_CHARS = 3000
LINE_CHARS = 400
OPERATIONAL = {
    "timeout_s",
    "threads",
    "python",
    "ray_address",
    "ray_token_env",
    "save_steps",
    "keep_checkpoints",
    "stall_timeout_s",
}
"""Settings that do not change what is trained: a run resumes under other ones."""
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def train_with_verl(request: TrainRequest, on_step: OnStep | None) -> TrainOutcome:
    """See `looptool.train.api.Trainer`."""
    started = time.monotonic()
    config = request.config
    python = _find_python(config.python)
    defects = find_defects(request.samples)
    samples = [s for s in request.samples if s.sample_id not in set(defects)]
    # Refuse what cannot work before a process is started; the child plans again with lengths.
    plan_batches(len(samples), config.batch_size, config.epochs, config.max_steps, 0)
    work = WorkFolder.open(request, samples)
    run = Run(request, work, python, on_step)
    prepared = run.train()
    checkpoint = read_report(
        run_in_child(
            PREPARE,
            {"op": "check", "checkpoint": str(work.folder / EXPORT)},
            timeout_s=CHECK_TIMEOUT_S,
            error=TrainingError,
            python=python,
        )
    )
    if checkpoint.problems:
        raise TrainingError(
            "the trained checkpoint is not usable: " + "; ".join(checkpoint.problems)
        )
    steps = run.steps.read_all()
    log = request.out_dir.with_name(f"{request.out_dir.name}.log")
    shutil.copyfile(work.log, log)
    publish(work.folder / EXPORT, request.out_dir)
    shutil.rmtree(work.folder, ignore_errors=True)
    seconds = time.monotonic() - started
    timings = {name: sum(s.timings[name] for s in steps) for name in ("generate", "update", "save")}
    timings["load"] = max(0.0, seconds - sum(s.metrics.seconds for s in steps))
    report = TrainReport(
        samples=len(request.samples),
        used=prepared["used"],
        too_long=tuple(prepared["too_long"]),
        defects=defects,
        steps=len(steps),
        unused_tail=prepared["unused_tail"],
        rollouts=len(steps) * config.batch_size * config.group_size
        - sum(s.metrics.masked for s in steps),
        generated_tokens=sum(s.tokens for s in steps),
        seconds=seconds,
        timings=timings,
        checkpoint=checkpoint,
        resumed_from=work.resumed_from,
    )
    metrics = tuple(s.metrics for s in steps)
    return TrainOutcome(request.out_dir, metrics, last_visits(steps), report, log)


def _find_python(configured: str) -> Path:
    if configured and not Path(configured).expanduser().is_file():
        raise ConfigError(f"train.python = {configured}: no such file")
    return find_python("verl", configured)


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """The folder of one training."""

    folder: Path
    resumed_from: int
    """Step of the checkpoint that is there already; 0: from the start."""

    @classmethod
    def open(cls, request: TrainRequest, samples: Sequence[Sample]) -> "WorkFolder":
        """Take up what an earlier call with the same inputs left, or start anew."""
        folder = request.out_dir.with_name(f".{request.out_dir.name}.verl")
        rows = [build_row(sample) for sample in samples]
        mark = _fingerprint(request, rows)
        try:
            known = (folder / "fingerprint").read_text(encoding="utf-8")
        except OSError:
            known = ""
        try:
            if known != mark:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / "log").mkdir(exist_ok=True)
            (folder / "fingerprint").write_text(mark, encoding="utf-8")
        except OSError as exc:
            raise ConfigError(f"work folder {folder} cannot be written: {exc}") from exc
        return cls(folder, latest_step(folder))

    @property
    def log(self) -> Path:
        """Output of the job, of all attempts."""
        return self.folder / "log" / "train.log"


def _fingerprint(request: TrainRequest, rows: Sequence[JsonObject]) -> str:
    """Digest of everything that decides what is trained."""
    overlays = (config_folder() / "grpo.yaml", find_overlay(request.config.verl_config))
    parts = [
        json.dumps(rows, sort_keys=True),
        json.dumps(request.config.model_dump(mode="json", exclude=OPERATIONAL), sort_keys=True),
        folder_digest(request.base_checkpoint_dir),
        str(request.random_seed),
        *(path.read_text(encoding="utf-8") for path in overlays),
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Run:
    """One attempt: prepare, submit (or find the job that still runs), follow to the end."""

    def __init__(
        self, request: TrainRequest, work: WorkFolder, python: Path, on_step: OnStep | None
    ) -> None:
        config = request.config
        self._request = request
        self._config: TrainConfig = config
        self._work = work
        self._python = python
        self._on_step = on_step
        sizes = Sizes(config.batch_size, config.group_size, config.max_response_tokens)
        self.steps = StepFolder(work.folder, sizes)

    def train(self) -> JsonObject:
        """What `prepare` answered, when the job has succeeded."""
        run = self._prepare()
        if run["steps"] == self._work.resumed_from and (self._work.folder / EXPORT).is_dir():
            return run
        gpus = run["gpus"] if run["device"] == "cpu" else None
        with open_jobs(self._config, self._python, gpus, self._work.log.parent / "ray") as jobs:
            name = self.find_running(jobs) or self._submit(jobs, run)
            try:
                self.follow(jobs, name, run["steps"])
            except BaseException:
                self._stop(jobs, name)
                raise
        return run

    def _say(self, text: str) -> None:
        if self._request.on_log is not None:
            self._request.on_log(text)

    def _prepare(self) -> JsonObject:
        run = run_in_child(
            PREPARE,
            {
                "op": "prepare",
                "work": str(self._work.folder),
                "base": str(self._request.base_checkpoint_dir),
                "config": self._config.model_dump(mode="json"),
                "random_seed": self._request.random_seed,
            },
            timeout_s=PREPARE_TIMEOUT_S,
            error=TrainingError,
            python=self._python,
        )
        run["base"] = str(self._request.base_checkpoint_dir)
        (self._work.folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
        return run

    def find_running(self, jobs: RayJobs) -> str | None:
        """The job of an earlier caller that was killed while the cluster went on."""
        job = self._read_job()
        if job.get("address") != jobs.address or jobs.status(job["name"])[0] in (*ENDED, "UNKNOWN"):
            return None
        self._say(f"following Ray job {job['name']}, which still runs")
        return str(job["name"])

    def _submit(self, jobs: RayJobs, run: Mapping[str, Any]) -> str:
        resumed_from = self._work.resumed_from
        self.steps.forget_after(resumed_from)
        _prune_checkpoints(self._work.folder, resumed_from)
        if resumed_from:
            self._say(f"resuming from the checkpoint of step {resumed_from} of {run['steps']}")
        name = f"looptool-train-{secrets.token_hex(6)}"
        metrics = self._work.folder / f"metrics-{name}.jsonl"
        job = {"name": name, "address": jobs.address, "metrics": str(metrics)}
        (self._work.folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        command = [str(self._python), "-m", JOB, str(self._work.folder)]
        jobs.submit(name, shlex.join(command), self._job_env(run["env"], metrics))
        self._say(f"Ray job {name} at {jobs.address}: {run['steps']} steps")
        return name

    def _job_env(self, overlay: Mapping[str, str], metrics: Path) -> dict[str, str]:
        env = {
            "HF_HUB_OFFLINE": "1",
            "HYDRA_FULL_ERROR": "1",
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "VLLM_NO_USAGE_STATS": "1",
            **overlay,
            "VERL_FILE_LOGGER_PATH": str(metrics),
        }
        if checkout := package_path(self._python):
            env["PYTHONPATH"] = checkout
        return env

    def _read_job(self) -> JsonObject:
        try:
            found: JsonObject = json.loads((self._work.folder / "job.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def follow(self, jobs: RayJobs, name: str, total: int) -> None:
        """Report steps and log lines until the job has succeeded; raises TrainingError."""
        metrics = Path(self._read_job()["metrics"])
        log = _LogTail(self._work.log, self._say)
        config = self._config
        started = moved = heard = time.monotonic()
        while True:
            try:
                status, message = jobs.status(name)
                heard = time.monotonic()
            except TrainingError:
                # Hours of work must not be lost to a head that does not answer for a moment.
                if config.ray_address == "" or time.monotonic() - heard > OUTAGE_S:
                    raise
                status, message = "RUNNING", ""
            log.read()
            new = self.steps.read_new(metrics, ended=status == "SUCCEEDED")
            for step in new:
                moved = time.monotonic()
                if self._on_step is not None:
                    self._on_step(step, total)
            if status == "SUCCEEDED":
                return
            now = time.monotonic()
            if status in (*ENDED, "UNKNOWN"):
                raise TrainingError(self._explain(f"Ray job {name} ended as {status}: {message}"))
            if now - moved > config.stall_timeout_s:
                limit = f"train.stall_timeout_s {config.stall_timeout_s:.0f}"
                raise TrainingError(self._explain(f"no step was finished within {limit}"))
            if now - started > config.timeout_s:
                limit = f"train.timeout_s {config.timeout_s:.0f}"
                raise TrainingError(self._explain(f"the training did not end within {limit}"))
            time.sleep(POLL_S)

    def _explain(self, what: str) -> str:
        step = latest_step(self._work.folder)
        return (
            f"{what}\nRun it again: it resumes from step {step}. Log: {self._work.log}; its end:\n"
            f"{_tail(self._work.log)}"
        )

    def _stop(self, jobs: RayJobs, name: str) -> None:
        """End the job on a cluster that lives on; one of our own ends with all its processes."""
        if not self._config.ray_address:
            return
        try:
            jobs.stop(name)
        except TrainingError as exc:
            self._say(f"Ray job {name} may still run: {exc}")


class _LogTail:
    """Hands new lines of a growing file on."""

    def __init__(self, path: Path, say: Say) -> None:
        self._path = path
        self._say = say
        self._offset = path.stat().st_size if path.is_file() else 0
        self._rest = b""

    def read(self) -> None:
        """Lines that are whole since the last call."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            # A progress bar writes over itself; what stands at the end is what it shows.
            text = _ANSI.sub("", line.decode("utf-8", "replace")).rstrip().rpartition("\r")[2]
            if text:
                self._say(text[:LINE_CHARS])


def _tail(path: Path) -> str:
    if not path.is_file():
        return "(nothing)"
    return path.read_text("utf-8", "replace")[-TAIL_CHARS:].strip() or "(nothing)"


def _prune_checkpoints(work: Path, keep: int) -> None:
    """Remove checkpoints that no run will start from; a resumed veRL does not know of them."""
    for folder in (work / "checkpoints").glob("global_step_*"):
        if folder.name != f"global_step_{keep}":
            shutil.rmtree(folder, ignore_errors=True)
