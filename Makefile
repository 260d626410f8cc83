# `make demo` and `make test` each set up all they need; `make help` lists the rest.
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python
PYTHON ?= python3
ARGS ?=
STAMPS := .stamps
WORKERS ?= 2
# Tests start hundreds of processes; compiled modules are kept, so that each does not compile its own.
PYTEST := PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n $(WORKERS) --dist loadgroup

.PHONY: help demo test check fast-test bench lock fmt clean screenshots

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(STAMPS)/python-ok:
	@mkdir -p $(STAMPS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Commonwatt needs Python 3.11 or newer; $(PYTHON) is older. Install one and run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@touch $@

$(STAMPS)/demo: requirements.txt pyproject.toml | $(STAMPS)/python-ok
	@tools/setup_venv.sh "$(PYTHON)" "$(VENV)" requirements.txt
	@touch $@

$(STAMPS)/dev: requirements-dev.txt requirements-open-data.txt pyproject.toml | $(STAMPS)/python-ok
	@tools/setup_venv.sh "$(PYTHON)" "$(VENV)" requirements-dev.txt requirements-open-data.txt
	@touch $@ $(STAMPS)/demo

demo: $(STAMPS)/demo ## a simulated street, from meter to dividend; ARGS="--once --json" for one headless run
	@$(VENV)/bin/coop-cloud demo $(ARGS)

system-packages:
	@tools/system_packages.sh

test: $(STAMPS)/dev system-packages ## everything: style, types, imports and all tests
	@$(MAKE) --no-print-directory style
	@COMMONWATT_OPEN_DATA=required $(PYTEST) $(ARGS)

.PHONY: style system-packages
style:
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/deptry . 2>&1 | tail -n 1

check: $(STAMPS)/dev ## style, types, imports and the fast tests
	@$(MAKE) --no-print-directory style
	@$(PYTEST) -q -m "not slow and not browser" $(ARGS)

bench: $(STAMPS)/dev system-packages ## print measured ratios, side by side in one run
	@$(PY) -m tests.benchmarks $(ARGS)

screenshots: $(STAMPS)/dev ## the README's pictures, made from the running demo
	@$(PY) tools/screenshots.py

lock: ## write the requirements files anew, with hashes and no index address
	@tools/lock.sh

fmt: $(STAMPS)/dev ## format and fix what can be fixed
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

clean: ## remove the virtual environment and caches
	@rm -rf $(VENV) $(STAMPS) .mypy_cache .ruff_cache .pytest_cache .hypothesis
