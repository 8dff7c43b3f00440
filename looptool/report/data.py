"""What D_j is made of, and how hard it was for the policy."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from looptool.records import Kind, Origin, as_mapping
from looptool.report.accuracy import STATES, states_of
from looptool.report.charts import draw_columns, draw_perplexities, draw_stack
from looptool.report.lake import Found, Lake
from looptool.report.sections import Cell, Figure, Grid, Section, count_table, percent
from looptool.report.text import clean_text

ORIGINS = {
    Origin.SEED.value: "c1",
    Origin.ERROR_SEED.value: "c8",
    Origin.EXPANSION.value: "c2",
    Origin.HIGH_PPL.value: "c5",
}
KINDS = {kind.value: f"c{number}" for number, kind in enumerate(Kind, 1)}
TEXT_KINDS = (Kind.CLARIFY.value, Kind.NO_TOOL.value, Kind.SUMMARY.value)
SHADES = ("s1", "s2", "s3")
"""Colours of the last rounds, the newest the darkest."""
BINS = [10 ** (power / 4) for power in range(-16, 5)]
"""Ends of the bins of the perplexity minus 1: quarters of decades from 0.0001 to 10."""
RATES = ("0%", "≤25%", "≤50%", "≤75%", "<100%", "100%")
_SAMPLE = {"sample_id": pl.String, "kind": pl.String, "origin": pl.String}
_PROBE = {
    "sample_id": pl.String,
    "matched": pl.Boolean,
    "ppl_output": pl.Float64,
    "ppl_call": pl.Float64,
    "ppl_label": pl.Float64,
    "pass_rate": pl.Float64,
    "failure": pl.String,
}


def round_colours(lake: Lake) -> dict[int, str]:
    """The last rounds that fit into one chart, with their colours."""
    shown = list(lake.rounds)[-len(SHADES) :]
    return dict(zip(shown, SHADES[-len(shown) :] if shown else (), strict=True))


def show_composition(lake: Lake) -> Section:
    """Where the samples of every dataset come from, and of what kind they are."""
    section = Section(
        "composition",
        "The data",
        "D1 trains M1. Seeds are fresh dialogues; error seeds are samples that the model got wrong, "
        "with a label that the judge confirmed or corrected; expansions are new samples with the "
        "same trap; high-PPL samples were right, but the model was unsure.",
    )
    origins: dict[str, Mapping[str, int]] = {}
    kinds: dict[str, Mapping[str, int]] = {}
    for number in range(1, (lake.rounds[-1] if lake.rounds else 0) + 2):
        frame = lake.read(lake.dataset(number), "samples", _SAMPLE)
        if frame.height:
            origins[f"D{number}"] = Counter(frame["origin"].drop_nulls())
            kinds[f"D{number}"] = Counter(frame["kind"].drop_nulls())
    if not origins:
        section.remarks.append("No dataset has been made yet.")
        return section
    section.figures += [
        _stack("Samples by origin", "origin", origins, ORIGINS),
        _stack("Samples by kind of decision", "kind", kinds, KINDS),
    ]
    rows: list[Sequence[Cell]] = [
        [name, sum(counts.values()), percent(_text_share(counts))] for name, counts in kinds.items()
    ]
    section.grids.append(
        Grid("Answers without a call", ["dataset", "samples", "without a call"], rows, beside=True)
    )
    if yields := list(_yields(lake)):
        heads = ["round", "error type", "error seeds", "wanted", "attempted", "accepted", "yield"]
        section.grids.append(Grid("What the expansion yielded", heads, yields))
    if scouted := [row for number in lake.rounds for row in scouted_rows(lake, number)]:
        heads = ["round", "scouted", "samples", "right sometimes", "always", "never", "no answer"]
        title = "What M_j gets right of what could enter D_{j+1} (sometimes: GRPO has a gradient)"
        section.grids.append(Grid(title, heads, scouted))
    return section


def scouted_rows(lake: Lake, number: int) -> Iterator[Sequence[Cell]]:
    """What scouting found in a round, by sort of candidate; nothing where none was scouted."""
    found = lake.stage(number, "scout")
    report = as_mapping(found.stats.get("report")) if found else {}
    sorts = {"expansions": "new samples", "waiting": "waiting samples", "new_seeds": "unused seeds"}
    for name, title in sorts.items():
        counts = as_mapping(report.get(name))
        if counts.get("asked"):
            outcome = (counts.get(key) for key in ("mixed", "solved", "unsolved", "failed"))
            yield [number, title, counts["asked"], *outcome]


def _yields(lake: Lake) -> Iterator[Sequence[Cell]]:
    """Accepted new samples by round and by the judge's type of the error that they grew from."""
    for number in lake.rounds:
        found = lake.stage(number, "expand")
        report = as_mapping(found.stats.get("report")) if found else {}
        groups = as_mapping(report.get("by_error_type"))
        for name, group in [*groups.items(), *([("all", report)] if groups else [])]:
            counts = as_mapping(group)
            wanted, accepted = counts.get("wanted"), counts.get("accepted")
            share = accepted / wanted if wanted and accepted is not None else None
            row = (counts.get("seeds"), wanted, counts.get("attempted"), accepted)
            yield [number, clean_text(name or "not said", 60), *row, percent(share)]


def _stack(
    title: str, head: str, counts: Mapping[str, Mapping[str, int]], colours: Mapping[str, str]
) -> Figure:
    rows = [
        {"x": dataset, "y": number, "series": name, "tip": f"{dataset}: {number} {name}"}
        for dataset, found in counts.items()
        for name, number in found.items()
        if name in colours
    ]
    return Figure(
        title, draw_stack(rows, colours, list(counts), ""), count_table(title, head, counts)
    )


def _text_share(counts: Mapping[str, int]) -> float:
    return sum(counts.get(kind, 0) for kind in TEXT_KINDS) / max(1, sum(counts.values()))


def show_difficulty(lake: Lake) -> Section:
    """Histograms of perplexity and of pass rates."""
    ppl = str(lake.settings.get("merge.ppl", "ppl_output"))
    ppl = ppl if ppl in _PROBE else "ppl_output"
    section = Section(
        "difficulty",
        "How sure the model was",
        f"Every sample of D_j, asked after training on it. Perplexity ({ppl}) says how surprised the "
        "model is by its own answer: 1 is certain. The dashed line is where high-PPL samples began in "
        "the next dataset. The pass rate is the share of right rollouts in training: 0% and 100% carry "
        "no signal for GRPO. Borderline: right now, but not in every rollout.",
    )
    rates: dict[str, Counter[str]] = {}
    colours = round_colours(lake)
    for number in lake.rounds:
        frame = lake.read(lake.stage(number, "probe"), "probes", _PROBE)
        if not frame.height:
            section.remarks.append(f"Round {number} has not been probed.")
            continue
        if number in colours:
            section.figures += _histogram(number, frame, ppl, lake.stage(number, "merge"))
        rates[f"round {number}"] = Counter(map(_rate_bin, frame["pass_rate"].drop_nulls()))
    if not lake.rounds:
        section.remarks.append("No round has begun.")
    if any(rates.values()):
        shown = {f"round {number}": colour for number, colour in colours.items()}
        bars = [
            {"x": name, "y": rates[row][name], "series": row, "tip": f"{row}, {name}: {rates[row][name]}"}
            for row in shown
            for name in RATES
            if row in rates
        ]  # fmt: skip
        title = "Samples by pass rate of their rollouts"
        spec = draw_columns(bars, shown, RATES, "")
        rows: list[Sequence[Cell]] = [[n, *(rates[r][n] for r in rates)] for n in RATES]
        section.figures.append(Figure(title, spec, Grid(title, ["pass rate", *rates], rows)))
    elif rates:
        section.remarks.append("No pass rates are known: training kept no rollouts.")
    return section


def _rate_bin(rate: float) -> str:
    if rate <= 0:
        return RATES[0]
    return RATES[5] if rate >= 1 else RATES[1 + min(3, int(4 * rate - 1e-9))]


def _histogram(number: int, frame: pl.DataFrame, ppl: str, merged: Found | None) -> list[Figure]:
    states = states_of(frame, float("inf"))
    counts: Counter[tuple[int, str]] = Counter()
    for sample_id, value in frame.select("sample_id", ppl).iter_rows():
        if value is not None and sample_id in states:
            counts[_ppl_bin(value), states[sample_id]] += 1
    if not counts:
        return []
    report = merged.stats.get("report", {}) if merged else {}
    threshold = report.get("ppl_threshold") if isinstance(report, dict) else None
    rows = []
    for place in sorted({place for place, _ in counts}):
        base = 0
        for state in STATES:
            n = counts[place, state]
            ends = {"low": BINS[place], "high": BINS[place + 1], "base": base, "top": base + n}
            tip = f"{_bin_name(place)}: {n} {state}"
            rows += [{**ends, "series": state, "tip": tip}] * bool(n)
            base += n
    title = f"Round {number}: samples by perplexity"
    cells: list[Sequence[Cell]] = [
        [_bin_name(place), *(counts[place, state] for state in STATES)]
        for place in sorted({place for place, _ in counts})
    ]
    spec = draw_perplexities(rows, STATES, threshold if isinstance(threshold, float) else None)
    return [Figure(title, spec, Grid(title, ["perplexity", *STATES], cells))]


def _ppl_bin(value: float) -> int:
    """Place of its bin; values beyond the ends, NaN among them, are in the first or last one."""
    above = sum(value - 1 >= end for end in BINS)
    return min(max(above - 1, 0), len(BINS) - 2)


def _bin_name(place: int) -> str:
    return f"{1 + BINS[place]:.5g} – {1 + BINS[place + 1]:.5g}"
