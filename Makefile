# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv where it is missing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SOURCES := app analysis benchmarks configs data model tests train

.PHONY: demo test setup lint types pytest clean

demo: setup
	$(BIN)/conflict-framing demo --output runs/demo

test: setup lint types pytest

setup: $(VENV)/.installed

# Installs again only when what is to be installed has changed.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,web,dev]'
	touch $@

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

# mypy reads the package under its installed name, so a copy is laid out the way a wheel would be.
types: setup
	rm -rf .types
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target .types .
	$(BIN)/mypy -p conflict_framing

pytest: setup
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) .types build dist runs *.egg-info
