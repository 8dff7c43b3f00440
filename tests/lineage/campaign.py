"""A small campaign of two iterations, by the real tasks; only what needs a model or a judge is written here.

What the probe and the judge say of a sample depends on the sample alone, so that two campaigns that
share samples agree on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.iterations import make_record
from benchmarks.seed_noise import run_seed_phase
from looptool.artifacts import ArtifactRef, CheckpointRef, Store
from looptool.campaign import Campaign, IterationRecord
from looptool.config import LoopConfig, parse_config
from looptool.decisions import relabel
from looptool.lineage.difference import render_label
from looptool.records import (
    Judgement,
    Label,
    Origin,
    ProbeResult,
    Record,
    Rejection,
    Retracted,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    Vote,
    content_id,
    make_sample,
)
from looptool.schema import table_of
from tasks.merge import first_dataset, merge
from tasks.retracted import find_retracted
from tasks.scope import Input, Scope, Stage

NAME = "noise"
"""As the seed phase of the benchmarks calls its campaign."""
SEED = {
    "train_samples": 40, "heldout_samples": 6, "heldout_unseen_samples": 4, "tools_min": 3,
    "tools_max": 4, "turns_max": 3, "shard_size": 16,
}  # fmt: skip


def make_config(root: Path) -> LoopConfig:
    merging = {"dataset_size": 24, "unsolved_rate_max": 1.0}
    return parse_config({"store": {"root": str(root)}, "seed": SEED, "merge": merging})


def lot(sample: Sample, sides: int) -> int:
    """A number that depends on what the sample says alone."""
    return int(content_id("x", sample.label.model_dump(), len(sample.messages))[2:10], 16) % sides


def wrong_label(label: Label) -> Label:
    """Another answer: the first call with one more argument, or other words."""
    if not label.calls:
        return Label(text=label.text + " Really.")
    first = label.calls[0]
    arguments = {**first.arguments, "note": len(first.arguments)}
    return Label(calls=(ToolCall(name=first.name, arguments=arguments), *label.calls[1:]))


VERDICTS = ("matched", "matched", "PRED_WRONG", "LABEL_WRONG", "withheld", "BOTH_WRONG", "unjudged")


def verdict_of(sample: Sample) -> str:
    return VERDICTS[lot(sample, len(VERDICTS))]


def answer(sample: Sample) -> ProbeResult:
    """What M_j says."""
    matched = verdict_of(sample) == "matched"
    said = sample.label if matched else wrong_label(sample.label)
    return ProbeResult(
        sample_id=sample.sample_id,
        output=render_label(said),
        matched=matched,
        relaxed=matched,
        called=bool(said.calls),
        mismatch="" if matched else "arguments.note: not expected",
        tokens=9,
        ppl_output=1.0 + lot(sample, 997) / 100,
        pass_rate=0.5,
    )


def judge(sample: Sample) -> Judgement | None:
    """What the judge says of it."""
    verdict = verdict_of(sample)
    if verdict == "matched":
        return None
    predicted = wrong_label(sample.label)
    wrong = verdict in ("LABEL_WRONG", "withheld")
    fields: dict[str, Any] = {"proposed_label": predicted} if wrong else {}
    if verdict == "LABEL_WRONG":
        fields["new_label"] = predicted
    if verdict == "withheld":
        fields["note"] = "precision below the floor"
    said = "LABEL_WRONG" if wrong else verdict
    votes = tuple(
        Vote(
            model="scripted",
            label_first=first,
            verdict="unreadable" if said == "unjudged" else said,  # type: ignore[arg-type]
            error_analysis="The note was asked for.",
            right_approach="Read [b]all[/b] of the request.",
        )
        for first in (True, False)
    )
    return Judgement(
        sample_id=sample.sample_id, verdict=said, votes=votes, predicted=predicted, **fields  # type: ignore[arg-type]
    )  # fmt: skip


def grow(parent: Sample, iteration: int, number: int) -> Sample:
    """A new conversation with its parent's trap."""
    said = UserMessage(
        content=f"{parent.messages[-1].content} Case {parent.sample_id}/{iteration}/{number}."
    )
    return make_sample(
        kind=parent.kind,
        split=parent.split,
        origin=Origin.EXPANSION,
        tools=parent.tools,
        messages=(*parent.messages[:-1], said),
        label=parent.label,
        dialogue_id=content_id("d", parent.sample_id, iteration, number),
        parent_id=parent.sample_id,
        root_id=parent.root_id or parent.sample_id,
        born_in=iteration,
    )


@dataclass
class Run:
    """A campaign on a store, step by step."""

    config: LoopConfig
    pool: ArtifactRef
    name: str = NAME
    drop: Callable[[Sample], bool] = lambda sample: False
    """Samples that this campaign never grows."""
    merged_with: list[Retracted] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.config.store.root)

    @property
    def campaign(self) -> Campaign:
        return Campaign(self.store, self.name)

    def scope(self, iteration: int) -> Scope:
        return Scope(campaign=self.name, iteration=iteration, config=self.config)

    def samples(self, ref: ArtifactRef) -> list[Sample]:
        return self.store.read(ref, "samples", Sample)

    def write(
        self,
        stage_name: str,
        iteration: int,
        inputs: dict[str, Input],
        **tables: Sequence[Record],
    ) -> ArtifactRef:
        """An artifact of a stage, by hand."""
        stage = Stage(stage_name, self.scope(iteration), inputs)
        if done := stage.committed():
            return done
        for name, rows in tables.items():
            stage.writer.write(name, table_of(name).kind, rows)
        return stage.commit({})

    def dataset(self) -> ArtifactRef:
        """D_1."""
        start = self.scope(0)
        retracted = find_retracted(start, self.pool)
        return first_dataset.fn(scope=start, pool=self.pool, retracted=retracted)

    def iterate(self, number: int) -> IterationRecord:
        """One iteration, run or run again, up to its record."""
        before = self.campaign.complete()[: number - 1]
        dataset = before[-1].next_dataset if before else self.dataset()
        checkpoint = CheckpointRef(uri="model", digest=f"m{number}-{dataset.digest}")
        record = make_record(
            number,
            dataset=dataset,
            merged=self.merge(number, [*(r.dataset for r in before), dataset]),
            checkpoint=checkpoint,
            scores=dataset,
            verdicts=self.parts(number, dataset)["verdicts"],
            before=before[-1] if before else None,
            summary={"table": {}},
        )
        self.campaign.finish(record)
        return record

    def parts(self, number: int, dataset: ArtifactRef) -> dict[str, ArtifactRef]:
        """What probe, judge, expansion and validation made of D_j."""
        samples = self.samples(dataset)
        probes = self.write(
            "probe", number, {"dataset": dataset}, probes=list(map(answer, samples))
        )
        judged = {s.sample_id: found for s in samples if (found := judge(s))}
        verdicts = self.write(
            "judge",
            number,
            {"dataset": dataset, "probes": probes},
            judgements=list(judged.values()),
        )
        grown = [child for s in samples for child in children_of(s, number) if not self.drop(child)]
        inputs: dict[str, Input] = {"dataset": dataset, "verdicts": verdicts}
        candidates = self.write("expand", number, inputs, samples=grown)
        kept = [child for child in grown if is_kept(child)]
        rejected = [
            Rejection(
                stage="validate",
                row_id=child.sample_id,
                rule="ungrounded_value",
                detail="note",
                row=child.model_dump(mode="json"),
            )
            for child in grown
            if not is_kept(child)
        ]
        checked = self.write(
            "validate", number, {"candidates": candidates}, samples=kept, rejections=rejected
        )
        return {"probes": probes, "verdicts": verdicts, "expansions": checked}

    def merge(self, number: int, history: Sequence[ArtifactRef]) -> ArtifactRef:
        """D_{j+1}."""
        made = self.parts(number, history[-1])
        scope = self.scope(number)
        retracted = find_retracted(scope, self.pool, history, made["verdicts"], made["expansions"])
        self.merged_with.append(retracted)
        return merge.fn(scope=scope, pool=self.pool, history=history, retracted=retracted, **made)


def is_kept(child: Sample) -> bool:
    """Whether validation accepts it."""
    return int(child.sample_id[-2:], 16) % 5 > 0


def children_of(sample: Sample, iteration: int) -> list[Sample]:
    """Its expansions in one iteration."""
    found = judge(sample)
    if found is None or found.verdict not in ("PRED_WRONG", "LABEL_WRONG"):
        return []
    if found.verdict == "LABEL_WRONG" and found.new_label is None:
        return []
    parent = relabel(sample, found, iteration) if found.new_label else sample
    return [grow(parent, iteration, number) for number in range(2)]


def start(root: Path) -> Run:
    """A campaign with its seeds."""
    config = make_config(root)
    run = Run(config, run_seed_phase(config))
    run.campaign.adopt(config)
    return run


def datasets_digest(run: Run, ref: ArtifactRef) -> list[str]:
    """Digest of the samples of a dataset, part by part."""
    manifest = run.store.manifest_of(ref)
    return [part.sha256 for part in manifest.parts if part.table == "samples"]


def training_pool(run: Run) -> list[Sample]:
    return [sample for sample in run.samples(run.pool) if sample.split is Split.TRAIN]
