"""Which artifacts made which dataset: read off the campaign's records and manifests alone.

A manifest names its inputs by digest, so from the record of an iteration one finds the probe, the
verdicts and the expansions that its dataset was really made from, also when the iteration was run
several times with other settings. Of an iteration under way the newest artifacts count.
"""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from looptool.artifacts import MANIFEST, ArtifactRef, Manifest, Store
from looptool.campaign import Campaign, IterationRecord, list_campaigns
from looptool.errors import CampaignError


@dataclass(frozen=True, slots=True)
class Round:
    """One iteration: from D_j to D_{j+1}; None where it has not come that far."""

    iteration: int
    dataset: ArtifactRef
    """D_j."""
    probes: ArtifactRef | None = None
    verdicts: ArtifactRef | None = None
    grown: ArtifactRef | None = None
    """Expansions as they were written, before validation."""
    checked: ArtifactRef | None = None
    """Expansions that passed, and the rejections."""
    next_dataset: ArtifactRef | None = None
    """D_{j+1}, with the fates of D_j."""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """A campaign from its seeds to its newest dataset."""

    store: Store
    campaign: str
    played: tuple[ArtifactRef, ...]
    """Rounds of the seed phase: tables `plays` and `samples`."""
    accepted: tuple[ArtifactRef, ...]
    """Their validation: tables `samples` and `rejections`."""
    pool: ArtifactRef | None
    first: ArtifactRef | None
    """The artifact that holds D_1, with the fates of the seeds that could not enter."""
    rounds: tuple[Round, ...]

    def datasets(self) -> dict[int, ArtifactRef]:
        """Every D_j by its number."""
        found = {1: self.first} if self.first else {}
        for one in self.rounds:
            found[one.iteration] = one.dataset
            if one.next_dataset:
                found[one.iteration + 1] = one.next_dataset
        return found


def open_campaign(store: Store, name: str | None) -> Campaign:
    """The campaign of that name, or the only one there is; CampaignError lists what there is."""
    known = list_campaigns(store)
    listed = ", ".join(known) or "none"
    if name is None:
        if len(known) != 1:
            raise CampaignError(
                f"say which campaign: --campaign NAME; below {store.root}: {listed}"
            )
        name = known[0]
    if name not in known:
        raise CampaignError(f"no campaign {name} below {store.root}; there are: {listed}")
    return Campaign(store, name)


def read_timeline(campaign: Campaign) -> Timeline:
    """What the campaign has made so far."""
    store, records = campaign.store, campaign.complete()
    start = _committed(campaign, 0)
    first = records[0].dataset if records else _newest(start, "dataset")
    rounds = [_resolve(record, _committed(campaign, record.iteration), store) for record in records]
    under_way = records[-1].next_dataset if records else first
    if under_way is not None:
        number = len(records) + 1
        rounds.append(_follow(number, under_way, _committed(campaign, number)))
    return Timeline(
        store=store,
        campaign=campaign.name,
        played=tuple(made.ref for made in start if made.ref.stage == "seed"),
        accepted=tuple(made.ref for made in start if made.ref.stage == "validate"),
        pool=_pool_of(first, start),
        first=first,
        rounds=tuple(rounds),
    )


@dataclass(frozen=True, slots=True)
class _Made:
    """A committed artifact of an iteration."""

    manifest: Manifest
    ref: ArtifactRef


def _committed(campaign: Campaign, iteration: int) -> list[_Made]:
    """The artifacts of an iteration, oldest first."""
    store = campaign.store
    pattern = store.path(campaign.folder(iteration), "*", "*", MANIFEST)
    found: list[_Made] = []
    for path in store.fs.glob(pattern):
        uri = str(store.fs.unstrip_protocol(posixpath.dirname(str(path))))
        manifest, ref = store.read_manifest(uri), store.ref(uri)
        if manifest is not None and ref is not None:
            found.append(_Made(manifest, ref))
    return sorted(found, key=lambda made: (made.manifest.created_at, made.ref.uri))


def _newest(made: Iterable[_Made], stage: str, **inputs: ArtifactRef | None) -> ArtifactRef | None:
    """The newest artifact of a stage with these inputs; None without it or one of them."""
    if None in inputs.values():
        return None
    wanted = {name: ref.digest for name, ref in inputs.items() if ref}
    fits = [
        one.ref
        for one in made
        if one.ref.stage == stage and wanted.items() <= one.manifest.inputs.items()
    ]
    return fits[-1] if fits else None


def _of_digest(made: Iterable[_Made], digest: str | None) -> ArtifactRef | None:
    return next((one.ref for one in made if one.ref.digest == digest), None)


def _inputs_of(made: Iterable[_Made], ref: ArtifactRef | None) -> dict[str, str]:
    uri = ref.uri if ref else ""
    return next((one.manifest.inputs for one in made if one.ref.uri == uri), {})


def _pool_of(first: ArtifactRef | None, start: Sequence[_Made]) -> ArtifactRef | None:
    digest = _inputs_of(start, first).get("pool")
    return _of_digest(start, digest) or _newest(start, "pool")


def _resolve(record: IterationRecord, made: Sequence[_Made], store: Store) -> Round:
    """A complete iteration, from what its dataset was made of."""
    inputs = store.manifest_of(record.next_dataset).inputs
    checked = _of_digest(made, inputs.get("expansions"))
    return Round(
        iteration=record.iteration,
        dataset=record.dataset,
        probes=_of_digest(made, inputs.get("probes")),
        verdicts=_of_digest(made, inputs.get("verdicts")),
        grown=_of_digest(made, _inputs_of(made, checked).get("candidates")),
        checked=checked,
        next_dataset=record.next_dataset,
        complete=True,
    )


def _follow(iteration: int, dataset: ArtifactRef, made: Sequence[_Made]) -> Round:
    """An iteration under way, from its beginning."""
    probes = _newest(made, "probe", dataset=dataset)
    verdicts = _newest(made, "judge", probes=probes)
    grown = _newest(made, "expand", verdicts=verdicts)
    checked = _newest(made, "validate", candidates=grown)
    merged = _newest(made, "merge", probes=probes, verdicts=verdicts, expansions=checked)
    return Round(iteration, dataset, probes, verdicts, grown, checked, merged)
