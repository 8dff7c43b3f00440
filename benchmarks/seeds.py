"""Held-out accuracy before and after two iterations of the laptop profile, over several seeds.

    python -m benchmarks.seeds --seeds 0 1 2

Each seed is a campaign of its own, run through the deployment as `make demo` does; finished
iterations are not run again. Prints one row per slice and seed, and writes them to `--out` as JSON.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deployments import demo
from looptool.artifacts import Store
from looptool.campaign import Campaign
from tasks.profiles import resolve_profile

SLICES = ("seen", "unseen", "relevance", "irrelevance", "all")


def collect(campaign: str, root: str, iterations: int) -> dict[str, list[float]]:
    """Accuracy of M_0, M_1 … by slice, in percent."""
    records = Campaign(Store(root), campaign).complete()[:iterations]
    first = records[0].summary["accuracy_before"]
    return {
        name: [100 * first[name], *(100 * r.summary["accuracy"][name] for r in records)]
        for name in sorted(first)
    }


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--port", type=int, default=4260)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--prefix", default="seed")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/seeds.json"))
    options = parser.parse_args()
    console = Console()
    root = resolve_profile(options.profile).store.root
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in options.seeds:
        campaign = f"{options.prefix}-{seed}"
        done = len(Campaign(Store(root), campaign).complete())
        demo.run(
            console,
            argparse.Namespace(
                campaign=campaign,
                profile=options.profile,
                iterations=max(0, options.iterations - done),
                port=options.port,
                set=[f"random_seed={seed}", *options.set],
            ),
        )
        rows[str(seed)] = collect(campaign, root, options.iterations)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table("held-out accuracy (%)", *(f"seed {seed}" for seed in rows), "mean gain")
    for name in SLICES:
        shown = [" -> ".join(f"{value:.1f}" for value in row[name]) for row in rows.values()]
        gain = sum(row[name][-1] - row[name][0] for row in rows.values()) / len(rows)
        table.add_row(name, *shown, f"{gain:+.1f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
