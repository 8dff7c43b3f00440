# A Ray node with veRL, vLLM and the library: head and GPU workers run the same image. Build from the root of the checkout:
#   docker build -f deployments/containers/trainer.Dockerfile -t looptool-trainer .
# veRL's own extra pins vLLM and torch for CUDA; flash-attn is compiled against them, hence the -devel base.
# Not built in CI and not run: no GPU was at hand.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-dev python3-venv git wget \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
RUN pip install --no-cache-dir 'verl[vllm]==0.9.1' 'ray[default]==2.60.0' 'TransferQueue==0.1.11'
RUN pip install --no-cache-dir ninja packaging wheel setuptools \
    && pip install --no-cache-dir --no-build-isolation 'verl[flash-attn-cu130torch211]==0.9.1'
WORKDIR /opt/looptool
COPY pyproject.toml README.md LICENSE ./
COPY looptool looptool
COPY prompts prompts
COPY verl_configs verl_configs
RUN pip install --no-cache-dir .
# Orphans of a worker that is killed (vLLM's engines) end with it.
ENV RAY_process_group_cleanup_enabled=1 RAY_USAGE_STATS_ENABLED=0
