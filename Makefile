# Two commands matter: `make run` and `make test`. Everything lives in .venv; nothing needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Dagster keeps its runs here; an absolute path, as Dagster asks.
export DAGSTER_HOME ?= $(CURDIR)/.dagster
# pip's own resolver is not needed: the lock names every package with its hashes. Bytecode is compiled at install
# because importing Dagster, pandas and yfinance without it costs three times the CPU.
LOCK_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra build
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-deps --require-hashes --compile --progress-bar off

.DEFAULT_GOAL := help
.PHONY: help run test ui lint types unit integration torture bench lock clean image test-cluster

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/run: requirements.txt pyproject.toml $(BIN)/python
	@mkdir -p $(STAMPS)
	@echo "Installing the locked environment into $(VENV) ..."
	@$(PIP_INSTALL) -r requirements.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q market_assets
	@touch $@

$(STAMPS)/test: requirements-test.txt $(STAMPS)/run
	@echo "Installing the locked test environment into $(VENV) ..."
	@$(PIP_INSTALL) -r requirements-test.txt
	@touch $@

run: $(STAMPS)/run  ## Set up, then collect once and show the features (the first command)
	@$(BIN)/market-assets quickstart

test: $(STAMPS)/test lint types unit  ## Set up, then lint, type-check and run the unit tests (the second command)

ui: $(STAMPS)/run  ## Start Dagster's UI with the schedules on http://127.0.0.1:3000
	@$(BIN)/python -c "from market_assets.run import ensure_dagster_home; ensure_dagster_home()"
	@$(BIN)/market-assets migrate --quiet
	@$(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1 --port 3000

lint: $(STAMPS)/test  ## Style, formatting and the rules of who may import whom
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || (cat .lint-imports.log; exit 1)

types: $(STAMPS)/test  ## Type checker
	@$(BIN)/mypy --no-error-summary

unit: $(STAMPS)/test  ## Unit tests: no server but the project's own simulator
	@$(BIN)/pytest -q -n 2 -m "not integration"

integration: $(STAMPS)/test  ## Databases, Dagster runs, subprocesses (MariaDB where it is installed)
	@$(BIN)/pytest -q -n 2 -m integration

torture: $(STAMPS)/test  ## Kill 50 collections a database and let others cross, with a record (minutes)
	@$(BIN)/python -m market_assets_tests.torture

# A kit that starts a real cluster, and the official Dagster chart, unpacked.
test-cluster: export MARKET_ASSETS_K8S_KIT ?= $(CURDIR)/../shared/k8s
test-cluster: $(STAMPS)/test  ## Image, scripts and chart on a real cluster, and faults (root; half an hour; docs/deployment.md)
	@$(BIN)/python -m market_assets_tests.cluster

bench: $(STAMPS)/test  ## Cost of a tick, a training set and the API, each beside a plain reference
	@$(BIN)/python -m benchmarks.tick
	@$(BIN)/python -m benchmarks.training_set
	@$(BIN)/python -m benchmarks.api

IMAGE ?= registry.example.com/ml-market-collector:0.1.0
image:  ## Build the image (CONTAINER=podman for another builder)
	$(or $(CONTAINER),docker) build --build-arg REVISION=$$(git rev-parse --short HEAD) --tag $(IMAGE) .

clean:  ## Remove the environment and every cache, never a database
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

lock:  ## Compile the three lock files from pyproject.toml (needs uv)
	uv pip compile $(LOCK_FLAGS) --extra api --extra deploy --extra parquet --extra plots --extra test pyproject.toml -o requirements-test.txt
	uv pip compile $(LOCK_FLAGS) -c requirements-test.txt --extra api pyproject.toml -o requirements.txt
	uv pip compile $(LOCK_FLAGS) -c requirements-test.txt --extra api --extra deploy pyproject.toml -o requirements-deploy.txt
