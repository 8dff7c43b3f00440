"""Which tools are held out: never seen in training, so that a score on them is about tools in
general."""

from collections.abc import Sequence
from random import Random

from looptool.records import Split, ToolSpec
from looptool.seed.links import group_partners


def split_tools(
    tools: Sequence[ToolSpec], unseen_rate: float, seed: int
) -> tuple[list[ToolSpec], list[ToolSpec]]:
    """(seen, unseen) tools, each in the order given. Deterministic in tools, rate and seed.

    Domains take turns in giving tools away, none more than half if that is enough. Tools that feed
    each other stay together where that can be done, because a dependent call needs both.
    """
    wanted = round(len(tools) * unseen_rate)
    rng = Random(f"split:{seed}")
    groups = _shuffle_groups(tools, rng)
    unseen: set[int] = set()
    for whole, share in ((True, 0.5), (False, 0.5), (False, 1.0)):
        _take_in_turns(groups, unseen, wanted, whole=whole, share=share)
    return (
        [tool for number, tool in enumerate(tools) if number not in unseen],
        [tool for number, tool in enumerate(tools) if number in unseen],
    )


def split_sides(
    tools: Sequence[ToolSpec], unseen_rate: float, seed: int
) -> dict[Split, list[ToolSpec]]:
    """The tools that the dialogues of each split are about."""
    seen, unseen = split_tools(tools, unseen_rate, seed)
    return {Split.TRAIN: seen, Split.HELDOUT_SEEN: seen, Split.HELDOUT_UNSEEN: unseen}


def _shuffle_groups(tools: Sequence[ToolSpec], rng: Random) -> dict[str, list[list[int]]]:
    """The groups of partners by domain, domains and groups in random order."""
    groups: dict[str, list[list[int]]] = {}
    for group in group_partners(tools):
        groups.setdefault(tools[group[0]].domain, []).append(group)
    domains = sorted(groups)
    rng.shuffle(domains)
    for domain in domains:
        rng.shuffle(groups[domain])
    return {domain: groups[domain] for domain in domains}


def _take_in_turns(
    groups: dict[str, list[list[int]]], unseen: set[int], wanted: int, *, whole: bool, share: float
) -> None:
    """Moves groups (or, if not `whole`, single tools of them) to `unseen` until there are enough.

    No domain gives more than `share` of its tools.
    """
    counts = {domain: sum(map(len, listed)) for domain, listed in groups.items()}
    given = {
        domain: sum(number in unseen for group in listed for number in group)
        for domain, listed in groups.items()
    }
    progress = True
    while progress and len(unseen) < wanted:
        progress = False
        for domain, listed in groups.items():
            room = min(wanted - len(unseen), int(counts[domain] * share) - given[domain])
            parts = listed if whole else [[n] for group in listed for n in group]
            fresh = [part for part in parts if not unseen.intersection(part)]
            fitting = next((part for part in fresh if len(part) <= room), None)
            if fitting:
                unseen.update(fitting)
                given[domain] += len(fitting)
                progress = True
