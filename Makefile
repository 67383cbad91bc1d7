# Everything a newcomer needs: `make run` to see it work, `make test` and `make lint` to change it.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check -qq
# More or fewer test processes, or pytest's own arguments: make test WORKERS=4 ARGS="tests/membership -k block"
WORKERS ?= 2
ARGS ?=
# How many processes make faults kills.
KILLS ?= 2000

CODE := services shared deploy tests

.PHONY: help install run test faults mutations bench lint format contracts lock node prometheus clean
.DEFAULT_GOAL := help

help: ## this list
	@echo "Concord: make run to see it work; make test and make lint before a change is handed in."
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed ## set up .venv with the exact versions of requirements.lock

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Concord needs Python 3.11 or newer. '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
	  echo "Name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; } >&2
	@test -x $(BIN)/pip || { echo "Making .venv"; $(PYTHON) -m venv .venv; }
	@echo "Installing the locked packages into .venv (a minute or two the first time)"
	@$(PIP) install --requirement requirements.lock
	@$(PIP) install --no-deps --editable .
	@# Else every start compiles, where Python may not write. A package may hold a file for another Python: never mind.
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib $(CODE) || true
	@touch $@

run: install ## set up, then show the whole platform at work (concord demo)
	@$(BIN)/concord demo $(ARGS)

test: install ## run every test; those that need Node are skipped where it is missing
	@$(MAKE) --no-print-directory node || echo "The packages for Node could not be installed: the tests that need them are skipped." >&2
	@$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

faults: install ## kill services at every fault point, and disturb them in every other way (make faults KILLS=100 SEED=7)
	@$(BIN)/python -W "ignore:XDG_RUNTIME_DIR is not set" -m tests.faults.run --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutations: install ## break the inbox, the outbox, the order and the dead letters in a copy, and show that faults are found
	@$(BIN)/python -m tests.faults.mutations

bench: install ## measure it beside raw JetStream, a plain version and its peers (ARGS="--rounds 1 --only SQLite")
	@$(BIN)/python -W "ignore:XDG_RUNTIME_DIR is not set" -m tests.performance.bench $(ARGS)

lint: install ## style, types, import walls
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: install ## put the code into its standard form
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

contracts: install ## write docs/contracts anew from shared/contracts, if they only add; and the diagrams of the documentation
	@$(BIN)/concord contracts write
	@$(BIN)/concord contracts release
	@$(BIN)/python -m deploy.diagrams

lock: install ## write requirements.lock anew from pyproject.toml
	@$(PIP) install uv
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock
	@! grep -n '://' requirements.lock || { echo "requirements.lock names an address" >&2; exit 1; }

node: ## install the npm packages that some tests need, where Node is there
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory build/node/.installed; \
	else echo "Node and npm are not on this machine: the tests that need them are skipped." >&2; fi

build/node/.installed: tests/deploy/node/package.json tests/deploy/node/package-lock.json
	@echo "Installing the npm packages of the tests into build/node"
	@mkdir -p build/node
	@cp tests/deploy/node/package.json tests/deploy/node/package-lock.json tests/deploy/node/.npmrc build/node/
	@cd build/node && npm ci --silent
	@touch $@

# The Debian package holds it; unpacked, not installed, so that no service starts.
prometheus: ## fetch Prometheus into build/, which tries the alert rules, where Debian's packages can be had
	@command -v prometheus >/dev/null || test -x build/prometheus || { mkdir -p build/debian && cd build/debian \
	  && echo "Fetching Prometheus into build" && apt-get -qq download prometheus && dpkg -x prometheus_*.deb . \
	  && mv usr/bin/prometheus usr/bin/promtool .. ; } 2>/dev/null \
	  || echo "Prometheus is not here and could not be fetched: unless its image is, the alert rules are not tried." >&2

clean: ## remove what was built and cached; leaves .venv and the data of local stacks
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
