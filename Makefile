# make demo | test | bench | lint.  The plain commands behind them stand in the README.
# bench: what the foundation has to reach, about 20 minutes; bench-all: every benchmark, hours.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test quick bench bench-all lint screenshots clean

demo: $(STAMP)
	$(BIN)/workbench demo

test: $(VENV)/.test-installed
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest -m "slow or not slow" -n 2 --dist loadfile

quick: $(VENV)/.test-installed
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest

lint: $(VENV)/.lint-installed
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.test-installed
	$(BIN)/python -m tests.benchmarks

bench-all: $(VENV)/.test-installed
	$(BIN)/python -m tests.benchmarks all

screenshots: $(VENV)/.test-installed
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m workbench.screenshots screenshots

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test-installed: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

$(VENV)/.lint-installed: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[lint,test]"
	@touch $@

clean:
	rm -rf $(VENV) build dist
