"""Did wrong labels teach anything? Read off the store: which groups carried a gradient, by the truth.

GRPO learns from a group only when its rollouts were rewarded differently. So a wrong label is harmful where
the policy sometimes gives the wrong answer, and only takes a place where it never does. For every measured
round whose training is still in the store, one row of kind `gradient` counts, for right and for wrong labels,
the groups of each sample's last epoch and those of them with both rewards.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby
from pathlib import Path

from benchmarks.closed_loop.measure import checkpoint_digest, wrong_ids
from benchmarks.closed_loop.rows import IDENTITY, Row, RowFile
from benchmarks.closed_loop.study import Study
from looptool.artifacts import ArtifactRef, Store
from looptool.artifacts.manifest import MANIFEST
from looptool.records import JsonObject, RolloutStat, Sample


def count_gradients(study: Study) -> int:
    """Append the rows that are missing; how many."""
    rows = RowFile(study.out)
    store = Store(str(study.root.resolve()))
    every = rows.read()
    done = {_name(row) for row in every if row["kind"] == "gradient"}
    found = 0
    for (seed, number), some in _by_place(_wanted(every, study, done)):
        for row, counted in _count(store, study.root.resolve(), seed, number, some):
            kept = {name: row[name] for name in (*IDENTITY, "round", "checkpoint", "code")}
            rows.append({**kept, "kind": "gradient", **counted})
            found += 1
    return found


def count_groups(stats: Iterable[RolloutStat], wrong: Set[str]) -> JsonObject:
    """`[groups, of these with both rewards]` over right and over wrong labels."""
    counts = {"right": [0, 0], "wrong": [0, 0]}
    for stat in stats:
        if stat.rollouts:
            count = counts["wrong" if stat.sample_id in wrong else "right"]
            count[0] += 1
            count[1] += 0 < stat.passed < stat.rollouts
    return dict(counts)


def _wanted(rows: Sequence[Row], study: Study, done: Set[tuple[object, ...]]) -> list[Row]:
    own = [r for r in rows if r["kind"] == "round" and r["study"] == study.name]
    last = {_name(row): row for row in own if row["setting"] == study.setting}
    return [row for name, row in last.items() if name not in done]


def _name(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in (*IDENTITY, "round", "checkpoint"))


def _by_place(rows: Iterable[Row]) -> Iterator[tuple[tuple[int, int], list[Row]]]:
    """The rows of one seed and round at a time: those that lie in one folder."""
    ordered = sorted(rows, key=_place)
    return ((place, list(some)) for place, some in groupby(ordered, _place))


def _place(row: Row) -> tuple[int, int]:
    return row["seed"], row["round"]


def _count(
    store: Store, root: Path, seed: int, number: int, rows: Sequence[Row]
) -> Iterator[tuple[Row, JsonObject]]:
    iterations = root / "campaigns" / f"seed-{seed}" / "iterations"
    trained = {
        checkpoint_digest(store.manifest_of(ref)): ref
        for ref in _artifacts(store, iterations / f"{number:04d}" / "train")
    }
    # D_j was made in the iteration before, or beside the training, or is the first one again.
    datasets = {
        ref.digest: ref
        for at in {0, number - 1, number}
        for stage in ("dataset", "merge")
        for ref in _artifacts(store, iterations / f"{at:04d}" / stage)
    }
    counted: dict[str, JsonObject] = {}  # round 1 is one training for all arms
    for row in rows:
        training, dataset = trained.get(row["checkpoint"]), datasets.get(row["dataset"]["digest"])
        if training is None or dataset is None:
            continue
        if training.uri not in counted:
            samples = {s.sample_id: s for s in store.read(dataset, "samples", Sample)}
            stats = store.read(training, "rollouts", RolloutStat)
            counted[training.uri] = count_groups(stats, wrong_ids(list(samples.values())))
        yield row, counted[training.uri]


def _artifacts(store: Store, folder: Path) -> Iterator[ArtifactRef]:
    for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
        if ref := store.ref(str(manifest.parent)):
            yield ref
