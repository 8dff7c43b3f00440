"""GRPO by veRL on Ray: the trainer for GPUs, one or many (method, section 3).

    rows       samples as Parquet rows, and back
    config     veRL's own configuration, our differences, the values of one run
    prepare    child process: leaves out long prompts, plans the batches, validates the configuration
    cluster    a Ray cluster of our own for one run; the Jobs API of any cluster
    job        what runs inside the Ray job: veRL's `main_ppo`, then the export
    agent      the rollout of one prompt: the model's own chat template, with tools
    steps      veRL's metrics and rollouts as `StepMetrics` and pass counts
    run        the caller's side: prepare, submit, follow, publish
    supervise  ends a local cluster with everything that it started
    cpu        test equipment for machines without a GPU

The caller needs neither veRL nor Ray: they live in the interpreter that `train.python` names.
"""
