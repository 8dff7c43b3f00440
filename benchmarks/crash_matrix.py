"""Kill a run before and after every write of every stage, go on, and compare with the undisturbed run.

    nice -n 19 python -m benchmarks.crash_matrix --out benchmarks/results/crash_matrix.json

One campaign runs undisturbed: its writes are the points. For each point another campaign begins anew, is
killed there with SIGKILL, and is started again; it must end with the same artifacts of the same digests,
without a fault of `looptool fsck`, without lost or double rows, and what it asks the teacher again is at
most what the dearest part cost. Points that the results file has are not run again.

With `--streaming` judge and expand are worked on while the probe is. What is written then differs in number
and order from run to run: a run that ends before its point counts when its artifacts are the right ones.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.crash_round import outcome
from benchmarks.seed_noise import NoisyTeacher, serve_teacher
from looptool.artifacts import AHEAD, Store
from looptool.artifacts.manifest import artifact_key
from looptool.config import LoopConfig, NoiseConfig, parse_config
from looptool.fsck import survey
from looptool.records import JsonObject, Sample

CALM = NoiseConfig(wrong_label_rate=0.2, malformed_rate=0.05)
Point = tuple[int, str]
"""Number of a write, from 1, and `before` or `after`."""


def make_config(root: Path, port: int, streaming: bool = False) -> LoopConfig:
    """A campaign that is small but has several parts in every stage that works in parts."""
    return parse_config(
        {
            "streaming": streaming,
            "store": {"root": str(root)},
            "teacher": {"base_url": f"http://127.0.0.1:{port}/v1", "attempts": 6},
            "seed": {
                "train_samples": 16,
                "heldout_samples": 6,
                "heldout_unseen_samples": 3,
                "tools_min": 3,
                "tools_max": 4,
                "turns_max": 2,
                "shard_size": 8,
            },
            "validate": {"shard_size": 16},
            "train": {
                "batch_size": 8,
                "group_size": 4,
                "epochs": 1,
                "max_prompt_tokens": 768,
                "max_response_tokens": 96,
            },
            "evaluate": {"max_new_tokens": 96},
            "probe": {"shard_size": 6, "max_new_tokens": 96},
            "judge": {"shard_size": 4},
            "expand": {"shard_size": 2, "per_seed": 2, "max_seeds": 4},
            "scout": {"shard_size": 6, "answers": 3},
            "merge": {"dataset_size": 16},
        }
    )


@dataclass
class Runner:
    """Runs campaigns in children of a process that has everything imported."""

    teacher: NoisyTeacher
    folder: Path
    policy: str
    process: "subprocess.Popen[str]"
    streaming: bool = False
    seen: Counter[bytes] = field(default_factory=Counter)

    def run(self, name: str, kill: Point | None = None) -> tuple[int, int]:
        """One start of a campaign: exit status, and how many requests an earlier start made already."""
        self.teacher.begin_anew()
        config = make_config(self.folder / name, self.teacher.port, self.streaming)
        job = {
            "config": config.model_dump(mode="json", by_alias=True),
            "journal": str(self.folder / f"{name}.journal"),
            "kill": kill,
            "policy": self.policy,
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        repeated = (self.teacher.bodies & self.seen).total()
        self.seen |= self.teacher.bodies
        return status, repeated

    def writes(self, name: str) -> list[tuple[int, str, str]]:
        """The journal of a campaign's writes: number, kind, path."""
        lines = (self.folder / f"{name}.journal").read_text().splitlines()
        return [(int(n), str(kind), str(path)) for n, kind, path in map(json.loads, lines)]

    def forget(self, name: str) -> None:
        """Delete a campaign."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / f"{name}.journal").unlink(missing_ok=True)
        self.seen.clear()


@contextmanager
def open_runner(
    folder: Path, policy: str = "hand-made", streaming: bool = False
) -> Iterator[Runner]:
    """A runner with its teacher; its campaigns live below a folder."""
    command = [sys.executable, "-m", "benchmarks.crash_child"]
    with (
        serve_teacher(noise=CALM) as teacher,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        yield Runner(teacher, folder, policy, process, streaming)
        assert process.stdin
        process.stdin.close()


@dataclass(frozen=True)
class Undisturbed:
    """What every other run must end with."""

    writes: list[tuple[int, str, str]]
    digests: dict[str, str]
    requests: int
    dearest: int
    """Requests of the part that cost most, parts that are under way together taken as one."""

    @property
    def points(self) -> list[Point]:
        """Before and after every write."""
        return [(number, when) for number, _, _ in self.writes for when in ("before", "after")]

    def points_of(self, stages: Sequence[str]) -> list[Point]:
        """Those of some stages; of all if none is named."""
        wanted = {n for n, _, path in self.writes if not stages or stage_of(path) in stages}
        return [point for point in self.points if point[0] in wanted]


def run_undisturbed(runner: Runner) -> Undisturbed:
    """The campaign that nothing happens to."""
    name = "calm"
    runner.forget(name)
    status, _ = runner.run(name)
    if status:
        raise RuntimeError(f"the undisturbed run ended with {status}")
    return Undisturbed(
        runner.writes(name),
        outcome(runner.folder / name),
        runner.teacher.requests,
        find_dearest(requests_by_part(runner.folder / name)),
    )


def stage_of(path: str) -> str:
    """The stage whose artifact a write belongs to, or `campaign` for the campaign's own records."""
    parts = path.lstrip("/").split("/")
    return parts[4] if len(parts) > 6 else "campaign"


def requests_by_part(root: Path) -> dict[str, int]:
    """Requests of each part, two that are under way together added up where a stage works so."""
    found: dict[str, int] = {}
    for folder in sorted(root.glob("campaigns/*/iterations/*/*/*")):
        notes = [json.loads(p.read_text()) for p in sorted(folder.glob("usage-*.json"))]
        notes += [json.loads(p.read_text())["usage"] for p in folder.glob("piece-*.json")]
        counts = [sum(stage["requests"] for stage in note.values()) for note in notes]
        if not counts and (folder / "manifest.json").is_file():
            usage = json.loads((folder / "manifest.json").read_text())["stats"].get("teacher", [])
            parts = usage if isinstance(usage, list) else [usage]
            counts = [sum(stage["requests"] for stage in part.values()) for part in parts]
            found |= {f"{folder.name}/{n}": count for n, count in enumerate(counts)}
        else:
            top = sorted(counts)[-2:]
            found[f"{folder.parent.name}/{folder.name}"] = sum(top)
    return found


def find_dearest(requests: dict[str, int]) -> int:
    """Of the stages that work one after another; the two kinds of work ahead go on at the same time."""
    ahead = [count for name, count in requests.items() if AHEAD in name]
    return max(sum(ahead), *(count for name, count in requests.items() if AHEAD not in name))


def try_point(runner: Runner, calm: Undisturbed, point: Point) -> JsonObject:
    """Kill a new campaign at a point, go on with it, and compare."""
    name = "killed"
    runner.forget(name)
    began = time.monotonic()
    killed, _ = runner.run(name, point)
    number, kind, path = runner.writes(name)[-1]
    went_on, repeated = runner.run(name)
    root = runner.folder / name
    found = survey(Store(str(root)))
    same = outcome(root) == calm.digests
    return {
        "write": point[0],
        "when": point[1],
        "kind": kind,
        "path": path.lstrip("/"),
        "killed": killed == -signal.SIGKILL and number == point[0],
        "went_on": went_on == 0,
        "same_digests": same,
        "rows": rows_of(root),
        "double_rows": doubles_of(root),
        "faults": len(found.faults),
        "repeated": repeated,
        "passed": bool(
            (killed == -signal.SIGKILL or (runner.streaming and killed == 0))
            and went_on == 0
            and same
            and not doubles_of(root)
            and not found.faults
            and repeated <= calm.dearest
        ),
        "seconds": round(time.monotonic() - began, 1),
    }


def rows_of(root: Path) -> int:
    """Rows of all committed artifacts."""
    manifests = root.glob("campaigns/*/iterations/*/*/*/manifest.json")
    return sum(part["rows"] for m in manifests for part in json.loads(m.read_text())["parts"])


def doubles_of(root: Path) -> int:
    """Samples that the pool or a dataset has twice."""
    store, doubles = Store(str(root)), 0
    for stage in ("pool", "dataset", "merge"):
        for manifest in root.glob(f"campaigns/*/iterations/*/{stage}/*/manifest.json"):
            ref = store.ref(store.uri(manifest.parent.relative_to(root).as_posix()))
            assert ref
            names = [sample.sample_id for sample in store.read(ref, "samples", Sample)]
            doubles += len(names) - len(set(names))
    return doubles


def spread(points: Sequence[Point], count: int | None) -> list[Point]:
    """All points, or so many of them, evenly."""
    if count is None or count >= len(points):
        return list(points)
    return [points[n * len(points) // count] for n in range(count)]


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=None, help="so many, evenly; all by default")
    parser.add_argument("--stages", nargs="*", default=[], help="points of these; all by default")
    parser.add_argument("--policy", choices=["hand-made", "engine", "real"], default="hand-made")
    parser.add_argument("--streaming", action="store_true", help="work ahead of the stages")
    parser.add_argument("--root", type=Path, default=None, help="folder for the campaigns")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.root or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with open_runner(folder, options.policy, options.streaming) as runner:
            return run_matrix(runner, options.points, options.stages, options.out)


def run_matrix(runner: Runner, count: int | None, stages: Sequence[str], out: Path | None) -> int:
    """Every point of the stages that is not in the results yet; the exit status."""
    calm = run_undisturbed(runner)
    print(f"{len(calm.points)} points, {calm.requests} requests", file=sys.stderr, flush=True)
    paths = [] if runner.streaming else [path for _, _, path in calm.writes]
    version = artifact_key("crash", calm.digests, paths)
    result: dict[str, Any] = {"version": version, "policy": runner.policy, "tried": []}
    if out and out.is_file() and (known := json.loads(out.read_text()))["version"] == version:
        result = known
    done = {(row["write"], row["when"]) for row in result["tried"]}
    for point in spread(calm.points_of(stages), count):
        if point not in done:
            result["tried"].append(try_point(runner, calm, point))
            row = result["tried"][-1]
            print(json.dumps(row), file=sys.stderr, flush=True)
            save(result, calm, out)
    save(result, calm, out)
    Console().print_json(json.dumps({k: v for k, v in result.items() if k != "tried"}))
    return 0 if all(row["passed"] for row in result["tried"]) else 1


def save(result: dict[str, Any], calm: Undisturbed, out: Path | None) -> None:
    """Write the results so far."""
    tried = sorted(result["tried"], key=lambda row: (row["write"], row["when"] == "after"))
    summary = {
        "points": len(calm.points),
        "tried": len(tried),
        "passed": sum(row["passed"] for row in tried),
        "writes": len(calm.writes),
        "artifacts": len(calm.digests),
        "requests": calm.requests,
        "requests_of_the_dearest_part": calm.dearest,
        "most_repeated": max((row["repeated"] for row in tried), default=0),
        "tried_by_stage": dict(Counter(stage_of(row["path"]) for row in tried)),
    }
    result |= {"summary": summary, "tried": tried}
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
