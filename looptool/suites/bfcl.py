"""BFCL v3 and v4: bfcl-eval in its own environment asks the policy and grades; we grade the same answers.

v4 kept v3's categories but not their contents (half of the multi-turn items differ), so the two are two
benchmarks with an environment each, and never stand in one table. Left out: what needs a network or a
vendor's key (web_search), an embedding model (memory_vector), or is not for models with native calls
(format_sensitivity); memory_kv and memory_rec_sum have not been tried.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from looptool.config import BenchmarksConfig, BfclConfig
from looptool.errors import ConfigError
from looptool.records import BenchmarkItem, BenchmarkName, JsonObject
from looptool.suites.bfcl_labels import judge_item
from looptool.suites.harness import check_errors, count_results, find_environment, grade, read_items
from looptool.suites.process import PROGRAMS, run_program

AST = ("multiple", "parallel", "parallel_multiple")
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
RELEVANCE = ("irrelevance", "live_irrelevance", "live_relevance")
MULTI_TURN = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)
CATEGORIES: dict[str, tuple[str, ...]] = {
    "bfcl_v3": ("simple", "java", "javascript", *AST, *LIVE, *RELEVANCE, *MULTI_TURN),
    "bfcl_v4": (
        *("simple_python", "simple_java", "simple_javascript"),
        *(*AST, *LIVE, *RELEVANCE, *MULTI_TURN),
    ),
}
"""What can be run here of each version."""


def check_categories(name: BenchmarkName, categories: Sequence[str]) -> tuple[str, ...]:
    """The categories to run, all by default; ConfigError for one that there is not."""
    known = CATEGORIES[name]
    if unknown := sorted(set(categories) - set(known)):
        raise ConfigError(
            f"benchmarks.{name}.categories: {', '.join(unknown)} cannot be run; there are "
            + ", ".join(known)
        )
    return tuple(c for c in known if c in categories) if categories else known


def run_category(
    name: BenchmarkName,
    category: str,
    policy: Path,
    config: BenchmarksConfig,
    *,
    on_progress: Callable[[int], None] = lambda _answered: None,
) -> tuple[list[BenchmarkItem], JsonObject]:
    """Ask and grade one category in a fresh process; the policy is the socket at `policy`.

    Returns the items and a summary (`version`, `available`, `reported`: the harness's own accuracy).
    """
    section: BfclConfig = getattr(config, name)
    python = find_environment(name, section.python)
    with tempfile.TemporaryDirectory(prefix=f"looptool-{name}-") as folder:
        work = Path(folder)
        job = {
            "category": category,
            "limit": section.limit,
            "threads": config.threads,
            "socket": str(policy),
            "request_timeout_s": config.request_timeout_s,
            "memory_gib": config.memory_gib,
            "cpu_s": config.timeout_s * 2,
        }
        run_program(
            PROGRAMS / "bfcl.py",
            job,
            work,
            python=python,
            timeout_s=config.timeout_s,
            env={"BFCL_PROJECT_ROOT": str(work), "OPENAI_API_KEY": "none"},
            require_isolation=config.require_isolation,
            on_poll=lambda: on_progress(count_results(work / "result")),
        )
        rows = list(read_items(work))
        summary: JsonObject = json.loads((work / "summary.json").read_text("utf-8"))
    items = [grade(name, category, row, judge_item) for row in rows]
    check_errors(items, f"{name} {category}")
    return items, summary | {"reported": rows[0]["reported"] if rows else None}
