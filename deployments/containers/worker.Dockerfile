# The Prefect worker: flows, tasks and the library; no GPU, no engines. Build from the root of the checkout:
#   docker build -f deployments/containers/worker.Dockerfile -t looptool-worker .
# Trainings go to Ray by its Jobs API, probes to Ray or to an endpoint. Not built in CI.
FROM python:3.11-slim

RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/looptool
COPY requirements requirements
RUN pip install --no-cache-dir -c requirements/lock.txt hatchling editables
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY looptool looptool
COPY prompts prompts
COPY verl_configs verl_configs
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-cache-dir --no-build-isolation -c requirements/lock.txt -e '.[orchestration,s3]'
# Work in progress must lie on the file system that the cluster's nodes share.
ENV LOOPTOOL_CACHE=/shared/looptool
RUN useradd --create-home looptool
USER looptool
CMD ["prefect", "worker", "start", "--pool", "kubernetes", "--type", "kubernetes"]
