# `make demo` and `make test` need make and Python 3.11 or newer; they set up everything else in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

# Raw measurements and whole traces are not part of the repository; benches that need them say so where they are absent.
DATA ?= ../shared/data
ROWS ?= $(DATA)/speed/measured_calibration.csv
PEER := build/bench/aiconfigurator

.PHONY: demo test test-slow lint requirements clean help docs bench-plan bench-melange bench-speed bench-traffic

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
	cd requirements && ../$(BIN)/pip-compile $(COMPILE) --all-extras --output-file runtime.txt ../pyproject.toml
	cd requirements && ../$(BIN)/pip-compile $(COMPILE) --output-file dev.txt dev.in

COMPILE := --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

docs: $(READY)   ## run every command that the documents show and put its true output below it
	$(BIN)/python tools/refresh_docs.py

bench-plan: $(READY)  ## how long a plan takes, and how near the proof comes
	$(BIN)/python tools/bench_plan.py $(DATA)/traces --only two
	$(BIN)/python tools/bench_plan.py $(DATA)/traces --only two --hosted forbidden
	$(BIN)/python tools/bench_plan.py $(DATA)/traces --only impossible
	$(BIN)/python tools/bench_plan.py $(DATA)/traces --only ten

bench-melange: $(READY)  ## the published case of Melange: which GPU wins at which size and promise, and what mixing saves
	$(BIN)/python tools/bench_melange.py

bench-speed: $(READY) $(PEER)/.ready  ## speed predictions of rows not fitted, beside a peer's on the same rows
	$(BIN)/python tools/predict_held_out.py $(ROWS) -o build/bench/ours.csv --without model
	$(PEER)/bin/python tools/bench_aiconfigurator.py $(ROWS) -o build/bench/peer.csv
	$(BIN)/python tools/compare_speed.py build/bench/ours.csv build/bench/peer.csv

$(PEER)/.ready: requirements/aiconfigurator.txt
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench-traffic: $(READY)  ## reading 50 million requests: rows per second and peak memory
	@mkdir -p build/bench
	$(BIN)/python tools/bench_traffic.py build/bench

clean:           ## remove what was set up and built
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
