"""How many labels of every D_j of a campaign are wrong, measured beside the pipeline.

    python -m benchmarks.labels --campaign demo

The scripted teacher without noise answers each sample's context again; a label whose calls are not its
calls counts as wrong. So the figure holds for campaigns with the scripted teacher alone, and only as far
as that teacher's own answer is right: on the held-out samples, which it wrote, it must find none.
"""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from looptool.artifacts import ArtifactRef, Store
from looptool.calls import calls_match
from looptool.campaign import Campaign
from looptool.chat import AsgiTransport, Teacher, gather_bounded
from looptool.config import SimulatorConfig, TeacherConfig
from looptool.prompts import render
from looptool.records import Origin, Sample
from looptool.seed.agents import AssistantReply
from looptool.simulator import create_app
from tasks.profiles import resolve_profile


async def find_wrong(samples: Sequence[Sample]) -> list[Sample]:
    """The samples whose label is not what the noiseless scripted teacher answers."""
    transport = AsgiTransport(create_app(SimulatorConfig()))
    async with Teacher(TeacherConfig(model="scripted-expert"), transport) as teacher:
        right = await gather_bounded([is_right(sample, teacher) for sample in samples])
    return [sample for sample, fine in zip(samples, right, strict=True) if not fine]


async def is_right(sample: Sample, teacher: Teacher) -> bool:
    """Whether the noiseless teacher makes the label's calls, or none where the label has none."""
    messages = render(
        "seed_assistant", tools=sample.tool_specs(), conversation=sample.chat(), date=sample.date
    )
    reply = await teacher.ask(messages, reply=AssistantReply, stage="truth", seed=0)
    answer = [call.model_dump() for call in reply.tool_calls]
    label = sample.label.as_calls()
    if not answer or not label:
        return not answer and not label
    return calls_match(answer, label, sample.tool_specs(), ordered=sample.ordered)


def measure(store: Store, ref: ArtifactRef) -> dict[str, tuple[int, int]]:
    """Wrong labels and samples of a dataset, by origin and in all."""
    samples = store.read(ref, "samples", Sample)
    wrong = Counter(sample.origin for sample in asyncio.run(find_wrong(samples)))
    counts = Counter(sample.origin for sample in samples)
    by_origin = {origin.value: (wrong[origin], counts[origin]) for origin in Origin}
    return by_origin | {"all": (sum(wrong.values()), len(samples))}


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaign", default="demo")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    store = Store(resolve_profile(options.profile).store.root)
    records = Campaign(store, options.campaign).complete()
    rows = {f"D_{record.iteration}": measure(store, record.dataset) for record in records}
    if records:
        rows[f"D_{len(records) + 1}"] = measure(store, records[-1].next_dataset)
    if options.json:
        print(json.dumps(rows))
        return
    table = Table("wrong labels", *rows, title=f"campaign {options.campaign}")
    for name in (*(origin.value for origin in Origin), "all"):
        cells = (row[name] for row in rows.values())
        table.add_row(name, *(f"{w} of {n} ({w / n:.1%})" if n else "-" for w, n in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
