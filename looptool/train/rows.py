"""Samples as training rows, and the plan of batches: pure functions.

The plan: the samples are shuffled anew for each epoch, the epochs are laid end to end, and the line
is cut into batches. So a batch may hold the end of one epoch and the beginning of the next, nothing
is repeated to fill it up, and only the tail of the last epoch can stay unused, which is counted.
Less than one batch in an epoch is refused.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from looptool.calls import check_label
from looptool.errors import ConfigError
from looptool.records import Sample

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Which row is in which batch."""

    batches: tuple[tuple[int, ...], ...]
    """Row indices of each optimiser step."""
    unused_tail: int
    """Row visits of the epochs that got into no batch."""

    @property
    def used(self) -> frozenset[int]:
        """Rows that are in at least one batch."""
        return frozenset(row for batch in self.batches for row in batch)


def build_row(sample: Sample) -> JsonObject:
    """What the trainer needs of a sample; `ground_truth` is the JSON that `compute_score` takes."""
    tools = sample.tool_specs()
    truth = {
        "calls": sample.label.as_calls(),
        "tools": tools,
        "ordered": sample.ordered,
        "name_map": None,
    }
    return {
        "sample_id": sample.sample_id,
        "messages": sample.chat(),
        "tools": tools,
        "ground_truth": json.dumps(truth, ensure_ascii=False),
    }


def find_defects(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Ids of samples whose label breaks its own tools' schemas: data defects, not a reward of 0."""
    return tuple(
        s.sample_id for s in samples if list(check_label(s.label.as_calls(), s.tool_specs()))
    )


def plan_batches(
    rows: int, batch_size: int, epochs: int, max_steps: int | None, random_seed: int
) -> BatchPlan:
    """The batches of all epochs; raises ConfigError when the rows do not fill one."""
    if rows < batch_size:
        raise ConfigError(
            f"{rows} trainable samples do not fill one batch of {batch_size}; "
            "lower train.batch_size or raise merge.dataset_size and seed.train_samples"
        )
    rng = random.Random(random_seed)
    line: list[int] = []
    for _ in range(epochs):
        epoch = list(range(rows))
        rng.shuffle(epoch)
        line += epoch
    steps = len(line) // batch_size
    if max_steps is not None:
        steps = min(steps, max_steps)
    batches = tuple(tuple(line[i * batch_size : (i + 1) * batch_size]) for i in range(steps))
    return BatchPlan(batches=batches, unused_tail=len(line) - steps * batch_size)
