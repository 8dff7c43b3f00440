"""How often a second one core does something."""

import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any


def measure(
    name: str,
    once: Callable[[Any], object],
    items: Sequence[Any],
    seconds: float,
    batch: int | None = None,
) -> float:
    """Calls `once` on the items in turn; prints and returns how often a second.

    The clock is looked at after all items, or after `batch` of them, repeated as need be.
    """
    if batch is not None:
        items = list(islice(cycle(items), batch))
    for item in items:
        once(item)
    done, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < seconds:
        for item in items:
            once(item)
        done += len(items)
    rate = done / elapsed
    print(f"{name:<52}{rate:>12,.0f} /s{1e6 / rate:>10.1f} µs")
    return rate
