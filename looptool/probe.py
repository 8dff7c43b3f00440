"""Greedy capability probing of M_j on D_j (GCP, method section 4).

Greedy answer, exact match by the one matching rule, perplexity of the model's own output, of its
calls alone and of the label. Unlike the paper, the pass rate of the training rollouts is joined in,
what could not be probed is a typed failure, never a mismatch, and a sample of what was mastered and
dropped in earlier rounds is probed again, so that forgetting is seen.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from looptool.artifacts import ArtifactWriter, shards
from looptool.config import ProbeConfig
from looptool.engines import Engine, Limits
from looptool.engines.grading import build_prompt, grade, render_label
from looptool.records import ProbeResult, RolloutStat, Sample, draw
from looptool.schema import MASTERED, Fate

__all__ = [
    "ProbeReport",
    "ReprobeReport",
    "draw_retired",
    "grade",
    "probe_parts",
    "probe_samples",
    "reprobe",
    "summarise_probes",
]


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Counts and speed of one probe."""

    samples: int
    matched: int
    mismatched: int
    parse_errors: int
    truncated: int
    failures: dict[str, int]
    """Samples that could not be probed, by type."""
    seconds: float
    samples_per_s: float
    tokens_per_s: float
    """Generated tokens per second, label scoring included in the time."""


def probe_samples(
    samples: Sequence[Sample],
    config: ProbeConfig,
    engine: Engine,
    *,
    rollouts: Iterable[RolloutStat] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[ProbeResult], ProbeReport]:
    """Probe every sample, in order."""
    started = time.monotonic()
    generations = engine.generate(
        [build_prompt(sample) for sample in samples],
        Limits(config.max_new_tokens, config.max_prompt_tokens, config.batch_size),
        label_texts=[render_label(s) for s in samples] if config.label_ppl else None,
        on_progress=on_progress,
    )
    rates = {stat.sample_id: stat.passed / stat.rollouts for stat in rollouts if stat.rollouts}
    results = [
        grade(sample, generation, rates.get(sample.sample_id))
        for sample, generation in zip(samples, generations, strict=True)
    ]
    return results, summarise_probes(results, time.monotonic() - started)


def probe_parts(
    samples: Sequence[Sample],
    config: ProbeConfig,
    writer: ArtifactWriter,
    open_engine: Callable[[], AbstractContextManager[Engine]],
    *,
    rollouts: Sequence[RolloutStat] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[ProbeResult], ProbeReport]:
    """Probe part by part into table `probes`; parts that an earlier run finished are kept."""
    results: list[ProbeResult] = []
    began, fresh = time.monotonic(), 0

    def show(done: int, _total: int) -> None:
        if on_progress is not None:
            on_progress(len(results) + done, len(samples))

    for number, rows in shards(samples, config.shard_size):
        found = writer.load_part("probes", "probes", number, ProbeResult)
        if found is None:
            with open_engine() as engine:
                found, _ = probe_samples(rows, config, engine, rollouts=rollouts, on_progress=show)
            fresh += len(found)
            writer.write("probes", "probes", found, number)
        results += found
    return results, summarise_probes(results, time.monotonic() - began, fresh)


def draw_retired(
    datasets: Sequence[Sequence[Sample]],
    fates: Sequence[Sequence[Fate]],
    count: int,
    *,
    random_seed: int,
    iteration: int,
) -> list[Sample]:
    """At most `count` samples that an earlier round mastered and dropped, drawn anew each round.

    `datasets` are D_1 … D_j of iteration j, `fates[k]` says what became of `datasets[k]` when the one
    after it was made. The order of rows plays no part.
    """
    gone: dict[str, Sample] = {}
    for dataset, told in zip(datasets[:-1], fates, strict=True):
        mastered = {f.sample_id for f in told if f.fate == "dropped" and f.reason in MASTERED}
        gone |= {sample.sample_id: sample for sample in dataset if sample.sample_id in mastered}
    now = {sample.sample_id for sample in datasets[-1]}
    left = (sample for sample in gone.values() if sample.sample_id not in now)
    return sorted(left, key=lambda s: draw(random_seed, "reprobe", iteration, s.sample_id))[:count]


@dataclass(frozen=True, slots=True)
class ReprobeReport:
    """What M_j still can of what was mastered and dropped before."""

    asked: int
    """Retired samples that were probed again, failures left out."""
    forgotten: int
    """Those of them that no longer match their label."""


def reprobe(
    retired: Sequence[Sample],
    config: ProbeConfig,
    writer: ArtifactWriter,
    open_engine: Callable[[], AbstractContextManager[Engine]],
) -> tuple[list[ProbeResult], ReprobeReport]:
    """Probe retired samples into table `reprobes`; what an earlier run finished is kept."""
    found = writer.load_part("reprobes", "probes", 0, ProbeResult)
    if found is None:
        found = []
        if retired:
            plain = config.model_copy(update={"label_ppl": False})
            with open_engine() as engine:
                found, _ = probe_samples(retired, plain, engine)
        writer.write("reprobes", "probes", found)
    asked = [result for result in found if not result.failure]
    return found, ReprobeReport(len(asked), sum(not result.matched for result in asked))


def summarise_probes(
    results: Sequence[ProbeResult], seconds: float, probed_now: int | None = None
) -> ProbeReport:
    """Counts of all results; `probed_now` of them, all by default, were made in `seconds`."""
    probed = [r for r in results if not r.failure]
    matched = sum(r.matched for r in probed)
    rate = (len(results) if probed_now is None else probed_now) / seconds if seconds > 0 else 0.0
    tokens = sum(r.tokens for r in probed) / max(1, len(results))
    return ProbeReport(
        samples=len(results),
        matched=matched,
        mismatched=len(probed) - matched,
        parse_errors=sum(bool(r.parse_error) for r in probed),
        truncated=sum(r.truncated for r in probed),
        failures=dict(Counter(r.failure for r in results if r.failure)),
        seconds=seconds,
        samples_per_s=rate,
        tokens_per_s=rate * tokens,
    )
