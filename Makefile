# LoopTool. `make help` lists the targets; all of them work on a machine with Python 3.11 alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROFILE ?= laptop
CAMPAIGN ?= demo
ITERATIONS ?= 2
PORT ?= 4200
# Settings over the profile, e.g. SET='random_seed=1 judge.votes=3'.
SET ?=
# Tests that run side by side, whole files of them: a file's tests share a server or an engine.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -q
SIDE_BY_SIDE := -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Seconds for each target of `make fuzz`.
FUZZ_SECONDS ?= 600
# A package index for torch alone, e.g. a CPU-only one; empty: the default index.
TORCH_INDEX ?=


# vLLM, veRL and Ray for a machine without a GPU live beside the core, in an environment of their own.
ENGINES := .venv-engines
# veRL 0.9 runs on Python 3.11 and 3.12.
ENGINES_PYTHON ?= $(PYTHON)
ENGINES_STAMP := $(ENGINES)/.installed
# uv reads none of pip's settings: those of the environment are handed on, when there are any. A CPU
# build of torch must be found; without PIP_FIND_LINKS that is TORCH_INDEX, or PyTorch's own index.
UV := $(if $(PIP_CERT),SSL_CERT_FILE='$(PIP_CERT)') \
	$(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX='$(PIP_INDEX_URL)') $(ENGINES)/bin/uv -q
UV_SOURCES := $(addprefix --find-links ,$(PIP_FIND_LINKS)) $(addprefix --index ,$(PIP_EXTRA_INDEX_URL)) \
	$(if $(PIP_FIND_LINKS),,--index-strategy unsafe-best-match \
	--index $(or $(TORCH_INDEX),https://download.pytorch.org/whl/cpu))
UV_INSTALL := $(UV) pip install --python $(ENGINES)/bin/python

# Each benchmark lives in an environment of its own: its pins fit neither ours nor another one's.
# Their numpy 1.26 has wheels for Python 3.11 and 3.12.
BENCHMARK_PYTHON ?= $(PYTHON)

.DEFAULT_GOAL := help
.PHONY: help install engines bfcl acebench demo test test-slow test-engines fuzz check format up down bench docs lock lock-engines clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## Make the virtual environment from the committed lock

$(STAMP): requirements/lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] >= (3, 11) else "LoopTool needs Python 3.11 or newer; run: make PYTHON=python3.11 $@")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install -q --index-url $(TORCH_INDEX) -c requirements/lock.txt torch)
	$(BIN)/pip install -q --disable-pip-version-check -c requirements/lock.txt hatchling editables
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -c requirements/lock.txt -e '.[orchestration,train,s3,mcp,report,test,dev]'
	@touch $@

engines: $(ENGINES_STAMP) ## Make the environment of vLLM, veRL and Ray, for a machine without a GPU

$(ENGINES)/bin/uv:
	@$(ENGINES_PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] in ((3, 11), (3, 12)) and sys.platform == "linux" else "the engines need Linux and Python 3.11 or 3.12, this is Python %d.%d on %s; run: make ENGINES_PYTHON=python3.12 engines" % (*sys.version_info[:2], sys.platform))'
	test -x $(ENGINES)/bin/python || $(ENGINES_PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/pip install -q --disable-pip-version-check uv

$(ENGINES_STAMP): requirements/engines.txt requirements/engines-never.txt pyproject.toml | $(ENGINES)/bin/uv
	$(UV_INSTALL) $(UV_SOURCES) --override requirements/engines-never.txt -r requirements/engines.txt
	$(UV_INSTALL) --offline --no-deps "$$($(ENGINES)/bin/python requirements/vllm_alias.py requirements/engines.txt $(ENGINES)/alias)"
	$(UV_INSTALL) --offline --no-deps --no-build-isolation -e .
# Compiled once, or each of a training's dozen processes would compile torch, vLLM and veRL for itself.
	@$(ENGINES)/bin/python -m compileall -q -j 0 $(ENGINES)/lib >$(ENGINES)/compile.log 2>&1 || true
	@touch $@

bfcl: .venv-bfcl-v3/.installed .venv-bfcl-v4/.installed ## Make the environments of the benchmark BFCL, v3 and v4

acebench: .venv-acebench/.installed ## Make the environment of the benchmark ACEBench (its clone is yours to make)

.venv-bfcl-v3/.installed .venv-bfcl-v4/.installed .venv-acebench/.installed: .venv-%/.installed: requirements/%.txt
	@$(BENCHMARK_PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] in ((3, 11), (3, 12)) else "benchmarks need Python 3.11 or 3.12; set BENCHMARK_PYTHON=python3.12")'
	test -x .venv-$*/bin/python || $(BENCHMARK_PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install -q --disable-pip-version-check --no-deps -r requirements/$*.txt
	@touch $@

demo: $(STAMP) ## Run two iterations of the loop and show what they brought (PROFILE, CAMPAIGN, ITERATIONS, SET)
	$(BIN)/python -m deployments.demo --profile '$(PROFILE)' --campaign '$(CAMPAIGN)' --iterations $(ITERATIONS) --port $(PORT) $(foreach s,$(SET),--set '$(s)')

test: $(STAMP) ## Run the tests (without the slow ones and the engines)
	$(PYTEST) $(SIDE_BY_SIDE) -m 'not engines and not slow'

test-slow: $(STAMP) ## Run the slow tests: the Prefect UI in a browser, kills, a second S3 server (and BFCL's ceilings after `make bfcl`)
	$(PYTEST) $(SIDE_BY_SIDE) -m 'slow and not engines' --timeout 900

test-engines: $(STAMP) $(ENGINES_STAMP) ## Run the tests with real engines: transformers, TRL, vLLM, veRL on Ray
	$(PYTEST) -m engines --timeout 900

fuzz: $(STAMP) ## Fuzz every reader, guided by coverage, FUZZ_SECONDS each (Linux or macOS, Python 3.11 to 3.13)
	$(BIN)/pip install -q --disable-pip-version-check -c requirements/lock.txt --no-build-isolation -e '.[fuzz]'
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) --out .looptool/fuzz/results.json

check: $(STAMP) ## Format check, lint, types, import layers, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deployments.docs --check

format: $(STAMP) ## Format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## Write the generated pages
	$(BIN)/python -m deployments.docs

up: $(STAMP) ## Start a lasting Prefect server and worker
	$(BIN)/python -m deployments.stack up --port $(PORT)

down: $(STAMP) ## Stop them
	$(BIN)/python -m deployments.stack down

bench: $(STAMP) ## Run the quick benchmarks
	$(BIN)/python -m benchmarks.matching
	$(BIN)/python -m benchmarks.validation
	$(BIN)/python -m benchmarks.teacher

lock: ## Refresh requirements/lock.txt from the current environment
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements/lock.txt

lock-engines: $(ENGINES)/bin/uv ## Resolve requirements/engines.in into engines.txt
	$(UV) pip compile --python $(ENGINES)/bin/python $(UV_SOURCES) --override requirements/engines-never.txt \
		--no-header --no-annotate --no-emit-find-links --no-emit-index-url \
		pyproject.toml requirements/engines.in -o requirements/engines.txt

clean: ## Remove the virtual environment and all local state (artifacts stay)
	-$(BIN)/python -m deployments.stack down
	rm -rf $(VENV) $(ENGINES) .venv-bfcl-v3 .venv-bfcl-v4 .venv-acebench .looptool
