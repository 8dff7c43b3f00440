"""Published benchmarks against a policy at an OpenAI-compatible endpoint, by their rule and by ours.

    checkpoint ── serving ──> chat API on a Unix socket <── process: the benchmark's own program, confined
                                                               │ answers, official verdicts
                                                    strict ────┴──> BenchmarkItem, BenchmarkScore

`serving` the policy (our server, `vllm serve`, or a server that runs) · `process` and `child/` the benchmark
in its own environment · `bfcl`, `bfcl_labels` BFCL v3 and v4 · `acebench`, `acebench_labels` ACEBench ·
`strict` our rule where a label is a choice of values · `run` one category. The paper reports official
scores alone.

Not in `evaluate`, whose held-out accuracies would be measured anew after every change of an adapter.
"""

from looptool.suites.run import (
    evaluate_policy,
    find_policy,
    list_categories,
    narrow,
    run_category,
    score_category,
)
from looptool.suites.serving import open_policy_app, serve_on_socket
from looptool.suites.table import HEADS, score_rows

__all__ = [
    "HEADS",
    "evaluate_policy",
    "find_policy",
    "list_categories",
    "narrow",
    "open_policy_app",
    "run_category",
    "score_category",
    "score_rows",
    "serve_on_socket",
]
