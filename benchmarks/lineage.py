"""How long `explain`, `retract` and `diff` take on a large campaign.

    python -m benchmarks.lineage --samples 100000

Writes a campaign of two datasets with probes, verdicts and fates below a temporary folder, each of so
many samples (a multiple of 10,000), and times the commands' library calls in fresh processes, with
their peak memory.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks.iterations import make_record
from looptool.artifacts import ArtifactRef, ArtifactWriter, CheckpointRef, Store
from looptool.campaign import Campaign
from looptool.config import parse_config
from looptool.records import (
    Judgement,
    Kind,
    Label,
    ProbeResult,
    Record,
    Sample,
    Split,
    ToolCall,
    UserMessage,
    Vote,
    make_sample,
    make_tool,
)
from looptool.schema import Fate, to_table

NAME = "large"
PART = 10_000
CALLS = {
    "explain": "explain(c, name)",
    "explain by a beginning": "explain(c, name[:12])",
    "retract": "foresee(c, request_retraction(c, [name], with_descendants=True))",
    "diff": "compare_datasets(c, '1', '2', 3)",
}


def make_samples(count: int) -> Iterator[Sample]:
    """Samples of about 5 kB of text that does not compress to nothing."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(5000)]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in words[:5]}}
    tools = [
        make_tool(f"tool_{n}", " ".join(draw.choices(words, k=30)), schema) for n in range(200)
    ]
    for number in range(count):
        said = " ".join(draw.choices(words, k=200))
        chosen = tuple(draw.sample(tools, 8))
        call = ToolCall(name=chosen[0].name, arguments={words[0]: str(number)})
        yield make_sample(
            kind=Kind.SINGLE,
            split=Split.TRAIN,
            tools=chosen,
            messages=(UserMessage(content=said),),
            label=Label(calls=(call,)),
            dialogue_id=f"d-{number}",
        )


def write(
    campaign: Campaign,
    iteration: int,
    stage: str,
    inputs: dict[str, str],
    parts: range,
    **tables: Sequence[Record],
) -> ArtifactRef:
    """One artifact: every part holds the same rows under ids of its own."""
    writer = ArtifactWriter(campaign.store, campaign.folder(iteration), stage, "0" * 24)
    for table, rows in tables.items():
        arrow = to_table(table, rows)
        for part in parts:
            writer.write_table(table, table, _rename(arrow, part), part)
    return writer.commit(inputs, {}, {})


def _rename(rows: pa.Table, part: int) -> pa.Table:
    ids = [name_of(name, part) for name in rows["sample_id"].to_pylist()]
    return rows.set_column(0, rows.schema.field(0), pa.array(ids, pa.string()))


def name_of(sample_id: str, part: int) -> str:
    """The id of a sample in a part."""
    return f"s-{part:03x}{sample_id[5:]}"


def make_campaign(root: str, count: int) -> str:
    """The campaign; id of one of its samples. D_2 lacks one part of D_1 and has another instead."""
    campaign = Campaign(Store(root), NAME)
    campaign.adopt(parse_config({}))
    samples = list(make_samples(PART))
    last = count // PART
    pool = write(campaign, 0, "pool", {}, range(last + 1), samples=samples)
    first = {"pool": pool.digest}
    start = write(campaign, 0, "dataset", first, range(last), samples=samples)
    probed = [
        ProbeResult(sample_id=s.sample_id, output="x" * 200, matched=n % 10 > 0, relaxed=False,
                    called=True, tokens=50, ppl_output=1.5)
        for n, s in enumerate(samples)
    ]  # fmt: skip
    probes = write(campaign, 1, "probe", {"dataset": start.digest}, range(last), probes=probed)
    vote = Vote(model="m", label_first=True, verdict="PRED_WRONG", error_analysis="because " * 20)
    judged = [
        Judgement(
            sample_id=s.sample_id, verdict="PRED_WRONG", votes=(vote, vote), predicted=s.label
        )
        for s in samples[::10]
    ]
    judging = {"probes": probes.digest}
    verdicts = write(campaign, 1, "judge", judging, range(last), judgements=judged)
    inputs = {"probes": probes.digest, "verdicts": verdicts.digest, "pool": pool.digest}
    fates = [Fate(sample_id=s.sample_id, fate="dropped", reason="low_ppl") for s in samples]
    rows = range(1, last + 1)
    merged = write(campaign, 1, "merge", inputs, rows, samples=samples, fates=fates)
    campaign.finish(
        make_record(
            1,
            dataset=start,
            merged=merged,
            checkpoint=CheckpointRef(uri="m", digest="m"),
            scores=start,
            verdicts=verdicts,
            summary={"table": {}},
        )
    )
    return name_of(samples[-10].sample_id, last - 1)


def main() -> None:
    """Print a table of seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    count = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as root:
        name = make_campaign(root, count)
        size = sum(file.stat().st_size for file in Path(root).rglob("*.parquet")) / 2**20
        print(f"{count} samples in each dataset, {size:.0f} MiB on disk")
        for name, call in CALLS.items():
            code = (
                "import resource, time; from looptool.lineage import *;"
                "from looptool.artifacts import Store;"
                f"c = open_campaign(Store({root!r}), None); name = {name!r};"
                "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
                f"began = time.perf_counter(); {call}; took = time.perf_counter() - began;"
                "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
                "print(f'{took:.2f} s, {(peak - base) / 1024:.0f} MiB above {base / 1024:.0f}')"
            )
            result = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            print(f"{name}: {result.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
