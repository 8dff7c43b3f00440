"""veRL's metrics and rollouts as `StepMetrics` and pass counts, step by step.

veRL appends one line of metrics a step to its file logger, and writes the step's rollouts to
`rollouts/<step>.jsonl`. Each pair becomes one small `steps/<step>.json`; the rollouts, which repeat
every prompt and its tools, are then removed. A resumed run overwrites the steps after its
checkpoint. A rollout that failed for infrastructure reasons is not among them: veRL leaves it out
of the batch, and it is counted as masked.
"""

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looptool.calls import parse_reply
from looptool.errors import TrainingError
from looptool.records import RolloutStat, StepMetrics

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a step should hold."""

    batch_size: int
    group_size: int
    max_response_tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step."""

    metrics: StepMetrics
    rollouts: tuple[RolloutStat, ...]
    """Pass counts of the samples of this step."""
    tokens: int
    """Generated tokens."""
    timings: dict[str, float]
    """Seconds in `generate`, `update`, `save`."""


def build_step(
    number: int, logged: Mapping[str, float], rollouts: Sequence[JsonObject], sizes: Sizes
) -> Step:
    """One step of a line of the file logger and the rows of a rollout file."""
    groups = _group_scores(rollouts)
    counts = _count_samples(rollouts)
    scores = [score for group in groups for score in group]
    if not scores:
        raise TrainingError(f"step {number} has no rollout: all of them failed")
    signalless = sum(len(set(group)) == 1 for group in groups)
    # The rate that veRL logs compares with the longest answer, whatever its length.
    at_limit = logged["response_length/max"] >= sizes.max_response_tokens
    metrics = StepMetrics(
        step=number,
        loss=logged["actor/pg_loss"],
        reward_mean=statistics.fmean(scores),
        reward_std=statistics.fmean(statistics.pstdev(group) for group in groups),
        zero_variance_rate=signalless / len(groups),
        response_tokens_mean=logged["response_length/mean"],
        truncated_rate=logged["response_length/clip_ratio"] if at_limit else 0.0,
        entropy=logged.get("actor/entropy"),
        seconds=logged["timing_s/step"],
        clip_rate=logged.get("actor/pg_clipfrac"),
        parse_error_rate=sum(s.parse_errors for s in counts) / len(scores),
        pass_any_rate=sum(max(group) > 0 for group in groups) / len(groups),
        masked=sizes.batch_size * sizes.group_size - len(scores),
    )
    generated = logged["response_length/mean"] * len(scores)
    return Step(metrics, counts, round(generated), _timings(logged))


def _group_scores(rollouts: Iterable[JsonObject]) -> list[list[float]]:
    """Scores by group: a row's `uid` is `<group>_<rollout>_<output>`."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for row in rollouts:
        groups[row["uid"].rsplit("_", 2)[0]].append(float(row["score"]))
    return list(groups.values())


def _count_samples(rollouts: Iterable[JsonObject]) -> tuple[RolloutStat, ...]:
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rollouts:
        found = counts[json.loads(row["gts"])["sample_id"]]
        found[0] += 1
        found[1] += int(row["score"] > 0)
        found[2] += int(parse_reply(row["output"]).error is not None)
    return tuple(
        RolloutStat(sample_id=sample, rollouts=n, passed=passed, parse_errors=errors)
        for sample, (n, passed, errors) in sorted(counts.items())
    )


def _timings(logged: Mapping[str, float]) -> dict[str, float]:
    parts = {
        "generate": ("gen",),
        "update": ("old_log_prob", "ref", "adv", "update_actor", "update_weights"),
        "save": ("save_checkpoint",),
    }
    return {
        name: sum(logged.get(f"timing_s/{key}", 0.0) for key in keys)
        for name, keys in parts.items()
    }


class StepFolder:
    """The steps of one work folder, the ones of earlier attempts included."""

    def __init__(self, work: Path, sizes: Sizes) -> None:
        self._folder = work / "steps"
        self._rollouts = work / "rollouts"
        self._sizes = sizes
        self._folder.mkdir(parents=True, exist_ok=True)
        self._rollouts.mkdir(parents=True, exist_ok=True)

    def forget_after(self, step: int) -> None:
        """Drop what a resumed run will do again, and rollouts that were never read."""
        for folder in (self._folder, self._rollouts):
            for path in folder.iterdir():
                if not path.stem.isdigit() or int(path.stem) > step:
                    path.unlink()

    def read_new(self, metrics_file: Path, *, ended: bool) -> list[StepMetrics]:
        """Steps that are whole since the last call, in order; `ended`: nothing more will come."""
        found = []
        for number, logged in _read_log(metrics_file):
            path = self._path(number)
            if path.is_file():
                continue
            rollouts = self._read_rollouts(number, ended=ended)
            if rollouts is None:
                break
            step = build_step(number, logged, rollouts, self._sizes)
            _write_whole(path, _dump(step))
            (self._rollouts / f"{number}.jsonl").unlink()
            found.append(step.metrics)
        return found

    def read_all(self) -> list[Step]:
        """Every step so far, in order."""
        return [_load(path) for path in sorted(self._folder.glob("*.json"))]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.json"

    def _read_rollouts(self, number: int, *, ended: bool) -> list[JsonObject] | None:
        """The step's rollouts without padding rows; None while the file is being written."""
        path = self._rollouts / f"{number}.jsonl"
        following = self._rollouts / f"{number + 1}.jsonl"
        if not path.is_file():
            if ended:
                raise TrainingError(f"veRL logged step {number} but wrote no {path}")
            return None
        rows = [row for row in _json_lines(path) if not row["uid"].startswith("pad")]
        whole = len(rows) >= self._sizes.batch_size * self._sizes.group_size
        # Files are written one after the other, so the next one says that this one is whole.
        return rows if whole or ended or following.is_file() else None


def last_visits(steps: Sequence[Step]) -> tuple[RolloutStat, ...]:
    """Pass counts of each sample in the last step that it was in."""
    found: dict[str, RolloutStat] = {}
    for step in steps:
        found.update({stat.sample_id: stat for stat in step.rollouts})
    return tuple(stat for _, stat in sorted(found.items()))


def _read_log(path: Path) -> list[tuple[int, dict[str, float]]]:
    if not path.is_file():
        return []
    lines = _json_lines(path)
    return [(line["step"], line["data"]) for line in lines if "actor/pg_loss" in line["data"]]


def _json_lines(path: Path) -> list[JsonObject]:
    """Whole lines; the last one may still be in the making."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n") if line]


def _dump(step: Step) -> JsonObject:
    return {
        "metrics": step.metrics.model_dump(),
        "rollouts": [stat.model_dump() for stat in step.rollouts],
        "tokens": step.tokens,
        "timings": step.timings,
    }


def _load(path: Path) -> Step:
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Step(
        metrics=StepMetrics.model_validate(raw["metrics"]),
        rollouts=tuple(RolloutStat.model_validate(stat) for stat in raw["rollouts"]),
        tokens=raw["tokens"],
        timings=raw["timings"],
    )


def _write_whole(path: Path, value: JsonObject) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value), encoding="utf-8")
    os.replace(partial, path)
