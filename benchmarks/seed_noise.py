"""The seed phase under noise and under `kill -9`: exactly the rows asked for, and little done twice.

    python -m benchmarks.seed_noise --dialogues 1000 --kills 5

The scripted teacher is served over a port with 10% wrong labels, 5% malformed replies, 5% 429/5xx and
2% cut connections. One campaign runs undisturbed, another is killed at random points and started again;
both must end with the same pool, and what each kill makes the second ask again is at most the dearest
shard of the first. The first one stays under `--root`, and the same command goes on with it; the second
one always begins anew.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import uvicorn
from rich.console import Console
from rich.table import Table

from looptool.artifacts import ArtifactRef, Store
from looptool.config import LoopConfig, NoiseConfig, SimulatorConfig, parse_config
from looptool.records import JsonObject, Sample
from looptool.simulator import create_app
from tasks.parts import AT_ONCE
from tasks.pool import fill_pool, is_empty, plan_round, rounds_of
from tasks.scope import Scope
from tasks.seed import collect, seed
from tasks.validate import validate

NOISE = NoiseConfig(wrong_label_rate=0.1, malformed_rate=0.05, http_error_rate=0.05, cut_rate=0.02)
SAMPLES_PER_DIALOGUE = 1.35
"""Samples of the targets that one dialogue of the default kinds is good for."""


def make_config(root: Path, port: int, dialogues: int, shard_size: int) -> LoopConfig:
    """A profile of the laptop's sizes that needs about so many dialogues."""
    total = round(SAMPLES_PER_DIALOGUE * dialogues)
    heldout, unseen = total // 5, total // 10
    return parse_config(
        {
            "store": {"root": str(root)},
            "teacher": {"base_url": f"http://127.0.0.1:{port}/v1", "attempts": 10},
            "seed": {
                "train_samples": total - heldout - unseen,
                "heldout_samples": heldout,
                "heldout_unseen_samples": unseen,
                "tools_min": 3,
                "tools_max": 5,
                "turns_max": 3,
                "shard_size": shard_size,
            },
            "validate": {"shard_size": 2 * shard_size},
        }
    )


def run_seed_phase(config: LoopConfig, campaign: str = "noise") -> ArtifactRef:
    """The seed phase of a campaign, as the flow runs it, without a Prefect server."""
    start = Scope(campaign=campaign, iteration=0, config=config)
    tools = collect.fn(scope=start)
    played: list[ArtifactRef] = []
    accepted: list[ArtifactRef] = []
    for scope in rounds_of(start):
        plan = plan_round.fn(scope=scope, tools=tools, played=played, accepted=accepted)
        if is_empty(plan):
            break
        played = [*played, seed.fn(scope=scope, tools=tools, plan=plan)]
        accepted = [*accepted, validate.fn(scope=scope, candidates=played[-1])]
    return fill_pool.fn(scope=start, tools=tools, played=played, accepted=accepted)


@dataclass
class NoisyTeacher:
    """The scripted teacher on a port; counts its requests and can begin anew, as a restarted one."""

    port: int = 0
    noise: NoiseConfig = NOISE
    bodies: Counter[bytes] = field(default_factory=Counter)
    """How often each request came whole, by the digest of its body."""
    on_request: Callable[[int], None] = field(default=lambda count: None)
    _app: Any = None

    @property
    def requests(self) -> int:
        """How many came whole."""
        return self.bodies.total()

    def begin_anew(self) -> None:
        """Forget how often each request came: a run that starts again meets the same faults."""
        self.bodies = Counter()
        self._app = create_app(SimulatorConfig(noise=self.noise))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One ASGI request."""
        await self._app(scope, self._note_body(receive), send)

    def _note_body(self, receive: Any) -> Any:
        digest = hashlib.sha256()

        async def receive_and_note() -> Any:
            message = await receive()
            digest.update(message.get("body", b""))
            if message["type"] == "http.request" and not message.get("more_body"):
                self.bodies[digest.digest()] += 1
                self.on_request(self.requests)
            return message

        return receive_and_note


@contextmanager
def serve_teacher(port: int = 0, noise: NoiseConfig = NOISE) -> Iterator[NoisyTeacher]:
    """The noisy teacher on a port (0: any free one), in a thread of this process."""
    teacher = NoisyTeacher(noise=noise)
    teacher.begin_anew()
    settings = uvicorn.Config(
        teacher, host="127.0.0.1", port=port, log_level="critical", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    teacher.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield teacher
    finally:
        server.should_exit = True
        thread.join()


def start_run(config: LoopConfig) -> subprocess.Popen[str]:
    """The seed phase in a process of its own; it prints the reference of the pool."""
    code = (
        "import sys; from benchmarks.seed_noise import run_seed_phase;"
        "from looptool.config import LoopConfig;"
        "config = LoopConfig.model_validate_json(sys.stdin.read());"
        "print(run_seed_phase(config).model_dump_json())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    process.stdin.write(config.model_dump_json(by_alias=True))
    process.stdin.close()
    return process


def finish(process: subprocess.Popen[str]) -> ArtifactRef | None:
    """The pool that a run ended with; None if it was killed."""
    assert process.stdout
    with process.stdout:
        said = process.stdout.read()
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the run failed with status {code}")
    return None if code else ArtifactRef.model_validate_json(said)


@dataclass(frozen=True)
class Runs:
    """A campaign that was started several times."""

    pool: ArtifactRef
    requests: int
    """Of all starts."""
    repeated: tuple[int, ...]
    """By kill: the requests of the next start that an earlier one had made already."""


def run_with_kills(config: LoopConfig, teacher: NoisyTeacher, after: list[int]) -> Runs:
    """A run that is killed after each of so many requests, counted from its start, and started again."""
    total, seen, repeated = 0, Counter[bytes](), list[int]()
    for limit in [*after, None]:
        teacher.begin_anew()
        process = start_run(config)

        def kill(count: int, process: Any = process, limit: int | None = limit) -> None:
            if limit is not None and count == limit:
                os.kill(process.pid, signal.SIGKILL)

        teacher.on_request = kill
        pool = finish(process)
        total += teacher.requests
        repeated.append((teacher.bodies & seen).total())
        seen |= teacher.bodies
        if pool is not None:
            return Runs(pool, total, tuple(repeated[1:]))
    raise RuntimeError("the last run was killed by someone else")


def count_shards(config: LoopConfig) -> list[int]:
    """Requests of every shard of the seed stage: two parts that follow one another, as they were stored."""
    found: list[int] = []
    for folder in sorted(Path(config.store.root).glob("campaigns/*/*/*/seed/*")):
        notes = sorted(folder.glob("usage-*.json"), key=lambda path: path.stat().st_mtime_ns)
        parts = [json.loads(note.read_text())["seed"]["requests"] for note in notes]
        found += [sum(parts[i : i + AT_ONCE]) for i in range(max(1, len(parts) - AT_ONCE + 1))]
    return found


def describe(config: LoopConfig, pool: ArtifactRef) -> JsonObject:
    """What one campaign ended with."""
    store = Store(config.store.root)
    samples = store.read(pool, "samples", Sample)
    stats = store.manifest_of(pool).stats
    return {
        "wanted": sum(stats["targets"].values()),
        "rows": len(samples),
        "distinct": len({sample.sample_id for sample in samples}),
        "kinds": dict(Counter(sample.kind.value for sample in samples)),
        "dialogues": stats["dialogues"],
        "surplus": stats["surplus"],
        "rejected": stats["rejected"],
        "failures": stats["failures"],
        "requests": sum(used["requests"] for used in stats["usage"].values()),
        "met": stats["met"],
        "digest": pool.digest,
    }


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--shard-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=Path("lake/seed-noise"))
    parser.add_argument("--port", type=int, default=8031)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    rng = Random(options.seed)
    with serve_teacher(options.port) as teacher:
        calm, rough = (
            make_config(options.root / name, teacher.port, options.dialogues, options.shard_size)
            for name in ("calm", "rough")
        )
        pool = run_with_kills(calm, teacher, []).pool
        result = describe(calm, pool)
        asked = int(result["requests"])
        most = max(40, 2 * asked // (options.kills + 1))
        points = [rng.randrange(20, most) for _ in range(options.kills)]
        shutil.rmtree(options.root / "rough", ignore_errors=True)
        again = run_with_kills(rough, teacher, points)
    dearest = max(count_shards(calm))
    result |= {
        "killed_after": points,
        "requests_with_kills": again.requests,
        "repeated_by_kill": again.repeated,
        "requests_of_the_dearest_shard": dearest,
        "same_pool": again.pool.digest == pool.digest,
    }
    table = Table("", "", title=f"{options.dialogues} dialogues under noise", title_justify="left")
    for name, value in result.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
    Console().print(table)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    exact = result["same_pool"] and result["met"] and result["rows"] == result["wanted"]
    return 0 if exact and max(again.repeated, default=0) <= dearest else 1


if __name__ == "__main__":
    sys.exit(main())
