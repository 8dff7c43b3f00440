"""Taking samples out by hand: who asked for it and why, and what it changes in the next merge.

The merge is given its inputs without the retracted samples and decides as if they had never been. A
corrected sample is special: taking it out takes the *correction* back, so the sample with the old label
goes on (or, if D_j holds the correction already, comes back) unless it is retracted itself.
"""

import getpass
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from looptool.artifacts import ArtifactRef, Store
from looptool.campaign import Campaign, Retraction, standing
from looptool.errors import CampaignError
from looptool.lineage.family import corrections
from looptool.lineage.rounds import Round, Timeline, read_timeline
from looptool.lineage.tables import among, read_columns
from looptool.records import Record, Retracted, Split

Held = Mapping[str, Sequence[Retraction]]
"""The retractions that hold, by the sample that they name."""


@dataclass(frozen=True, slots=True)
class _Link:
    """How a sample hangs on its family."""

    parent_id: str = ""
    root_id: str = ""
    dialogue_id: str = ""


Links = dict[str, _Link]
_COLUMNS = ["sample_id", "parent_id", "root_id", "dialogue_id"]


def request_retraction(
    campaign: Campaign,
    samples: Sequence[str],
    *,
    with_descendants: bool = False,
    reason: str = "",
    undo: bool = False,
) -> Retraction:
    """The record of what a person asks for, not stored yet; `samples` are whole ids.

    Raises CampaignError for held-out samples, and for an undo of what is not retracted by its name.
    """
    held = standing(campaign.retractions())
    free = [sample for sample in samples if sample not in held]
    if undo and free:
        listed = ", ".join(sorted(held)[:10]) or "none"
        raise CampaignError(f"{', '.join(free)}: not retracted by name; those that are: {listed}")
    _require_training(read_timeline(campaign), samples)
    lifted = {r.retraction_id for s in samples for r in held.get(s, ())} if undo else set()
    now = datetime.now(UTC)
    return Retraction(
        retraction_id=f"r-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}",
        samples=tuple(dict.fromkeys(samples)),
        with_descendants=with_descendants and not undo,
        reason=reason,
        by=_account(),
        made_at=now.isoformat(timespec="microseconds"),
        undoes=tuple(sorted(lifted)),
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user id without a name


def _require_training(timeline: Timeline, samples: Sequence[str]) -> None:
    if timeline.pool is None:
        return
    where = among("sample_id", samples)
    rows = read_columns(timeline.store, timeline.pool, "samples", ["sample_id", "split"], where)
    for sample_id, split in rows.iter_rows():
        if split != Split.TRAIN:
            raise CampaignError(
                f"{sample_id} is a held-out sample ({split}): no dataset ever holds it, so there is "
                "nothing to retract"
            )


def find_effect(
    campaign: Campaign,
    *,
    pool: ArtifactRef,
    history: Sequence[ArtifactRef] = (),
    verdicts: ArtifactRef | None = None,
    expansions: ArtifactRef | None = None,
) -> Retracted:
    """What the campaign's retractions change in a merge of these inputs; the last of `history` is D_j.

    Without history it is about the first dataset. Nothing is read where nothing is retracted.
    """
    held = standing(campaign.retractions())
    if not held:
        return Retracted()
    store = campaign.store
    links: Links = {}
    for ref in (pool, *history, *([expansions] if expansions else [])):
        links |= _read_links(store, ref)
    current = set(_read_links(store, history[-1])) if history else set()
    fixed = (
        _corrected(store, Round(len(history), history[-1], verdicts=verdicts)) if history else {}
    )
    given = {*links, *fixed}
    links = _links_before(campaign, len(history)) | fixed | links
    gone = {name: why for name in sorted(given) if (why := _why_gone(name, links, held))}
    undone = {link.parent_id for name, link in fixed.items() if name in gone}
    return Retracted(
        samples=gone,
        unchanged=tuple(sorted(undone & current - gone.keys())),
        restored=tuple(sorted(_restored(current & gone.keys(), links, gone) - current)),
    )


def _read_links(store: Store, ref: ArtifactRef) -> Links:
    rows = read_columns(store, ref, "samples", _COLUMNS)
    return {sample_id: _Link(*link) for sample_id, *link in rows.iter_rows()}


def _corrected(store: Store, one: Round) -> Links:
    """Links of the corrections of a round, also of those that no dataset took in."""
    return {
        new.sample_id: _Link(new.parent_id, new.root_id, new.dialogue_id)
        for _, new in corrections(store, one)
    }


def _links_before(campaign: Campaign, iteration: int) -> Links:
    links: Links = {}
    for one in read_timeline(campaign).rounds:
        if one.iteration < iteration:
            links |= _corrected(campaign.store, one)
    return links


def _ancestors(sample_id: str, links: Links) -> Iterator[str]:
    """Parent, grandparent, …; where a link is missing, the head of the family ends the chain."""
    link = links.get(sample_id)
    while link is not None and link.parent_id:
        yield link.parent_id
        if link.parent_id not in links and link.root_id != link.parent_id:
            yield link.root_id
        link = links.get(link.parent_id)


def _why_gone(sample_id: str, links: Links, held: Held) -> str:
    """Why a sample is left out; empty if it is not."""
    if sample_id in held:
        return "named"
    for ancestor in _ancestors(sample_id, links):
        if any(retraction.with_descendants for retraction in held.get(ancestor, ())):
            return f"descendant_of {ancestor}"
    return ""


def _restored(taken: set[str], links: Links, gone: Mapping[str, str]) -> set[str]:
    """The samples that stood where their corrections in D_j are taken out."""
    found: set[str] = set()
    for sample_id in taken:
        link = links[sample_id]
        while (parent := links.get(link.parent_id)) and parent.dialogue_id == link.dialogue_id:
            if link.parent_id not in gone:
                found.add(link.parent_id)
                break
            link = parent
    return found


class Consequences(Record):
    """What a retraction means for the campaign as it stands, or what its undo would bring back."""

    samples: tuple[str, ...]
    """The named ones and, where asked for, their descendants."""
    datasets: dict[int, int]
    """How many of them each D_j holds."""
    restores: tuple[str, ...]
    """Samples that keep, or get back, the old label because its correction is named."""
    next_iteration: int
    """The next new iteration; it makes the dataset numbered one more."""
    again_from: int
    """The iteration to run again so that no dataset holds them; 0 if none does."""
    trains_again: bool
    """Whether that means another training of that iteration: D_1 itself changes."""


def foresee(campaign: Campaign, retraction: Retraction) -> Consequences:
    """What this retraction covers in the campaign as it stands, whatever else is retracted."""
    timeline = read_timeline(campaign)
    store, links = campaign.store, _all_links(timeline)
    deep = retraction.with_descendants or _was_deep(campaign, retraction)
    named = retraction.model_copy(update={"with_descendants": deep})
    held = {sample: [named] for sample in retraction.samples}
    gone = {name: why for name in sorted(links) if (why := _why_gone(name, links, held))}
    holds = {
        number: read_columns(store, ref, "samples", ["sample_id"], among("sample_id", gone)).height
        for number, ref in sorted(timeline.datasets().items())
    }
    holds = {number: count for number, count in holds.items() if count}
    first = min(holds, default=0)
    complete = sum(one.complete for one in timeline.rounds)
    return Consequences(
        samples=tuple(gone),
        datasets=holds,
        restores=tuple(sorted(_restored(set(retraction.samples) & set(links), links, gone))),
        next_iteration=complete + 1,
        again_from=min(max(1, first - 1), complete) if first else 0,
        trains_again=first == 1,
    )


def _all_links(timeline: Timeline) -> Links:
    refs = [timeline.pool, *(one.checked for one in timeline.rounds), *timeline.datasets().values()]
    links: Links = {}
    for one in timeline.rounds:
        links |= _corrected(timeline.store, one)
    for ref in refs:
        if ref is not None:
            links |= _read_links(timeline.store, ref)
    return links


def _was_deep(campaign: Campaign, undo: Retraction) -> bool:
    """Whether one of the retractions that an undo lifts took descendants along."""
    lifted = set(undo.undoes)
    return any(r.with_descendants for r in campaign.retractions() if r.retraction_id in lifted)
