"""What each sample of D_j earned: error seed, high perplexity, or gone (method, sections 4, 5)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from looptool.config import MergeConfig
from looptool.decisions import relabel
from looptool.merge.hygiene import Ledger, Rows, shuffle_rows
from looptool.merge.keys import Facts, hash_texts
from looptool.merge.sources import MergeSources, Source
from looptool.ngrams import U64, hash_text
from looptool.records import Judgement, Sample
from looptool.schema import from_table, records_of, table_of, to_table

PROMPT_TOO_LONG = "prompt_too_long"
"""The one probe failure that is about the sample and not about the machine."""
NONE_RIGHT, UNKNOWN, MIXED, ALL_RIGHT = range(4)
"""What scouting says of a row: a group of rollouts carries signal where the outcome is mixed."""
PROBE_COLUMNS = ("failure", "matched", "pass_rate", "ppl_output", "ppl_call", "ppl_label")
LEAVING = {
    "prompt_too_long": ("dropped", PROMPT_TOO_LONG),
    "always_solved": ("dropped", "always_solved"),
    "not_judged": ("quarantined", "not_judged_at_all"),
    "replaced": ("replaced", "label_wrong, now {other}"),
    "withheld": ("quarantined", "label_withheld"),
    "both_wrong": ("dropped", "both_wrong"),
    "unjudged": ("quarantined", "unjudged"),
}
"""Fate and reason of the routes that lead out of D_j."""


@dataclass(frozen=True, slots=True)
class Parts:
    """D_j, sorted out; rows in an order that depends on the seed alone."""

    untouched: Rows
    """Not probed, or the probe failed for infrastructure reasons: another round as they are."""
    errors: Rows
    """Error seeds with their right label."""
    unsolved: Rows
    """Those of the error seeds that no rollout of the last epoch got right."""
    ranked: Rows
    """Mastered and both-correct samples, the hardest first."""
    value: NDArray[np.float64]
    """What ranks each of `ranked`; those without any (NaN) come last."""
    mastered: Rows
    """Those of the ranked ones that matched their label."""

    @classmethod
    def none(cls) -> "Parts":
        """Nothing was there."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, empty, np.zeros(0), empty)


def find_routes(
    facts: Facts, inputs: MergeSources, config: MergeConfig, random_seed: int
) -> pl.DataFrame:
    """Where each row of D_j goes, in drawn order: columns row, id, route, hard, value, unsolved.

    `hard` ranks (the higher the harder), `value` is what it was made from, as the profile names it.
    """
    kept = np.array([hash_text(name) for name in inputs.retracted.unchanged], np.uint64)
    rows = shuffle_rows(facts, facts.rows_of("current"), random_seed, "current")
    known = pl.DataFrame({"row": rows, "id": facts.column("id")[rows]})
    joined = known.join(
        _scan(inputs.probes, PROBE_COLUMNS), on="id", how="left", maintain_order="left"
    )
    joined = joined.join(
        _scan_verdicts(inputs.judgements), on="id", how="left", maintain_order="left"
    )
    value = pl.col(config.ppl)
    if config.ppl != "pass_rate":  # an answer without calls has no ppl_call; its output has one
        value = value.fill_null(pl.col("ppl_output"))
    value = value.fill_nan(None)
    return joined.select(
        "row",
        "id",
        _route(config, pl.col("id").is_in(pl.Series(kept).implode())).alias("route"),
        (-value if config.ppl == "pass_rate" else value).alias("hard"),
        value.alias("value"),
        pl.col("pass_rate").eq_missing(0.0).alias("unsolved"),
    )


def _route(config: MergeConfig, unchanged: pl.Expr) -> pl.Expr:
    probed = pl.col("matched").is_not_null() & (pl.col("failure") == "")
    matched, verdict = pl.col("matched"), pl.col("verdict")
    return (
        pl.when(pl.col("failure") == PROMPT_TOO_LONG)
        .then(pl.lit("prompt_too_long"))
        .when(~probed)
        .then(pl.lit("untouched"))
        .when(matched & pl.col("pass_rate").eq_missing(1.0) & pl.lit(config.skip_solved))
        .then(pl.lit("always_solved"))
        .when(matched)
        .then(pl.lit("mastered"))
        .when(verdict.is_null())
        .then(pl.lit("not_judged"))
        .when(verdict == "PRED_WRONG")
        .then(pl.lit("error"))
        .when((verdict == "LABEL_WRONG") & unchanged)  # its correction was retracted
        .then(pl.lit("untouched"))
        .when((verdict == "LABEL_WRONG") & pl.col("relabelled"))
        .then(pl.lit("replaced"))
        .when(verdict == "LABEL_WRONG")
        .then(pl.lit("withheld"))
        .when(verdict == "BOTH_CORRECT")
        .then(pl.lit("both_correct"))
        .when(verdict == "BOTH_WRONG")
        .then(pl.lit("both_wrong"))
        .otherwise(pl.lit("unjudged"))
    )


def _scan(source: Source, columns: tuple[str, ...]) -> pl.DataFrame:
    """Some columns of a table, with hashed ids; of two rows for a sample the last one."""
    schema = table_of(source.kind).arrow
    frames = [pl.DataFrame(pa.table({c: pa.array([], schema.field(c).type) for c in columns}))
              .insert_column(0, pl.Series("id", [], pl.UInt64))]  # fmt: skip
    for batch in source.read():
        frame = pl.DataFrame(pa.table({c: batch[c] for c in columns}))
        frames.append(frame.insert_column(0, pl.Series("id", hash_texts(batch["sample_id"]))))
    return pl.concat(frames).unique("id", keep="last", maintain_order=True)


def _scan_verdicts(source: Source) -> pl.DataFrame:
    schema = {"id": pl.UInt64, "verdict": pl.String, "relabelled": pl.Boolean}
    frames = [pl.DataFrame(schema=schema)]
    for batch in source.read():
        columns = {
            "id": pl.Series(hash_texts(batch["sample_id"]), dtype=pl.UInt64),
            "verdict": pl.Series(batch["verdict"].to_pylist(), dtype=pl.String),
            "relabelled": pl.Series(batch["new_label"].is_valid().to_pylist(), dtype=pl.Boolean),
        }
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames).unique("id", keep="last", maintain_order=True)


def correct_labels(
    current: Source, judgements: Source, replaced: U64, iteration: int
) -> Iterator[pa.Table]:
    """The corrected samples of D_j, in its order; `replaced` are the hashed ids of the old ones."""
    wanted = frozenset(replaced.tolist())
    verdicts = _read_judgements(judgements, wanted)
    for batch in current.read() if wanted else ():
        keep = pc.is_in(batch["sample_id"], value_set=pa.array(list(verdicts), pa.string()))
        old = records_of(list(from_table("samples", pa.table(batch.filter(keep)))), Sample)
        if old:
            new = [relabel(sample, verdicts[sample.sample_id], iteration) for sample in old]
            yield to_table("samples", new)


def _read_judgements(source: Source, wanted: frozenset[int]) -> Mapping[str, Judgement]:
    found: dict[str, Judgement] = {}
    for batch in source.read() if wanted else ():
        keep = [hash_text(name) in wanted for name in batch["sample_id"].to_pylist()]
        table = pa.table(batch.filter(pa.array(keep, pa.bool_())))
        for judgement in records_of(list(from_table(source.kind, table)), Judgement):
            found[judgement.sample_id] = judgement
    return found


def find_outcomes(facts: Facts, scouted: Source) -> NDArray[np.int8]:
    """What scouting says of each row, as one of the four codes."""
    stats = _scan(scouted, ("rollouts", "passed")).filter(pl.col("rollouts") > 0)
    codes = stats.select(
        "id",
        pl.when(pl.col("passed") == 0)
        .then(pl.lit(NONE_RIGHT, pl.Int8))
        .when(pl.col("passed") < pl.col("rollouts"))
        .then(pl.lit(MIXED, pl.Int8))
        .otherwise(pl.lit(ALL_RIGHT, pl.Int8))
        .alias("code"),
    )
    rows = pl.DataFrame({"id": facts.column("id")})
    joined = rows.join(codes, on="id", how="left", maintain_order="left")
    found: NDArray[np.int8] = joined["code"].fill_null(UNKNOWN).to_numpy()
    return found


def sort_out(
    facts: Facts, routes: pl.DataFrame, corrected: Mapping[int, int], ledger: Ledger
) -> Parts:
    """The parts of D_j; the fates of what leaves it are written down.

    `corrected` gives the row of the corrected sample for the row of the old one.
    """
    for row, route in routes.select("row", "route").iter_rows():
        if route in LEAVING:
            ledger.record(row, *LEAVING[route], corrected.get(row, -1))
    errors = routes.filter(pl.col("route").is_in(["error", "replaced"]))
    right = np.array([corrected.get(row, row) for row in errors["row"].to_list()], np.int64)
    unsolved = (errors["route"] == "error") & errors["unsolved"]
    ranked = routes.filter(pl.col("route").is_in(["mastered", "both_correct"])).sort(
        "hard", descending=True, nulls_last=True, maintain_order=True
    )
    return Parts(
        untouched=_rows(routes.filter(pl.col("route") == "untouched")),
        errors=right,
        unsolved=right[unsolved.to_numpy()],
        ranked=_rows(ranked),
        value=ranked["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        mastered=_rows(ranked.filter(pl.col("route") == "mastered")),
    )


def _rows(frame: pl.DataFrame) -> Rows:
    return frame["row"].to_numpy().astype(np.int64)


def count_selected(parts: Parts, config: MergeConfig) -> int | None:
    """How many of the ranked samples the selection reaches down to; None: a share, whoever they are."""
    known = parts.value[~np.isnan(parts.value)]
    if config.selection == "top_fraction" or not len(known):
        return None if config.selection == "top_fraction" else 0
    sign = -1.0 if config.ppl == "pass_rate" else 1.0
    if config.selection == "quantile":
        limit = float(np.quantile(sign * known, config.high_ppl_quantile, method="higher"))
    else:
        limit = sign * (config.high_ppl_threshold or 0.0)
    return int((sign * known >= limit).sum())
