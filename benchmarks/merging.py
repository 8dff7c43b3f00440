"""What it takes to merge millions of samples, beside Hugging Face `datasets`.

    python -m benchmarks.merging --rows 5000000 [--similarity 0.8] [--out benchmarks/results/merging.json]

The rows are made up and written to Parquet first, part by part: 40% unused seeds, 40% D_j with probes
and judgements, 20% expansions, each sample about 3 kB wide (five tools, a dialogue, a label), 2% exact
and 2% near duplicates among the expansions, 1,000 held-out samples. Each way of merging runs in its own
process on two cores: `looptool` does everything that the loop does, `exact` the same without near
duplicates, `datasets` the part that it has operations for: concatenate, drop exact duplicates and
held-out contexts, rank by perplexity, select, shuffle, write. Seconds of work are those of the process
(user and system), so that neighbours on a shared machine do not count; memory is its peak (VmHWM).
`datasets` is given fewer rows, half at a time, until it stays within the memory.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from looptool.config import MergeConfig
from looptool.merge import MergeSources, Source, merge_sources
from looptool.records import Kind, Split, canonical_json, make_tool
from looptool.schema import table_of

PART_ROWS = 32_768
TOOL_SETS = 400
HELDOUT_ROWS = 1_000
MEMORY_GIB = 4.0
SHARES = {"pool": 0.4, "current": 0.4, "expansions": 0.2}
WAYS = ("looptool", "exact", "datasets")

Row = dict[str, Any]


def make_words(rng: random.Random) -> list[str]:
    """A vocabulary of 20,000 invented words."""
    syllables = [a + b for a in "bcdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er")]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20_000)]


def make_tool_sets(rng: random.Random, words: list[str]) -> list[str]:
    """Sets of five tools, as JSON text."""
    tools = []
    for _ in range(TOOL_SETS):
        properties = {
            name: {"type": "string", "description": " ".join(rng.choices(words, k=6))}
            for name in rng.sample(words, 4)
        }
        schema = {"type": "object", "properties": properties, "required": list(properties)[:2]}
        name = "_".join(rng.sample(words, 2))
        tools.append(make_tool(name, " ".join(rng.choices(words, k=12)), schema))
    return [
        canonical_json([tool.model_dump(mode="json") for tool in rng.sample(tools, 5)])
        for _ in range(TOOL_SETS)
    ]


class Maker:
    """Makes rows of samples."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._words = make_words(self._rng)
        self._tools = make_tool_sets(self._rng, self._words)
        self._names = [json.loads(tools)[0]["name"] for tools in self._tools]
        self._last: list[str] = []

    def row(self, number: int, split: Split, parent: str, repeat: float) -> Row:
        """One sample; with the probability `repeat` it says (nearly) what the one before said."""
        rng = self._rng
        chance = rng.random()
        if not self._last or chance >= repeat:
            self._last = rng.choices(self._words, k=rng.randint(30, 70))
            self._set = rng.randrange(len(self._tools))
        said = list(self._last)
        if chance < repeat / 2:
            said[rng.randrange(len(said))] = rng.choice(self._words)
        calls = rng.random() >= 0.15
        value = " ".join(said[:3])
        call = {"arguments": {"value": value}, "name": self._names[self._set]}
        half = len(said) // 2
        messages = [
            {"content": " ".join(said[:half]), "role": "user"},
            {"calls": [], "content": "Which one?", "role": "assistant"},
            {"content": " ".join(said[half:]), "role": "user"},
        ]
        label = {"calls": [call], "text": ""} if calls else {"calls": [], "text": value}
        kind = Kind.MULTI_TURN if calls else Kind.CLARIFY
        return {
            "sample_id": f"s-{number:016x}",
            "kind": kind.value,
            "split": split.value,
            "origin": "expansion" if parent else "seed",
            "tools": self._tools[self._set],
            "messages": canonical_json(messages),
            "label": canonical_json(label),
            "ordered": False,
            "date": "2031-05-04",
            "persona": "a student",
            "style": "plain",
            "language": "en",
            "difficulty": "",
            "dialogue_id": f"d-{number:016x}",
            "parent_id": parent,
            "root_id": parent,
            "born_in": int(bool(parent)),
        }


def write_rows(folder: Path, rows: int) -> None:
    """All tables of one merge, a part at a time."""
    maker, number = Maker(7), 0
    plan = {name: round(share * rows) for name, share in SHARES.items()} | {"heldout": HELDOUT_ROWS}
    first_seed = plan["pool"]
    for name, count in plan.items():
        (folder / name).mkdir(parents=True)
        split = Split.HELDOUT_SEEN if name == "heldout" else Split.TRAIN
        for part, start in enumerate(range(0, count, PART_ROWS)):
            made = []
            for place in range(start, min(count, start + PART_ROWS)):
                grown = name == "expansions"
                parent = f"s-{first_seed + place // 4:016x}" if grown else ""
                made.append(maker.row(number, split, parent, 0.04 if grown else 0.0))
                number += 1
            write_part(folder / name, "samples", part, made)
    write_findings(folder, first_seed, plan["current"])


def write_findings(folder: Path, first: int, count: int) -> None:
    """Probes of D_j, and judgements of the mismatches."""
    rng = random.Random(8)
    label = canonical_json({"calls": [], "text": "No."})
    for name in ("probes", "judgements"):
        (folder / name).mkdir()
    for part, start in enumerate(range(0, count, PART_ROWS)):
        probes, judgements = [], []
        for place in range(start, min(count, start + PART_ROWS)):
            sample_id, matched = f"s-{first + place:016x}", rng.random() < 0.6
            ppl = 1 + rng.expovariate(3)
            passed = (
                rng.choice((0.0, 0.25, 0.5, 0.75)) if not matched else rng.choice((0.5, 0.9, 1.0))
            )
            probes.append(
                {"sample_id": sample_id, "output": "x" * 120, "matched": matched, "failure": "",
                 "relaxed": matched, "called": True, "tokens": 30, "ppl_output": ppl,
                 "pass_rate": passed}
            )  # fmt: skip
            if not matched:
                verdicts = ("PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG", "unjudged")
                verdict = rng.choices(verdicts, (70, 8, 10, 5, 7))[0]
                new = label if verdict == "LABEL_WRONG" else None
                judgements.append(
                    {"sample_id": sample_id, "verdict": verdict, "votes": "[]", "predicted": label,
                     "new_label": new, "marked": False, "sound": True}
                )  # fmt: skip
        write_part(folder / "probes", "probes", part, probes)
        write_part(folder / "judgements", "judgements", part, judgements)


def write_part(folder: Path, kind: str, number: int, rows: list[Row]) -> None:
    """One Parquet file; what a row does not say is empty text, or null where there is no text."""
    schema = table_of(kind).arrow
    empty = {f.name: "" if pa.types.is_string(f.type) else None for f in schema}
    table = pa.Table.from_pylist([empty | row for row in rows], schema=schema)
    pq.write_table(table, folder / f"{number:05d}.parquet", compression="zstd")


def files_of(folder: Path, name: str) -> list[str]:
    """The parts of a table."""
    return [str(path) for path in sorted((folder / name).glob("*.parquet"))]


def open_source(folder: Path, name: str, kind: str) -> Source:
    """A table on disk."""

    def read() -> Iterator[pa.RecordBatch]:
        for file in files_of(folder, name):
            yield from pq.ParquetFile(file).iter_batches(8192)

    return Source(kind, read)


def merge_here(folder: Path, out: Path, rows: int, similarity: float | None) -> Row:
    """The merge of the loop."""
    config = MergeConfig(
        dataset_size=round(SHARES["current"] * rows), near_duplicate_similarity=similarity
    )
    names = ("pool", "current", "expansions", "heldout")
    samples = {name: open_source(folder, name, "samples") for name in names}
    findings = {name: open_source(folder, name, name) for name in ("probes", "judgements")}
    with merge_sources(MergeSources(**samples, **findings, iteration=1), config, 0) as merged:
        for number, part in enumerate(merged.samples):
            pq.write_table(part, out / f"samples-{number:05d}.parquet", compression="zstd")
        for number, part in enumerate(merged.fates):
            pq.write_table(part, out / f"fates-{number:05d}.parquet", compression="zstd")
    return {"kept": merged.report.size, "left_out": merged.report.left_out}


def merge_with_datasets(folder: Path, out: Path, rows: int) -> Row:
    """The comparable operations of `datasets`."""
    from datasets import Dataset, concatenate_datasets, disable_caching

    disable_caching()
    cache = str(out / "cache")

    def load(*names: str) -> Any:
        parts = [Dataset.from_parquet(files_of(folder, n), cache_dir=cache) for n in names]
        return concatenate_datasets(parts)

    def add_keys(batch: dict[str, list[str]]) -> dict[str, list[bytes]]:
        said = (re.sub(r"[\W_]+", " ", text.casefold()) for text in batch["messages"])
        columns = zip(batch["tools"], batch["messages"], batch["label"], strict=True)
        return {
            "context": [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in said],
            "content": [
                hashlib.blake2b("\n".join(texts).encode(), digest_size=8).digest()
                for texts in columns
            ],
        }

    heldout = set(load("heldout").map(add_keys, batched=True)["context"])
    probes = load("probes")
    ppl = dict(zip(probes["sample_id"], probes["ppl_output"], strict=True))
    seen: set[bytes] = set()

    def is_new(batch: dict[str, list[bytes]]) -> list[bool]:
        keep = []
        for context, content in zip(batch["context"], batch["content"], strict=True):
            keep.append(context not in heldout and content not in seen)
            seen.add(content)
        return keep

    every = load("current", "expansions", "pool").map(add_keys, batched=True)
    kept = every.filter(is_new, batched=True)
    ranked = sorted(range(len(kept)), key=[-ppl.get(i, 0.0) for i in kept["sample_id"]].__getitem__)
    chosen = kept.select(ranked[: round(SHARES["current"] * rows)]).shuffle(seed=0)
    chosen.remove_columns(["context", "content"]).to_parquet(str(out / "samples.parquet"))
    return {"kept": len(chosen)}


def peak_gib() -> float:
    """Peak memory of this process, GiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 2**20 if found else 0.0


def run_child(way: str, folder: Path, rows: int, similarity: float) -> None:
    """One way of merging in this process; prints its figures as JSON."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        if way == "datasets":
            found = merge_with_datasets(folder, Path(out), rows)
        else:
            near = similarity if way == "looptool" else None
            found = merge_here(folder, Path(out), rows, near)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found |= {
        "rows": rows,
        "work_s": round(used.ru_utime + used.ru_stime, 1),
        "elapsed_s": round(time.monotonic() - start, 1),
        "peak_gib": round(peak_gib(), 3),
    }
    print(json.dumps(found))


def measure(way: str, folder: Path, rows: int, similarity: float) -> Row:
    """One way of merging in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.merging", "--child", way, "--folder", str(folder)]
    more = ["--rows", str(rows), "--similarity", str(similarity)]
    environment = os.environ | {"TMPDIR": str(folder.parent), "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [*command, *more], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        return {"rows": rows, "failed": done.stderr.strip().splitlines()[-1:]}
    figures: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def measure_all(rows: int, similarity: float) -> Row:
    """Every way; `datasets` on as many rows as fit into the memory."""
    results: Row = {}
    with tempfile.TemporaryDirectory(prefix="merging-") as work:
        folder = Path(work) / "rows"
        write_rows(folder, rows)
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        results |= {"rows": rows, "similarity": similarity, "parquet_gib": round(size / 2**30, 2)}
        for way in ("looptool", "exact"):
            results[way] = measure(way, folder, rows, similarity)
            print(way, results[way], flush=True)
        fewer = rows
        while True:
            found = results["datasets"] = measure("datasets", folder, fewer, similarity)
            print("datasets", found, flush=True)
            if found.get("peak_gib", MEMORY_GIB + 1) <= MEMORY_GIB or fewer < 20_000:
                break
            fewer //= 2
            shutil.rmtree(folder)
            write_rows(folder, fewer)
    return results


def compare(results: Row) -> list[str]:
    """The figures as lines of a table, and the ratios by row."""
    lines = ["| | rows | seconds of work | rows/s | peak GiB |", "|---|---|---|---|---|"]
    for way in WAYS:
        found = results[way]
        if "work_s" in found:
            rate = found["rows"] / max(0.1, found["work_s"])
            cells = (found["rows"], found["work_s"], round(rate), found["peak_gib"])
            lines.append(f"| {way} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    ours, theirs = results["exact"], results["datasets"]
    if "work_s" in ours and "work_s" in theirs:
        speed = (theirs["work_s"] / theirs["rows"]) / (ours["work_s"] / ours["rows"])
        memory = theirs["peak_gib"] / ours["peak_gib"]
        lines.append(
            f"\n`datasets` / `exact`, by row: {speed:.2f} x the work, {memory:.2f} x the peak"
        )
    return lines


def main() -> None:
    """Measures, prints the table and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--similarity", type=float, default=0.8)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/merging.json"))
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child, options.folder, options.rows, options.similarity)
        return
    results = measure_all(options.rows, options.similarity)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(compare(results)))


if __name__ == "__main__":
    main()
