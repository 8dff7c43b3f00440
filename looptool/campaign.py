"""A campaign: one configuration, a chain of iterations, and which of them are complete.

    <root>/campaigns/<name>/campaign.json                      the configuration
    <root>/campaigns/<name>/iterations/0001/iteration.json     what iteration 1 ended with
    <root>/campaigns/<name>/spending/<session>.json            what the teacher cost in one session
    <root>/campaigns/<name>/retractions/<id>.json              samples that a person took out, or back in

An iteration is complete when its record exists and continues the record before it: after a change that
re-made iteration 1, an old record of iteration 2 no longer counts.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from looptool.artifacts import (
    ArtifactRef,
    CheckpointRef,
    Store,
    artifact_key,
    check_name,
)
from looptool.config import LoopConfig
from looptool.errors import ArtifactCorrupt, CampaignError, shorten
from looptool.records import JsonObject, Promotion, Record

R = TypeVar("R", bound=Record)

OPERATIONAL = {
    "streaming",
    "store",
    "benchmarks",  # measured beside the loop; part of the benchmark's own key
    "stop",
    "teacher.base_url",
    "teacher.max_concurrency",
    "teacher.timeout_s",
    "teacher.deadline_s",
    "teacher.attempts",
    "teacher.patience_s",
    "teacher.api_key_env",
    "teacher.price_in",
    "teacher.price_out",
    "teacher.budget_usd",
    "train.timeout_s",
    "train.threads",
    "policy.python",
    "policy.endpoint",
    "policy.api_key_env",
    "policy.ray_address",
    "policy.gpu_memory_rate",
    "policy.cache_gib",
    "policy.threads",
    "policy.processes",
    "policy.restarts",
    "policy.timeout_s",
    "probe.replicas",
    "judge.gate",
    "probe.tensor_parallel",
    "train.python",
    "train.ray_address",
    "train.ray_token_env",
    "train.save_steps",
    "train.keep_checkpoints",
    "train.stall_timeout_s",
    "merge.decontaminate",  # paths; what the files hold is part of the merge's key
}
"""Settings that change how a campaign runs but not what it computes: free to change at any time."""


class Standing(Record):
    """A policy with its held-out answers."""

    iteration: int
    """That trained it; 0 is the base model."""
    checkpoint: CheckpointRef
    scores: ArtifactRef
    """Tables `scores` and `probes`."""


class IterationRecord(Record):
    """What one iteration ended with: the state that the next one starts from."""

    iteration: int
    previous: str
    """`state` of the iteration before; empty for the first."""
    start: Standing
    """The policy that was trained on: the best one before M_j, at first the base model."""
    dataset: ArtifactRef
    """D_j, table `samples`."""
    checkpoint: CheckpointRef
    """M_j."""
    next_dataset: ArtifactRef
    """D_{j+1}, table `samples`."""
    scores: ArtifactRef
    """Held-out accuracy of M_j."""
    promotion: Promotion
    """Whether M_j is good enough to go on from."""
    best: Standing
    """The policy that the next iteration starts from: M_j if it was promoted."""
    verdicts: ArtifactRef
    """Judgements and planted pairs."""
    finished_at: str
    summary: JsonObject
    """The figures of the report's table."""

    @property
    def state(self) -> str:
        """Digest of what the next iteration builds on."""
        return artifact_key("state", self.next_dataset.digest, self.best.checkpoint.digest)


def list_campaigns(store: Store) -> list[str]:
    """Names of the campaigns on a store, in alphabetical order."""
    found = store.fs.glob(store.path("campaigns", "*", "campaign.json"))
    return sorted(str(path).split("/")[-2] for path in found)


def computed_settings(config: LoopConfig) -> JsonObject:
    """The settings that decide the results, flat: dotted key -> value."""
    flat: JsonObject = {}

    def walk(prefix: str, value: Any) -> None:
        if prefix in OPERATIONAL:
            return
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            flat[prefix] = value

    walk("", config.model_dump(mode="json", by_alias=True))
    return flat


class CampaignFile(Record):
    """campaign.json."""

    name: str
    settings: JsonObject


class Spending(Record):
    """What one session of the teacher cost."""

    cost_usd: float
    usage: JsonObject
    """Requests, tokens, cost and failures by stage."""


class Retraction(Record):
    """Samples that a person takes out of every later merge, or, with `undoes`, takes back in."""

    retraction_id: str
    samples: tuple[str, ...]
    with_descendants: bool = False
    """Also what was grown from them or corrects them, over all generations."""
    reason: str = ""
    by: str
    """Name of the account that asked for it."""
    made_at: str
    """UTC, ISO 8601."""
    undoes: tuple[str, ...] = ()
    """Ids of the retractions that no longer hold for these samples."""


def standing(retractions: Sequence[Retraction]) -> dict[str, tuple[Retraction, ...]]:
    """The retractions that hold, by sample; in any order of the records, so clocks do not matter."""
    undone = {(name, sample) for r in retractions for name in r.undoes for sample in r.samples}
    held: dict[str, tuple[Retraction, ...]] = {}
    for retraction in retractions:
        for sample in () if retraction.undoes else retraction.samples:
            if (retraction.retraction_id, sample) not in undone:
                held[sample] = (*held.get(sample, ()), retraction)
    return held


class Campaign:
    """The recorded state of one campaign on a store."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = check_name(name, "campaign")

    def folder(self, iteration: int) -> str:
        """Folder of an iteration's artifacts; iteration 0 is the seed phase."""
        return f"campaigns/{self.name}/iterations/{iteration:04d}"

    def adopt(self, config: LoopConfig, accept_change: bool = False) -> None:
        """Bind the campaign to a configuration.

        Raises CampaignError if it already has another one and the change was not accepted.
        """
        path = self.store.path("campaigns", self.name, "campaign.json")
        wanted = computed_settings(config)
        body = CampaignFile(name=self.name, settings=wanted).model_dump_json(indent=1).encode()
        if self.store.create(path, body):
            return
        known = self._read(path, CampaignFile).settings
        changed = sorted(k for k in known.keys() | wanted.keys() if known.get(k) != wanted.get(k))
        if not changed:
            return
        if not accept_change:
            shown = ", ".join(
                f"{k}: {shorten(known.get(k), 30)} -> {shorten(wanted.get(k), 30)}"
                for k in changed[:5]
            )
            raise CampaignError(
                f"campaign {self.name} exists with another configuration ({shown}"
                f"{', …' if len(changed) > 5 else ''}); choose another campaign name, or pass "
                "accept_config_change=true to re-run the changed stages and those after them"
            )
        self.store.put(path, body)

    def settings(self) -> JsonObject:
        """The settings that decide the results, by dotted key; CampaignError if there is no campaign."""
        path = self.store.path("campaigns", self.name, "campaign.json")
        if self.store.get(path) is None:
            raise CampaignError(f"no campaign {self.name} below {self.store.root}")
        return self._read(path, CampaignFile).settings

    def record(self, iteration: int) -> IterationRecord | None:
        """The record of an iteration, or None; it may no longer continue the one before."""
        path = self.store.path(self.folder(iteration), "iteration.json")
        if self.store.get(path) is None:
            return None
        return self._read(path, IterationRecord)

    def complete(self) -> list[IterationRecord]:
        """Records of the complete iterations, the unbroken chain from the first."""
        chain: list[IterationRecord] = []
        while True:
            record = self.record(len(chain) + 1)
            if record is None or record.previous != (chain[-1].state if chain else ""):
                return chain
            chain.append(record)

    def spent_usd(self) -> float:
        """What the teacher has cost, US dollars; stages that were never committed count as well."""
        sessions = self.store.objects(self.store.path("campaigns", self.name, "spending"))
        return sum(
            self._read(item.path, Spending).cost_usd
            for item in sessions
            if item.path.endswith(".json")
        )

    def record_spending(self, session: str, usage: JsonObject) -> None:
        """Store what a session of the teacher has cost so far, by stage, replacing earlier figures."""
        path = self.store.path("campaigns", self.name, "spending", f"{session}.json")
        cost = sum(float(stage["cost_usd"]) for stage in usage.values())
        body = Spending(cost_usd=cost, usage=usage).model_dump_json(indent=1)
        self.store.put(path, body.encode())

    def finish(self, record: IterationRecord) -> None:
        """Store the record of an iteration, replacing an older one."""
        path = self.store.path(self.folder(record.iteration), "iteration.json")
        self.store.put(path, record.model_dump_json(indent=1).encode())

    def retractions(self) -> list[Retraction]:
        """Every retraction and undo of the campaign, oldest first."""
        pattern = self.store.path("campaigns", self.name, "retractions", "*.json")
        found = [self._read(str(path), Retraction) for path in self.store.fs.glob(pattern)]
        return sorted(found, key=lambda r: (r.made_at, r.retraction_id))

    def record_retraction(self, retraction: Retraction) -> None:
        """Store a retraction; none is ever replaced. Raises CampaignError if its id is taken."""
        name = check_name(retraction.retraction_id, "retraction")
        path = self.store.path("campaigns", self.name, "retractions", f"{name}.json")
        if not self.store.create(path, retraction.model_dump_json(indent=1).encode()):
            raise CampaignError(f"retraction {name} of campaign {self.name} exists already")

    def _read(self, path: str, model: type[R]) -> R:
        data = self.store.get(path)
        try:
            return model.model_validate_json(data or b"")
        except ValidationError as exc:
            raise ArtifactCorrupt(f"{path} is not readable: {shorten(exc, 200)}") from exc
