"""GRPO on D_j from checkpoint M_{j-1} to M_j (method, section 3), behind one small protocol.

`rows` turns samples into training rows and plans the batches, `trl` runs TRL's trainer in a child
process for machines without a GPU, `verl` runs veRL as a Ray job, `checkpoint` checks what came
out. As in the paper: binary reward, no KL, clip-higher, optimiser state new in each iteration.
Ours: the rollouts' pass rates are kept.
"""

from looptool.train.api import (
    TRAINERS,
    TrainOutcome,
    TrainReport,
    TrainRequest,
    train_policy,
)
from looptool.train.checkpoint import CheckpointReport, check_checkpoint

__all__ = [
    "TRAINERS",
    "CheckpointReport",
    "TrainOutcome",
    "TrainReport",
    "TrainRequest",
    "check_checkpoint",
    "train_policy",
]
