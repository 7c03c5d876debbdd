# `make demo` and `make test` need make and Python 3.11 or newer; they set up everything else in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: demo test test-slow lint requirements clean help

help:            ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 18

$(READY): requirements/runtime.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)   ## plan examples/two-models.yaml on real traffic and real prices; writes build/demo/
	@mkdir -p build/demo
	$(BIN)/polyfleet plan examples/two-models.yaml -o build/demo/plan.json --html build/demo/plan.html

test: $(READY)   ## the tests
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" tests

test-slow: $(READY)  ## the longer proofs, too
	$(BIN)/python -m pytest -m slow tests

lint: $(READY)   ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

requirements: $(READY)  ## compile the pinned requirements anew
	cd requirements && ../$(BIN)/pip-compile $(COMPILE) --output-file runtime.txt ../pyproject.toml
	cd requirements && ../$(BIN)/pip-compile $(COMPILE) --output-file dev.txt dev.in

COMPILE := --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

clean:           ## remove what was set up and built
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
