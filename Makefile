# Everything a person or CI runs. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-fast lint format bench emergence clean

help:            ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## a virtual environment in .venv with bindspace in it, editable

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"expected Python 3.11 or newer, got {v[0]}.{v[1]}: run make setup PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing bindspace and its dependencies into .venv (a few GB, once)"
	@UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all,dev]'
	@touch $(READY)

quickstart: $(READY)  ## writes the simulated world, trains on image pairs only, measures what emerged
	@$(BIN)/bindspace train experiment=quickstart

test: $(READY)   ## all tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-fast: $(READY)   ## without those that build wheels, kill runs or start several ranks
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m 'not process'

lint: $(READY)   ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)  ## ruff, in place
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)  ## performance, side by side in one run, into benchmarks/RESULTS.md
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/run_all.py

emergence: $(READY)  ## the experiments of docs/emergence.md, from where they were; hours
	@$(BIN)/python benchmarks/emergence
	@$(BIN)/python benchmarks/emergence --explore --seeds 0

clean:           ## removes .venv, caches and outputs
	rm -rf .venv build dist outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis
