"""ACEBench, from the user's clone: its own scripts ask and grade; we grade the same answers.

The clone and the commit are the user's (`benchmarks.acebench`): nothing of it is ours to ship, and scores of
different commits do not compare. Prompt mode only, as the clone has no other: the policy is asked for
`[Api(k='v')]` in text, and its own way of calling tools plays no part. Left out: the agent categories, whose
score depends on a second model that plays the user.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from looptool.config import AceBenchConfig, BenchmarksConfig
from looptool.errors import ConfigError, shorten
from looptool.records import BenchmarkItem, JsonObject
from looptool.suites.acebench_labels import judge_item
from looptool.suites.harness import check_errors, count_results, find_environment, grade, read_items
from looptool.suites.process import PROGRAMS, run_program

ATOMS = ("bool", "enum", "number", "list", "object_short", "object_deep")
CATEGORIES = (
    "normal_single_turn_single_function",
    "normal_single_turn_parallel_function",
    "normal_multi_turn_user_adjust",
    "normal_multi_turn_user_switch",
    "normal_similar_api",
    "normal_preference",
    *(f"normal_atom_{kind}" for kind in ATOMS),
    "special_incomplete",
    "special_error_param",
    "special_irrelevant",
)
"""What can be run with the policy alone."""
FILES = ("generate.py", "eval_main.py", "category.py", "model_inference/inference_map.py")


def check_clone(config: AceBenchConfig) -> Path:
    """The clone's folder; ConfigError if it is none, or not at the commit that the profile names."""
    clone = Path(config.clone).expanduser().absolute()
    missing = [name for name in FILES if not (clone / name).is_file()]
    if not config.clone or missing:
        raise ConfigError(
            f"benchmarks.acebench.clone = {config.clone!r} is no clone of ACEBench"
            + (f" ({', '.join(missing)} not there)" if config.clone else "")
            + "; clone github.com/chenchen0103/ACEBench and name its folder and commit"
        )
    if not re.fullmatch(r"[0-9a-f]{40}", config.commit):
        raise ConfigError("benchmarks.acebench.commit must be the 40 digits of the clone's commit")
    command = ["git", "-c", "safe.directory=*", "-C", str(clone), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if (found := done.stdout.strip()) != config.commit:
        raise ConfigError(
            f"{clone} is at {found or shorten(done.stderr)}, not at benchmarks.acebench.commit; run "
            f"git -C {clone} checkout {config.commit}"
        )
    return clone


def check_categories(categories: Sequence[str]) -> tuple[str, ...]:
    """The categories to run, all by default; ConfigError for one that cannot be run."""
    if unknown := sorted(set(categories) - set(CATEGORIES)):
        raise ConfigError(
            f"benchmarks.acebench.categories: {', '.join(unknown)} cannot be run; there are "
            + ", ".join(CATEGORIES)
        )
    return tuple(c for c in CATEGORIES if not categories or c in categories)


def run_category(
    category: str,
    policy: Path,
    config: BenchmarksConfig,
    *,
    max_tokens: int,
    on_progress: Callable[[int], None] = lambda _answered: None,
) -> tuple[list[BenchmarkItem], JsonObject]:
    """Ask and grade one category in a fresh process; see `bfcl.run_category`."""
    section = config.acebench
    clone = check_clone(section)
    with tempfile.TemporaryDirectory(prefix="looptool-acebench-") as folder:
        work = Path(folder)
        job = {
            "clone": str(clone),
            "category": category,
            "language": section.language,
            "limit": section.limit,
            "threads": config.threads,
            "max_tokens": max_tokens,
            "socket": str(policy),
            "request_timeout_s": config.request_timeout_s,
            "memory_gib": config.memory_gib,
            "cpu_s": config.timeout_s * 2,
        }
        run_program(
            PROGRAMS / "acebench.py",
            job,
            work,
            python=find_environment("acebench", section.python),
            timeout_s=config.timeout_s,
            require_isolation=config.require_isolation,
            on_poll=lambda: on_progress(count_results(work / "result_all")),
        )
        rows = list(read_items(work))
        summary: JsonObject = json.loads((work / "summary.json").read_text("utf-8"))
    items = [grade("acebench", category, row, judge_item) for row in rows]
    check_errors(items, f"acebench {category}")
    version = f"{section.commit} {section.language}"
    return items, summary | {"version": version, "reported": rows[0]["reported"] if rows else None}
