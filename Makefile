# Two commands on a bare Python 3.11: `make run` does the main job, `make test` passes the tests.
# Each makes what it needs in .venv first; nothing is done twice.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test slow lint clean help

help:
	@echo "make run    the main job: every arm on the micro-world, and runs/quickstart/report.html"
	@echo "make test   the tests, under 8 minutes"
	@echo "make slow   the long tests too"
	@echo "make lint   ruff and mypy"

run: $(VENV)/.run
	@$(BIN)/primum run $(ARGS)

test: $(VENV)/.test lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

slow: $(VENV)/.test
	@$(BIN)/python -m pytest -m "not gpu and not net" $(ARGS)

lint: $(VENV)/.test
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "primum needs Python 3.11 or newer: install it, or name it with PYTHON=/path/to/python" >&2; exit 3; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "primum needs Python 3.11 or newer, $(PYTHON) is older: name another with PYTHON=…" >&2; exit 3; }
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV) (once, a minute or two) …"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
