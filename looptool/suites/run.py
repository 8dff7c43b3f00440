"""One benchmark on one policy, category by category, by both rules."""

from collections.abc import Callable, Sequence
from pathlib import Path

from looptool.config import LoopConfig
from looptool.intervals import wilson_interval
from looptool.records import BenchmarkItem, BenchmarkName, BenchmarkScore, JsonObject
from looptool.suites import acebench, bfcl
from looptool.suites.harness import find_environment

OnProgress = Callable[[int], None]
"""Told how many items of the category are answered."""


def list_categories(name: BenchmarkName, config: LoopConfig) -> tuple[str, ...]:
    """The categories that a profile asks for.

    Raises ConfigError for one that cannot be run, and if the benchmark is not there.
    """
    section = getattr(config.benchmarks, name)
    find_environment(name, section.python)
    if name == "acebench":
        acebench.check_clone(section)
        return acebench.check_categories(section.categories)
    return bfcl.check_categories(name, section.categories)


def run_category(
    name: BenchmarkName,
    category: str,
    policy: Path,
    config: LoopConfig,
    on_progress: OnProgress = lambda _answered: None,
) -> tuple[list[BenchmarkItem], BenchmarkScore]:
    """Ask the policy on the socket at `policy` and grade its answers, in a fresh process."""
    if name == "acebench":
        items, summary = acebench.run_category(
            category, policy, config.benchmarks, max_tokens=config.evaluate.max_new_tokens,
            on_progress=on_progress,
        )  # fmt: skip
    else:
        items, summary = bfcl.run_category(
            name, category, policy, config.benchmarks, on_progress=on_progress
        )
    return items, score_category(items, summary)


def score_category(items: Sequence[BenchmarkItem], summary: JsonObject) -> BenchmarkScore:
    """Both accuracies of a category; failed requests and undecided items are counted apart."""
    answered = [item for item in items if not item.error]
    official = [item.official for item in answered if item.official is not None]
    strict = [item.strict for item in answered if item.strict is not None]
    both = [item for item in answered if item.strict is not None]
    return BenchmarkScore(
        benchmark=items[0].benchmark,
        version=str(summary["version"]),
        category=items[0].category,
        n=len(items),
        available=int(summary["available"]),
        errors=len(items) - len(answered),
        **_rates("official", official),
        reported=summary["reported"],
        decided=len(strict),
        **_rates("strict", strict),
        only_official=sum(bool(item.official) and not item.strict for item in both),
        only_strict=sum(bool(item.strict) and not item.official for item in both),
    )


def _rates(name: str, verdicts: Sequence[bool]) -> dict[str, float | None]:
    if not verdicts:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = wilson_interval(sum(verdicts), len(verdicts))
    return {name: sum(verdicts) / len(verdicts), f"{name}_low": low, f"{name}_high": high}
