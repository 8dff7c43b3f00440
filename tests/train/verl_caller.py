"""A caller of the trainer in a process of its own, to be killed: `verl_caller.py SAMPLES BASE OUT CONFIG`.

Prints the number of each finished step.
"""

import json
import sys
from pathlib import Path

from looptool.config import TrainConfig
from looptool.records import Sample
from looptool.train import train_policy


def main(samples: str, base: str, out: str, config: str) -> None:
    lines = Path(samples).read_text(encoding="utf-8").splitlines()
    train_policy(
        [Sample.model_validate_json(line) for line in lines],
        base,
        out,
        TrainConfig.model_validate(json.loads(config)),
        random_seed=7,
        on_progress=lambda step, _total: print(step.step, flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
