"""Held-out accuracy by slice, with 95% Wilson intervals.

Accuracy overall hides a policy that always calls or never does (the paper's own relevance falls
from 77.8 to 61.1), so every slice is reported for seen and unseen tools and by kind of decision.
What could not be asked (a prompt that does not fit) is counted apart and is in no slice.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from looptool.config import EvaluateConfig
from looptool.engines import Engine, Limits
from looptool.engines.grading import build_prompt, grade
from looptool.intervals import wilson_interval
from looptool.records import ProbeResult, Sample, Score, Split


@dataclass(frozen=True, slots=True)
class EvaluateReport:
    """Counts and speed of one evaluation."""

    samples: int
    failures: dict[str, int]
    """Samples that could not be asked, by type; they are in no slice."""
    seconds: float
    samples_per_s: float


def evaluate_heldout(
    samples: Sequence[Sample],
    config: EvaluateConfig,
    engine: Engine,
    *,
    iteration: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Score], list[ProbeResult], EvaluateReport]:
    """Ask the policy every held-out sample and score it."""
    started = time.monotonic()
    generations = engine.generate(
        [build_prompt(sample) for sample in samples],
        Limits(config.max_new_tokens, config.max_prompt_tokens, config.batch_size),
        on_progress=on_progress,
    )
    results = [grade(s, g) for s, g in zip(samples, generations, strict=True)]
    seconds = time.monotonic() - started
    report = EvaluateReport(
        samples=len(results),
        failures=dict(Counter(r.failure for r in results if r.failure)),
        seconds=seconds,
        samples_per_s=len(results) / seconds if seconds > 0 else 0.0,
    )
    return score_heldout(samples, results, iteration), results, report


def score_heldout(
    samples: Sequence[Sample], results: Sequence[ProbeResult], iteration: int
) -> list[Score]:
    """One Score per slice that has samples, in a fixed order.

    Slices: `all`; `calls` (strict match where a call was due); `relevance` (a call was made where
    one was due, right or not); `irrelevance` (no call, but words, where none was due);
    `kind:<kind>`; and the same under `seen` and `unseen`, as `seen`, `seen/calls`,
    `seen/kind:single` …
    """
    answers = answers_by_slice(samples, results)
    return [
        _score(iteration, name, len(answers[name]), sum(answers[name].values()))
        for name in sorted(answers, key=_slice_order)
    ]


def answers_by_slice(
    samples: Sequence[Sample], results: Sequence[ProbeResult]
) -> dict[str, dict[str, bool]]:
    """For each slice, whether each of its samples was answered right; failed requests are left out."""
    found: dict[str, dict[str, bool]] = {}
    by_id = {result.sample_id: result for result in results}
    for sample in samples:
        result = by_id[sample.sample_id]
        if not result.failure:
            for name, correct in _slices(sample, result):
                found.setdefault(name, {})[sample.sample_id] = correct
    return found


def _slices(sample: Sample, result: ProbeResult) -> Iterator[tuple[str, bool]]:
    side = {Split.HELDOUT_SEEN: "seen", Split.HELDOUT_UNSEEN: "unseen"}.get(sample.split)
    own = [(f"kind:{sample.kind}", result.matched)]
    if sample.label.calls:
        own += [("calls", result.matched), ("relevance", result.called)]
    else:
        own.append(("irrelevance", result.matched))
    yield "all", result.matched
    yield from own
    if side is not None:
        yield side, result.matched
        for name, correct in own:
            yield f"{side}/{name}", correct


def _slice_order(name: str) -> tuple[int, int, str]:
    side, _, rest = name.rpartition("/")
    if name in ("all", "seen", "unseen"):
        side, rest = ("" if name == "all" else name), ""
    heads = ("", "calls", "relevance", "irrelevance")
    return (
        ("", "seen", "unseen").index(side),
        heads.index(rest) if rest in heads else len(heads),
        rest,
    )


def _score(iteration: int, name: str, n: int, correct: int) -> Score:
    low, high = wilson_interval(correct, n)
    return Score(
        iteration=iteration,
        slice=name,
        n=n,
        correct=correct,
        accuracy=correct / n,
        low=low,
        high=high,
    )
