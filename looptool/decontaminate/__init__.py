"""Benchmarks kept out of the training data: an index of hashes, and the gate that uses it.

Nothing of a benchmark is in an index but hashes and the ids of its entries. Build one from an installed
bfcl-eval or a folder (`looptool decontaminate index`), name it in `merge.decontaminate`.
"""

from looptool.decontaminate.entries import BFCL, Entry, find_bfcl, read_entries
from looptool.decontaminate.gate import Gatekeeper, Query, make_query
from looptool.decontaminate.index import BenchmarkIndex, build_index, load_index, save_index

__all__ = [
    "BFCL",
    "BenchmarkIndex",
    "Entry",
    "Gatekeeper",
    "Query",
    "build_index",
    "find_bfcl",
    "load_index",
    "make_query",
    "read_entries",
    "save_index",
]
