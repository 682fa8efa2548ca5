# Each target, alone, on a machine with Python 3.11 and nothing else, sets up all that it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_FOR_ALL := $(VENV)/.installed_for_all
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: help demo docs test lint format clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(INSTALLED_FOR_ALL): $(INSTALLED)
	$(INSTALL) '.[dev]'
	touch $@

demo: $(INSTALLED)  ## segment scenes that training never saw, print PQ and time, leave a picture in demo/
	$(BIN)/axial-deeplab demo --output demo

docs: $(INSTALLED_FOR_ALL)  ## build the site of the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: lint  ## linter, type checker and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'slow or not slow' --numprocesses 2 --dist worksteal --durations 15

lint: $(INSTALLED_FOR_ALL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED_FOR_ALL)  ## format and fix what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and what the targets wrote
	rm -rf $(VENV) demo site build dist .pytest_cache .mypy_cache .ruff_cache
