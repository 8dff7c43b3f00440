"""Ray for one training: the Jobs API of any cluster, and a cluster of our own on this machine.

The caller needs no Ray: the Jobs API is HTTP. Ray 2.60 authenticates by a token by default; an
existing cluster's comes from the environment variable that `train.ray_token_env` names, one of our
own gets a fresh one. A cluster of our own listens on the loopback address alone, and ends with
everything that it started (see `supervise`).
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from looptool.config import TrainConfig
from looptool.engines.process import package_path
from looptool.errors import ConfigError, TrainingError

JsonObject = dict[str, Any]

START_TIMEOUT_S = 300.0
START_ATTEMPTS = 4
LOGICAL_CPUS = 16
"""Fewest CPUs that a local cluster claims: veRL's actors ask for one each and mostly wait."""
PORTS = (
    "port",
    "ray-client-server-port",
    "metrics-export-port",
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "runtime-env-agent-port",
)
"""Ports of a cluster of our own, beside the dashboard's: two clusters on one machine do not collide."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
TAIL_CHARS = 2000
STARTED = "Ray runtime started"
"""What `ray start` says when its node is registered."""
NOT_READY = "No available agent"


class RayJobs:
    """Submit, ask for and stop jobs at one address."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address.rstrip("/")
        self.token = token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx2.Client(headers=headers, timeout=30.0, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def version(self) -> str:
        """Ray's version; also says whether the cluster answers."""
        return str(self._ask("GET", "/api/version")["ray_version"])

    def submit(self, name: str, entrypoint: str, env: Mapping[str, str]) -> None:
        """Start `entrypoint` (a shell line) on the cluster under a name of our own."""
        body = {
            "entrypoint": entrypoint,
            "submission_id": name,
            "runtime_env": {"env_vars": dict(env)},
            "metadata": {"looptool": "train"},
        }
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._ask("POST", "/api/jobs/", body)
                return
            except TrainingError as exc:
                # A cluster that has just started answers before it can take jobs.
                if NOT_READY not in str(exc) or time.monotonic() > deadline:
                    raise
            time.sleep(1.0)

    def status(self, name: str) -> tuple[str, str]:
        """The job's state and Ray's message about it; `UNKNOWN` for a job that is not there."""
        found = self._ask("GET", f"/api/jobs/{name}", missing={"status": "UNKNOWN"})
        return str(found["status"]), str(found.get("message") or "")

    def stop(self, name: str, timeout_s: float = 60.0) -> None:
        """Stop the job and wait until it has ended."""
        self._ask("POST", f"/api/jobs/{name}/stop", missing={})
        deadline = time.monotonic() + timeout_s
        while self.status(name)[0] not in (*ENDED, "UNKNOWN"):
            if time.monotonic() > deadline:
                raise TrainingError(f"Ray job {name} did not stop within {timeout_s:.0f} s")
            time.sleep(0.5)

    def _ask(
        self,
        method: str,
        path: str,
        body: JsonObject | None = None,
        missing: JsonObject | None = None,
    ) -> JsonObject:
        try:
            answer = self._client.request(method, self.address + path, json=body)
        except httpx2.HTTPError as exc:
            raise TrainingError(f"Ray at {self.address} does not answer: {exc!r}") from exc
        if answer.status_code in (401, 403):
            raise ConfigError(
                f"Ray at {self.address} refuses the token (HTTP {answer.status_code}); set the "
                "environment variable that train.ray_token_env names to the cluster's token"
            )
        if answer.status_code == 404 and missing is not None:
            return missing
        if answer.is_error:
            raise TrainingError(
                f"Ray at {self.address}: {method} {path} gave HTTP {answer.status_code}: "
                f"{answer.text[:TAIL_CHARS]}"
            )
        try:
            found = answer.json()
        except ValueError as exc:
            raise TrainingError(f"Ray at {self.address}: {path} answered no JSON") from exc
        return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def open_jobs(config: TrainConfig, python: Path, gpus: int | None, logs: Path) -> Iterator[RayJobs]:
    """The Jobs API of the configured cluster, or of one that lives as long as this context.

    `logs` is the folder where a cluster of our own leaves its logs when something fails.
    """
    if not config.ray_address:
        with start_cluster(python, gpus, logs) as jobs:
            yield jobs
        return
    if not config.ray_address.startswith(("http://", "https://")):
        raise ConfigError(
            f"train.ray_address {config.ray_address!r} is no Jobs API; it is the URL of Ray's "
            "dashboard, e.g. http://head:8265"
        )
    jobs = RayJobs(config.ray_address, os.environ.get(config.ray_token_env, ""))
    try:
        jobs.version()
        yield jobs
    finally:
        jobs.close()


@contextlib.contextmanager
def start_cluster(python: Path, gpus: int | None, logs: Path) -> Iterator[RayJobs]:
    """A one-node cluster; `gpus` declares logical ones, None lets Ray find the real ones."""
    logs.mkdir(parents=True, exist_ok=True)
    cluster = _start(python, gpus, logs)
    try:
        yield cluster.jobs
    except TrainingError as exc:
        code = cluster.process.poll()
        cluster.keep_logs(logs)
        if code is not None:
            raise TrainingError(
                f"the local Ray cluster ended by itself (exit {code}); its logs are in {logs}; the "
                f"end of ray.log:\n{_read_end(logs / 'ray.log')}"
            ) from exc
        raise
    finally:
        cluster.end()


def _start(python: Path, gpus: int | None, logs: Path) -> "_Cluster":
    """Start until it stands: Ray gives its own parts 30 s to come up, too short on busy cores."""
    for attempt in range(1, START_ATTEMPTS + 1):
        cluster = _Cluster.start(python, gpus, logs / "ray.log")
        try:
            cluster.wait_until_up(logs / "ray.log")
            return cluster
        except TrainingError as exc:
            cluster.keep_logs(logs)
            cluster.end()
            if attempt == START_ATTEMPTS:
                raise TrainingError(
                    f"the local Ray cluster did not start in {attempt} attempts; its logs are in "
                    f"{logs}; the end of ray.log:\n{_read_end(logs / 'ray.log')}"
                ) from exc
        except BaseException:
            cluster.end()
            raise
    raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class _Cluster:
    """The processes of a cluster of our own."""

    jobs: RayJobs
    process: subprocess.Popen[bytes]
    """The supervisor."""
    folder: Path

    @classmethod
    def start(cls, python: Path, gpus: int | None, log: Path) -> "_Cluster":
        """Start the processes; they may not answer yet."""
        # Unix sockets allow short paths only, so the folder lies directly below the temporary one.
        folder = Path(tempfile.mkdtemp(prefix="looptool-ray-"))
        token, port = secrets.token_hex(32), free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and Ray's own command
                [
                    *(sys.executable, "-P", "-m", "looptool.train.verl.supervise"),
                    *("--remove", str(folder), "--", *start_command(python, folder, port, gpus)),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=cluster_env(python, token),
                start_new_session=True,
            )
        return cls(RayJobs(f"http://127.0.0.1:{port}", token), process, folder)

    def wait_until_up(self, log: Path) -> None:
        """Wait until the node is there and the Jobs API answers; raises TrainingError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while STARTED not in log.read_text("utf-8", "replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TrainingError("the local Ray cluster did not start")
            time.sleep(0.5)
        self.jobs.version()

    def keep_logs(self, logs: Path) -> None:
        """Ray's own logs, as far as they say why something ended."""
        found = self.folder / "ray" / "session_latest" / "logs"
        for pattern in ("raylet.*", "gcs_server.*", "dashboard*.log", "job-driver-*.log"):
            for path in found.glob(pattern):
                with contextlib.suppress(OSError):
                    shutil.copyfile(path, logs / path.name)

    def end(self) -> None:
        """End the supervisor, and with it the whole tree."""
        self.jobs.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _read_end(path: Path) -> str:
    return path.read_text("utf-8", "replace")[-TAIL_CHARS:] if path.is_file() else ""


def start_command(python: Path, folder: Path, port: int, gpus: int | None) -> list[str]:
    """`ray start` in the foreground, bound to this machine, on free ports."""
    command = [str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    options = {
        "node-ip-address": "127.0.0.1",
        "dashboard-host": "127.0.0.1",
        "dashboard-port": port,
        **{name: free_port() for name in PORTS},
        "temp-dir": folder / "ray",
        "num-cpus": max(os.cpu_count() or 1, LOGICAL_CPUS),
        **({} if gpus is None else {"num-gpus": gpus}),
    }
    return [*command, *(f"--{name}={value}" for name, value in options.items())]


def cluster_env(python: Path, token: str) -> dict[str, str]:
    """Environment of every process of a cluster of our own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": package_path(python),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        # A start is given time: on two busy cores the imports of a worker alone can take minutes.
        "RAY_worker_register_timeout_seconds": "600",
        "RAY_agent_register_timeout_ms": "600000",
        # Other programs share the machine's memory: Ray must not kill workers for what they use.
        "RAY_memory_monitor_refresh_ms": "0",
        # Idle workers made in advance only take memory: a training starts few, once.
        "RAY_prestart_worker_first_driver": "0",
        "RAY_enable_worker_prestart": "0",
    }


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
