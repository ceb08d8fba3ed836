# Two commands matter: `make run` and `make test`. Everything lives in .venv; nothing needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# pip's own resolver is not needed: the lock names every package with its hashes. Bytecode is compiled at install
# because importing Dagster, pandas and yfinance without it costs three times the CPU.
LOCK_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra build
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-deps --require-hashes --compile --progress-bar off

.DEFAULT_GOAL := help
.PHONY: help run test ui lint types unit integration bench lock clean

help:  ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

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

lock:  ## Compile the two lock files from pyproject.toml (needs uv)
	uv pip compile $(LOCK_FLAGS) --extra parquet --extra test pyproject.toml -o requirements-test.txt
	uv pip compile $(LOCK_FLAGS) -c requirements-test.txt pyproject.toml -o requirements.txt
