"""One benchmark on one policy, category by category, by both rules."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from looptool.artifacts import Store
from looptool.campaign import Campaign
from looptool.config import LoopConfig
from looptool.engines import check_model_folder
from looptool.engines.options import engine_options
from looptool.errors import CampaignError
from looptool.intervals import wilson_interval
from looptool.records import BenchmarkItem, BenchmarkName, BenchmarkScore, JsonObject
from looptool.suites import acebench, bfcl
from looptool.suites.harness import find_environment
from looptool.suites.serving import open_policy_app, serve_on_socket

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


def narrow(
    config: LoopConfig, name: BenchmarkName, categories: Sequence[str], limit: int | None
) -> LoopConfig:
    """The configuration with only these categories of a benchmark, and at most so many items of each."""
    given: JsonObject = {} if limit is None else {"limit": limit}
    if categories:
        given["categories"] = tuple(categories)
    section = getattr(config.benchmarks, name).model_copy(update=given)
    benchmarks = config.benchmarks.model_copy(update={name: section})
    return config.model_copy(update={"benchmarks": benchmarks})


def find_policy(named: str, root: str, iteration: int | None = None) -> Path:
    """The checkpoint's folder: a folder as it is, else the policy of a campaign on the store.

    `iteration` None: the best one so far. Raises CampaignError if there is no such policy.
    """
    if (Path(named) / "config.json").is_file():
        return check_model_folder(named)
    store = Store(root)
    records = Campaign(store, named).complete()
    if not records or (iteration or 0) > len(records):
        raise CampaignError(
            f"{named} is no checkpoint's folder, and no campaign of {iteration or 1} complete iterations "
            f"below {root}"
        )
    policy = records[-1].best.checkpoint if iteration is None else records[iteration - 1].checkpoint
    ref = store.ref(policy.uri)
    if ref is None:
        return check_model_folder(store.strip(policy.uri))
    return store.fetch_files(ref, "checkpoint", Path(".looptool/cache/checkpoints").resolve())


def evaluate_policy(
    name: BenchmarkName, folder: Path, config: LoopConfig
) -> Iterator[tuple[list[BenchmarkItem], BenchmarkScore]]:
    """Items and score of each category, one after the other, with the policy served for their time."""
    categories = list_categories(name, config)
    options = engine_options(config)
    with open_policy_app(config, folder, options) as app, serve_on_socket(app) as socket:
        for category in categories:
            yield run_category(name, category, socket, config)


def _rates(name: str, verdicts: Sequence[bool]) -> dict[str, float | None]:
    if not verdicts:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = wilson_interval(sum(verdicts), len(verdicts))
    return {name: sum(verdicts) / len(verdicts), f"{name}_low": low, f"{name}_high": high}
