"""The campaign's state around an iteration: open it, conclude it, show what it brought."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from looptool.artifacts import ArtifactRef, CheckpointRef, Store, open_store
from looptool.campaign import Campaign, IterationRecord, Standing
from looptool.config import LoopConfig, StopConfig
from looptool.errors import CampaignError, ConfigError
from looptool.evaluate import decide_promotion
from looptool.records import (
    JsonObject,
    Judgement,
    Origin,
    ProbeResult,
    Promotion,
    Sample,
    Score,
    Split,
    Verdict4,
)
from looptool.seed import collect_tools
from tasks.events import emit
from tasks.profiles import resolve_profile
from tasks.progress import logger
from tasks.scope import Scope

VERDICTS = (*get_args(Verdict4), "unjudged")
SCOUTED = {"expansions": "expansions", "waiting": "waiting", "new_seeds": "unused seeds"}
"""Sorts of scouted samples, by field of the stage's report."""


def open_iteration(
    campaign: str,
    profile: str,
    iteration: int | None,
    overrides: Mapping[str, Any],
    accept_config_change: bool,
) -> tuple[Scope, list[IterationRecord]]:
    """The scope of the iteration to run, and the records of all before it.

    Everything that can be wrong with the input is found here, before any work starts: profile, store,
    model folder, the campaign's configuration, an iteration that cannot be run yet.
    """
    config = resolve_profile(profile, overrides)
    store = open_store(config.store)
    store.check()
    state = Campaign(store, campaign)
    complete = state.complete()
    check_inputs(config, tools=not complete)
    state.adopt(config, accept_config_change)
    number = iteration if iteration is not None else len(complete) + 1
    if number > len(complete) + 1:
        raise CampaignError(
            f"campaign {campaign} has {len(complete)} complete iterations; iteration {number} cannot "
            f"run before iteration {len(complete) + 1}"
        )
    logger().info("campaign %s, iteration %d, store %s", campaign, number, config.store.root)
    scope = Scope(campaign=campaign, iteration=number, config=config)
    return scope, complete[: number - 1]


def check_inputs(config: LoopConfig, tools: bool = True) -> None:
    """Raise what is wrong with the base model or a local source of tools, before any work.

    `tools` False leaves the sources alone: a campaign that has its tools starts no server for them.
    """
    base = Path(config.policy.base)
    if not (base / "config.json").is_file():
        raise ConfigError(
            f"policy.base = {config.policy.base}: no model there (config.json is missing); give the "
            "folder of a checkpoint in Hugging Face format, for example models/nano-base"
        )
    local = [s for s in config.seed.sources if s.format != "catalogue" and "://" not in s.location]
    if local and tools:
        collect_tools(local)


def conclude(
    scope: Scope,
    before: list[IterationRecord],
    *,
    dataset: ArtifactRef,
    pool: ArtifactRef,
    policy: CheckpointRef,
    scores: ArtifactRef,
    start: Standing,
    merged: ArtifactRef,
    stages: Mapping[str, ArtifactRef],
) -> IterationRecord:
    """Store the iteration's record: from here on it is complete.

    `start` is the policy that the iteration started from, the best so far.
    """
    store = scope.store()
    promotion = compare_policies(scope, pool, start, scores)
    trained = Standing(iteration=scope.iteration, checkpoint=policy, scores=scores)
    record = IterationRecord(
        iteration=scope.iteration,
        previous=before[-1].state if before else "",
        start=start,
        dataset=dataset,
        checkpoint=policy,
        next_dataset=merged,
        scores=scores,
        promotion=promotion,
        best=trained if promotion.promoted else start,
        verdicts=stages["judge"],
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        summary=summarise(store, dataset, scores, start.scores, stages, promotion),
    )
    Campaign(store, scope.campaign).finish(record)
    announce(scope, record)
    return record


def compare_policies(
    scope: Scope, pool: ArtifactRef, start: Standing, scores: ArtifactRef
) -> Promotion:
    """Whether the policy with these scores replaces the best one; what fell is a warning in the log."""
    store = scope.store()
    promotion = decide_promotion(
        [s for s in store.read(pool, "samples", Sample) if s.split is not Split.TRAIN],
        store.read(start.scores, "probes", ProbeResult),
        store.read(scores, "probes", ProbeResult),
        scope.config.promotion,
        against=start.iteration,
    )
    if promotion.reason:
        fate = (
            "it stays" if promotion.promoted else f"the next round starts from M_{start.iteration}"
        )
        logger().warning("M_%d: %s; %s", scope.iteration, promotion.reason, fate)
    return promotion


def announce(scope: Scope, record: IterationRecord) -> None:
    """Tell Prefect's automations what the iteration brought."""
    payload = {
        "iteration": record.iteration,
        "accuracy": record.summary["accuracy"],
        "promoted": record.promotion.promoted,
        "reason": record.promotion.reason,
        "labels_changed": record.summary["labels_changed"],
    }
    emit("iteration.completed", scope, payload)
    if record.promotion.reason:
        emit("accuracy.dropped", scope, payload)
    if record.summary["labels_withheld"]:
        reason = record.summary["judge"]
        emit("judge.untrusted", scope, {"iteration": record.iteration, "reason": reason})


def accuracies(store: Store, ref: ArtifactRef) -> dict[str, float]:
    """Held-out accuracy by slice."""
    return {score.slice: score.accuracy for score in store.read(ref, "scores", Score)}


def summarise(
    store: Store,
    dataset: ArtifactRef,
    scores: ArtifactRef,
    earlier: ArtifactRef,
    stages: Mapping[str, ArtifactRef],
    promotion: Promotion,
) -> JsonObject:
    """The figures of one iteration: `table` for people, `accuracy` by slice for programs."""
    after, start = accuracies(store, scores), accuracies(store, earlier)
    stats = {name: store.manifest_of(ref).stats for name, ref in stages.items()}
    judgements = store.read(stages["judge"], "judgements", Judgement)
    verdicts = Counter(judgement.verdict for judgement in judgements)
    changed = sum(judgement.new_label is not None for judgement in judgements)
    proposed = sum(judgement.proposed_label is not None for judgement in judgements)
    table: dict[str, str] = {}
    for name in ("all", "seen", "unseen", "relevance", "irrelevance"):
        if name in after:
            moved = f"{100 * start[name]:.1f} -> " if name in start else ""
            table[f"held-out, {name} (%)"] = f"{moved}{100 * after[name]:.1f}"
    table["promoted"] = "yes" if promotion.promoted else f"no: M_{promotion.against} stays the best"
    origins = store.manifest_of(dataset).stats.get("by_origin", {})
    table["dataset size"] = str(dataset.rows.get("samples", 0))
    table |= {f"  {name}": str(origins.get(name, 0)) for name in Origin}
    table["mismatches"] = str(stats["probe"].get("mismatched", 0))
    table |= {f"  {name}": str(verdicts[name]) for name in VERDICTS}
    table["labels changed"] = f"{changed} of {proposed} proposed"
    found = stats["scout"]["report"]
    for name, title in SCOUTED.items():
        table[f"{title} with signal"] = f"{found[name]['mixed']} of {found[name]['asked']}"
    memory = stats["probe"]["reprobes"]
    table["forgotten, of retired"] = f"{memory['forgotten']} of {memory['asked']}"
    for name, stat in stats.items():
        if "per_second" in stat:
            table[f"{name}, samples/s"] = f"{stat['per_second']:.1f}"
    return {
        "table": table,
        "accuracy": after,
        "accuracy_before": start,
        "verdicts": dict(verdicts),
        "labels_changed": changed,
        "labels_withheld": proposed - changed,
        "judge": str(stats["judge"].get("judge_trust_reason", "")),
        "reprobed": memory["asked"],
        "forgotten": memory["forgotten"],
    }


def should_stop(history: list[IterationRecord], rule: StopConfig) -> str:
    """Why a campaign should end now; empty to go on."""
    scores = [float(record.summary["accuracy"].get("all", 0.0)) for record in history]
    if len(scores) <= rule.plateau_rounds:
        return ""
    recent, earlier = scores[-rule.plateau_rounds :], scores[: -rule.plateau_rounds]
    if max(recent) <= max(earlier) + rule.min_gain:
        return (
            f"no held-out accuracy above {100 * (max(earlier) + rule.min_gain):.1f}% in the last "
            f"{rule.plateau_rounds} iterations"
        )
    return ""
