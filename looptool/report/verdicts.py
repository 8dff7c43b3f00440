"""What the judge said, what became of it, and how far the judge can be believed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import polars as pl

from looptool.records import Verdict4
from looptool.report.charts import draw_groups
from looptool.report.data import ORIGINS, round_colours
from looptool.report.flow import Link, draw_flow
from looptool.report.lake import Lake
from looptool.report.sections import Cell, Figure, Grid, Section, count_table
from looptool.report.text import clean_text

TRUTHS: tuple[str, ...] = get_args(Verdict4)
VERDICTS = (*TRUTHS, "unjudged")
MATCHED = "matched"
NOT_PROBED = "not probed"
COLOURS = {
    MATCHED: "c2",
    "PRED_WRONG": "c1",
    "LABEL_WRONG": "c8",
    "BOTH_CORRECT": "c3",
    "BOTH_WRONG": "c5",
    "unjudged": "grey",
    NOT_PROBED: "grey",
}
FATES_SHOWN = 8
REASONS_SHOWN = 10
_JUDGED = {"sample_id": pl.String, "verdict": pl.String, "error_type": pl.String}
_PROBED = {
    "sample_id": pl.String,
    "matched": pl.Boolean,
    "mismatch": pl.String,
    "parse_error": pl.String,
    "failure": pl.String,
}
_TEXT = pl.String


def read_outcomes(lake: Lake, number: int) -> pl.DataFrame:
    """Every sample of D_j with `origin`, `outcome` (matched or verdict) and `fate`."""
    samples = lake.read(
        lake.dataset(number), "samples", {"sample_id": _TEXT, "origin": _TEXT, "kind": _TEXT}
    )
    probes = lake.read(lake.stage(number, "probe"), "probes", _PROBED)
    judged = lake.read(lake.stage(number, "judge"), "judgements", _JUDGED)
    fates = lake.read(
        lake.stage(number, "merge"), "fates", {"sample_id": _TEXT, "fate": _TEXT, "reason": _TEXT}
    )
    joined = samples
    for found in (probes, judged, fates):
        first = found.unique("sample_id", keep="first")
        joined = joined.join(first, on="sample_id", how="left", maintain_order="left")
    probed = pl.col("matched").is_not_null() & (pl.col("failure").fill_null("") == "")
    outcome = (
        pl.when(~probed)
        .then(pl.lit(NOT_PROBED))
        .when(pl.col("matched"))
        .then(pl.lit(MATCHED))
        .otherwise(pl.col("verdict").fill_null("unjudged"))
    )
    reason = pl.col("reason").fill_null("").str.split(",").list.first()
    fate = pl.when(pl.col("fate").is_null()).then(pl.lit("not merged yet")).otherwise(
        pl.concat_str(pl.col("fate"), pl.lit(": "), reason).str.strip_suffix(": ")
    )  # fmt: skip
    return joined.with_columns(outcome.alias("outcome"), fate.alias("fate"))


def show_flow(lake: Lake) -> Section:
    """From the label's origin over the verdict to the fate, by round."""
    section = Section(
        "flow",
        "From label to fate",
        "Left: where the samples of D_j come from. Middle: whether the model's answer matched the "
        "label, and if not, the judge's verdict: the prediction wrong, the label wrong, both correct, "
        "both wrong, or unjudged, when its votes disagreed. Right: what became of the sample when the "
        "next dataset was made.",
    )
    verdicts: dict[str, Counter[str]] = {}
    for number in lake.rounds:
        frame = read_outcomes(lake, number)
        if not frame.height or frame["outcome"].eq(NOT_PROBED).all():
            section.remarks.append(f"Round {number} has not been probed.")
            continue
        if lake.stage(number, "judge") is None:
            section.remarks.append(f"Round {number} has not been judged.")
        verdicts[f"round {number}"] = Counter(frame["outcome"])
        if number in list(lake.rounds)[-2:]:
            section.figures.append(_flow(number, frame))
    if not lake.rounds:
        section.remarks.append("No round has begun.")
    if verdicts:
        rows: list[Sequence[Cell]] = [
            [name, *(counts[name] for counts in verdicts.values())]
            for name in COLOURS
            if any(counts[name] for counts in verdicts.values())
        ]
        section.grids.append(Grid("Outcomes by round", ["outcome", *verdicts], rows, beside=True))
    return section


def _flow(number: int, frame: pl.DataFrame) -> Figure:
    fates = Counter(frame["fate"])
    common = [name for name, _ in fates.most_common(FATES_SHOWN)]
    rest = "other fates"
    fate = [name if name in common else rest for name in frame["fate"]]
    origin = [name if name in ORIGINS else "other" for name in frame["origin"].fill_null("other")]
    outcome = list(frame["outcome"])
    links = [
        Link(0, a, clean_text(b, 40), n, COLOURS.get(b, "grey"))
        for (a, b), n in Counter(zip(origin, outcome, strict=True)).items()
    ] + [
        Link(1, clean_text(a, 40), clean_text(b, 40), n, COLOURS.get(a, "grey"))
        for (a, b), n in Counter(zip(outcome, fate, strict=True)).items()
    ]
    middle = list(dict.fromkeys([*COLOURS, *(clean_text(name, 40) for name in outcome)]))
    orders = [[*ORIGINS, "other"], middle, [clean_text(name, 40) for name in (*common, rest)]]
    rows: list[Sequence[Cell]] = [
        [clean_text(a, 40), clean_text(b, 60), clean_text(c, 60), n]
        for (a, b, c), n in sorted(
            Counter(zip(origin, outcome, frame["fate"], strict=True)).items(), key=lambda k: -k[1]
        )
    ]
    title = f"Round {number}"
    spec = draw_flow(links, ["origin", "outcome", "fate"], orders, {**COLOURS, **ORIGINS}, tail=165)
    return Figure(title, spec, Grid(title, ["origin", "outcome", "fate", "samples"], rows))


def show_errors(lake: Lake) -> Section:
    """What goes wrong: the judge's error types, and the first difference by rule."""
    section = Section(
        "errors",
        "Kinds of errors",
        "Error types are the judge's words about samples where prediction or label was wrong. The "
        "first difference is found by rule, without a judge: what differs first between label and "
        "prediction.",
    )
    types: dict[str, Counter[str]] = {}
    reasons: dict[str, Counter[str]] = {}
    for number in lake.rounds:
        judged = lake.read(lake.stage(number, "judge"), "judgements", _JUDGED)
        probes = lake.read(lake.stage(number, "probe"), "probes", _PROBED)
        wrong = judged.filter(pl.col("verdict").is_in(["PRED_WRONG", "LABEL_WRONG"]))
        name = f"round {number}"
        if wrong.height:
            found = wrong["error_type"].fill_null("")
            types[name] = Counter(clean_text(kind or "not said", 40) for kind in found)
        missed = probes.filter(~pl.col("matched") & (pl.col("failure").fill_null("") == ""))
        if missed.height:
            reasons[name] = Counter(_reasons(missed))
    shown = {f"round {n}": colour for n, colour in round_colours(lake).items()}
    section.figures += _groups("Error types, by the judge", "error type", types, shown)
    section.figures += _groups("First difference, by rule", "difference", reasons, shown)
    if not section.figures:
        section.remarks.append(
            "There is no mismatch to speak of: nothing was probed, or all was right."
        )
    return section


def _reasons(missed: pl.DataFrame) -> Iterable[str]:
    for mismatch, error in missed.select("mismatch", "parse_error").iter_rows():
        text = str(mismatch or "").partition(": ")[2] or str(mismatch or "")
        yield "unreadable answer" if error else clean_text(text or "not said", 40)


def _groups(
    title: str, head: str, counts: Mapping[str, Counter[str]], shown: Mapping[str, str]
) -> list[Figure]:
    recent = {name: counts[name] for name in shown if name in counts}
    if not recent:
        return []
    total = sum(recent.values(), Counter())
    order = [name for name, _ in total.most_common(REASONS_SHOWN)]
    bars = [
        {"name": name, "y": found[name], "series": row, "tip": f"{name}, {row}: {found[name]}"}
        for row, found in recent.items()
        for name in order
    ]
    table = count_table(title, head, counts)
    return [Figure(title, draw_groups(bars, shown, order), table)]
