"""The seed phase on tools that a user brings: what each source gives, up to verified dialogues.

    python -m benchmarks.sources openapi.json mcp:my-server statistics tools.json

Each source is imported, split, simulated and validated by the scripted teacher (or the profile's), as the
flow `looptool-seed` does it. With `--coverage` the coverage table of each follows.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.seed_noise import run_seed_phase
from looptool.artifacts import Store
from looptool.config import LoopConfig
from looptool.errors import LoopToolError
from looptool.records import Coverage, Rejection, Sample
from looptool.seed.coverage import render_coverage
from tasks.profiles import resolve_profile
from tasks.scope import Scope


def configure(source: str, samples: int, profile: str, root: str) -> LoopConfig:
    """The profile with this one source and small targets."""
    return resolve_profile(
        profile,
        {
            "store.root": root,
            "seed.sources": [{"location": source}],
            "seed.train_samples": samples,
            "seed.heldout_samples": samples // 4,
            "seed.heldout_unseen_samples": 0,
            "seed.unseen_tool_rate": 0.0,
        },
    )


def measure(config: LoopConfig) -> dict[str, Any]:
    """Counts of one source's seed phase."""
    began = time.monotonic()
    pool = run_seed_phase(config)
    store = Store(config.store.root)
    stats = store.manifest_of(pool).stats
    return {
        "stats": stats,
        "tools": read_tools(config),
        "called": {c.name for s in store.read(pool, "samples", Sample) for c in s.label.calls},
        "coverage": store.read(pool, "coverage", Coverage),
        "seconds": time.monotonic() - began,
    }


def read_tools(config: LoopConfig) -> tuple[int, list[Rejection]]:
    """How many tools there are, and those that were refused."""
    scope = Scope(campaign="noise", iteration=0, config=config)
    store = scope.store()
    (path,) = store.fs.glob(store.path("campaigns/*/iterations/0000/tools/*/manifest.json"))
    ref = store.ref(store.fs.unstrip_protocol(str(Path(path).parent)))
    assert ref is not None
    return ref.rows["tools"], store.read(ref, "rejections", Rejection)


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--samples", type=int, default=80)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--coverage", action="store_true")
    options = parser.parse_args()
    console = Console()
    table = Table(
        "source", "tools", "refused", "dialogues", "accepted / wanted", "tools called", "seconds"
    )
    for source in options.sources:
        with tempfile.TemporaryDirectory() as root:
            try:
                found = measure(configure(source, options.samples, options.profile, root))
            except LoopToolError as exc:
                console.print(f"{source}: {exc}", markup=False)
                continue
        stats, (tools, refused) = found["stats"], found["tools"]
        table.add_row(
            Path(source).name,
            str(tools),
            str(len(refused)),
            str(stats["dialogues"]),
            f"{stats['samples']} / {sum(stats['targets'].values())}",
            str(len(found["called"])),
            f"{found['seconds']:.1f}",
        )
        console.print(f"{source}: rejected {stats['rejected']}, missing {stats['missing']}")
        if options.coverage:
            console.print(render_coverage(found["coverage"]), markup=False, soft_wrap=True)
    console.print(table)


if __name__ == "__main__":
    main()
