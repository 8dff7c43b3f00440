"""Both folders, made beside their place and moved there when whole."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow.parquet as pq

from looptool.artifacts import Store
from looptool.campaign import Campaign, IterationRecord
from looptool.errors import CampaignError, ConfigError
from looptool.publish.cards import Facts, render_card
from looptool.publish.formats import as_swift, as_trl
from looptool.records import JsonObject, Sample, Score
from looptool.schema import to_table
from looptool.train.rows import build_row
from looptool.train.verl.rows import pack_row, write_rows

CHECKPOINT = "checkpoint"
"""File group of a training artifact."""


@dataclass(frozen=True, slots=True)
class Published:
    """What was published."""

    iteration: int
    """j of M_j and D_j."""
    model: Path
    dataset: Path
    samples: int


def publish(campaign: Campaign, out: Path, iteration: int | None = None) -> Published:
    """Write `out/model` and `out/dataset`: the best policy (or that of `iteration`) and what it was trained on.

    Raises ConfigError if `out` holds something, CampaignError if there is no such policy.
    """
    records = campaign.complete()
    record = choose(campaign.name, records, iteration)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; give a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        samples = campaign.store.read(record.dataset, "samples", Sample)
        facts = collect_facts(campaign, records, record, samples)
        write_model(campaign.store, record, facts, unfinished / "model")
        write_dataset(samples, facts, unfinished / "dataset")
        if out.exists():
            out.rmdir()
        unfinished.chmod(0o755)
        unfinished.replace(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Published(record.iteration, out / "model", out / "dataset", len(samples))


def choose(name: str, records: Sequence[IterationRecord], iteration: int | None) -> IterationRecord:
    """The record of the iteration that trained the best policy, or of the one asked for."""
    if not records:
        raise CampaignError(
            f"campaign {name} has no complete iteration; run looptool/iterate first"
        )
    wanted = records[-1].best.iteration if iteration is None else iteration
    if iteration is None and wanted == 0:
        raise CampaignError(
            f"no policy of campaign {name} was better than the base model; --iteration publishes one anyway"
        )
    if not 1 <= wanted <= len(records):
        raise CampaignError(f"campaign {name} has iterations 1 to {len(records)}, not {wanted}")
    return records[wanted - 1]


def collect_facts(
    campaign: Campaign,
    records: Sequence[IterationRecord],
    record: IterationRecord,
    samples: Sequence[Sample],
) -> Facts:
    """What the cards say about an iteration."""
    store, settings = campaign.store, campaign.settings()
    start = records[0].start
    return Facts(
        campaign=campaign.name,
        iteration=record.iteration,
        base=Path(str(settings.get("policy.base", "the base model"))).name,
        settings=settings,
        before=tuple(store.read(start.scores, "scores", Score)),
        after=tuple(store.read(record.scores, "scores", Score)),
        dataset=store.manifest_of(record.dataset).stats,
        versions=find_versions(),
        digests={
            "base": start.checkpoint.digest,
            "checkpoint": record.checkpoint.digest,
            "dataset": record.dataset.digest,
        },
        languages=tuple(sorted({sample.language for sample in samples})),
    )


def find_versions() -> dict[str, str]:
    """Versions of what a user needs to go on with it."""
    found = {}
    for package in ("looptool", "transformers", "trl", "torch", "verl", "vllm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_model(store: Store, record: IterationRecord, facts: Facts, folder: Path) -> None:
    """The checkpoint in Hugging Face format, with its card."""
    ref = store.ref(record.checkpoint.uri)
    if ref is None:
        raise CampaignError(
            f"the checkpoint of iteration {record.iteration} is gone from the store"
        )
    with tempfile.TemporaryDirectory() as cache:
        shutil.copytree(store.fetch_files(ref, CHECKPOINT, Path(cache)), folder)
    (folder / "README.md").write_text(render_card("model_card", facts), encoding="utf-8")


def write_dataset(samples: Sequence[Sample], facts: Facts, folder: Path) -> None:
    """The samples in every format, with their card."""
    for name in ("trl", "swift", "verl"):
        (folder / name).mkdir(parents=True)
    pq.write_table(to_table("samples", samples), folder / "samples.parquet")
    _write_lines(folder / "trl" / "train.jsonl", samples, as_trl)
    _write_lines(folder / "swift" / "train.jsonl", samples, as_swift)
    rows = [pack_row(build_row(sample), number) for number, sample in enumerate(samples)]
    write_rows(rows, folder / "verl" / "train.parquet")
    (folder / "README.md").write_text(render_card("dataset_card", facts), encoding="utf-8")


def _write_lines(
    path: Path, samples: Sequence[Sample], convert: Callable[[Sample], JsonObject]
) -> None:
    with path.open("w", encoding="utf-8") as file:
        for sample in samples:
            file.write(json.dumps(convert(sample), ensure_ascii=False) + "\n")
