"""Which tools the samples are about: a table of tool by kind, for programs and for people."""

from collections import Counter
from collections.abc import Mapping, Sequence

from looptool.records import CALL_KINDS, Coverage, Kind, Sample, Split, ToolSpec
from looptool.seed.targets import Cell, Targets

SHOWN = 100
"""Lines of the printed table, and names of the list after it."""


def count_coverage(
    samples: Sequence[Sample], tools: Mapping[Split, Sequence[ToolSpec]]
) -> list[Coverage]:
    """Every tool of every split by kind, zeros included, in the order of splits, tools and kinds."""
    called: Counter[tuple[Split, str, Kind]] = Counter()
    offered: Counter[tuple[Split, str, Kind]] = Counter()
    for sample in samples:
        called.update(
            (sample.split, name, sample.kind) for name in {call.name for call in sample.label.calls}
        )
        offered.update((sample.split, tool.name, sample.kind) for tool in sample.tools)
    return [
        Coverage(
            tool=tool.name,
            kind=kind,
            split=split,
            called=called[split, tool.name, kind],
            offered=offered[split, tool.name, kind],
        )
        for split, some in tools.items()
        for tool in some
        for kind in Kind
    ]


def render_targets(targets: Targets, missing: Mapping[Cell, int], samples: Sequence[Sample]) -> str:
    """Markdown: accepted of wanted by kind and split, then the cells that are not met."""
    splits = [split for split in Split if any(cell.split is split for cell in targets.cells)]
    wanted: Counter[tuple[Kind, Split]] = Counter()
    for cell, count in targets.cells.items():
        wanted[cell.kind, cell.split] += count
    got = Counter((sample.kind, sample.split) for sample in samples)
    rows = [
        [kind.value, *(f"{got[kind, split]} of {wanted[kind, split]}" for split in splits)]
        for kind in Kind
        if any(wanted[kind, split] for split in splits)
    ]
    total = [
        f"{sum(got[kind, split] for kind in Kind)} of {sum(wanted[kind, split] for kind in Kind)}"
        for split in splits
    ]
    lines = _table(["accepted", *splits], [*rows, ["**all**", *total]])
    if missing:
        lines += ["", f"Not met: {', '.join(f'{cell} {count}' for cell, count in missing.items())}"]
    return "\n".join(lines)


def render_coverage(coverage: Sequence[Coverage]) -> str:
    """Markdown over all splits: samples whose label calls a tool, by kind; then the tools never called.

    The tools with the fewest calls come first: they are what a user may want more of.
    """
    kinds = [kind for kind in Kind if kind in CALL_KINDS]
    called: dict[str, Counter[Kind]] = {}
    offered: Counter[str] = Counter()
    for row in coverage:
        called.setdefault(row.tool, Counter())[row.kind] += row.called
        offered[row.tool] += row.offered
    order = sorted(called, key=lambda tool: (called[tool].total(), tool))
    some = [tool for tool in order if called[tool].total()]
    never = order[: len(order) - len(some)]
    lines = [f"{len(order)} tools, {len(never)} never called."]
    total = sum(called.values(), Counter[Kind]())
    rows = [
        ["**all**", *(str(total[kind]) for kind in kinds), str(total.total()), ""],
        *(
            [f"`{tool}`", *(str(called[tool][kind] or "") for kind in kinds),
             str(called[tool].total()), str(offered[tool])]
            for tool in some[:SHOWN]
        ),
    ]  # fmt: skip
    lines += ["", *_table(["tool", *kinds, "calls", "in context"], rows)]
    if len(some) > SHOWN:
        lines += ["", f"{len(some) - SHOWN} more tools are called at least as often."]
    if never:
        names = ", ".join(f"`{tool}`" for tool in never[:SHOWN])
        more = f" and {len(never) - SHOWN} more" if len(never) > SHOWN else ""
        lines += ["", f"Never called: {names}{more}."]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]
