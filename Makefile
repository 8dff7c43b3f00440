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
# A package index for torch alone, e.g. a CPU-only one; empty: the default index.
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test test-engines check format up down bench docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## Make the virtual environment from the committed lock

$(STAMP): requirements/lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] >= (3, 11) else "LoopTool needs Python 3.11 or newer; run: make PYTHON=python3.11 $@")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install -q --index-url $(TORCH_INDEX) -c requirements/lock.txt torch)
	$(BIN)/pip install -q --disable-pip-version-check -c requirements/lock.txt hatchling editables
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -c requirements/lock.txt -e '.[orchestration,train,s3,mcp,dev]'
	@touch $@

demo: $(STAMP) ## Run two iterations of the loop and show what they brought (PROFILE, CAMPAIGN, ITERATIONS, SET)
	$(BIN)/python -m deployments.demo --profile '$(PROFILE)' --campaign '$(CAMPAIGN)' --iterations $(ITERATIONS) --port $(PORT) $(foreach s,$(SET),--set '$(s)')

test: $(STAMP) ## Run the tests (without the engines)
	$(BIN)/python -m pytest -q -m 'not engines'

test-engines: $(STAMP) ## Run the tests that load torch, transformers and TRL
	$(BIN)/python -m pytest -q -m engines --timeout 900

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

clean: ## Remove the virtual environment and all local state (artifacts stay)
	-$(BIN)/python -m deployments.stack down
	rm -rf $(VENV) .looptool
