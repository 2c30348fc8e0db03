# `make` alone prints this help. Everything is installed into .venv; nothing outside the checkout is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Most tests wait for sockets, not for a core, so four at a time suit two cores; each has a broker of its own.
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help run test test-all long chaos bench-short bench-baseline lint format types check lock upgrade audit clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fast,test,lint]'
	@touch $@

run: $(STAMP) ## install, then start pod, worker and broker in one process
	@exec $(BIN)/chatmesh dev

test: $(STAMP) ## install, then run every test that is not marked chaos or slow
	@$(PYTEST) -m 'not chaos and not slow'

test-all: $(STAMP) ## every test, the slow ones and the chaos ones too
	@$(PYTEST)

long: $(STAMP) ## the tests that `make test` leaves out: faults and whatever takes long
	@$(PYTEST) -m 'chaos or slow'

chaos: $(STAMP) ## the fault tests: kills, stops and restarts of real processes
	@$(PYTEST) -m chaos

# A round of two scenarios beside the floor; the change is told, and only loss fails.
BENCH := $(BIN)/chatmesh bench burst paced --quick --rounds 1
BASELINE := .ci/bench-baseline.json

bench-short: $(STAMP) ## half a minute of `chatmesh bench`, beside the ratios that the repository keeps
	@$(BENCH) --baseline $(BASELINE)

bench-baseline: $(STAMP) ## these ratios anew, on a machine that does nothing else: commit them with what changed them
	@$(BENCH) --rounds 3 --quiet 60 --save $(BASELINE)

lint: $(STAMP) ## ruff: lint and format, without changing anything
	@$(BIN)/ruff check chatmesh chatmesh_server tests
	@$(BIN)/ruff format --check chatmesh chatmesh_server tests

format: $(STAMP) ## ruff: format, and mend what can be mended
	@$(BIN)/ruff format chatmesh chatmesh_server tests
	@$(BIN)/ruff check --fix chatmesh chatmesh_server tests

types: $(STAMP) ## mypy, strict
	@$(BIN)/mypy

check: lint types test ## lint, types and tests

LOCK := .ci/requirements.lock
COMPILE = $(BIN)/uv pip compile --quiet --config-file .ci/uv.toml --custom-compile-command 'make lock' \
	--universal --python-version 3.11 --generate-hashes --all-extras pyproject.toml .ci/requirements.in -o $(LOCK)

lock: $(STAMP) ## .ci/requirements.lock again, after a change of dependencies; versions that still fit stay
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@$(COMPILE)

upgrade: $(STAMP) ## the same with the newest versions
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@$(COMPILE) --upgrade

audit: $(STAMP) ## known vulnerabilities of what the lock names; asks PyPI for them, and fails where it does not answer
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes -r $(LOCK) || \
		{ echo "make audit: there are advisories, or PyPI's JSON API did not tell: see above. It can't be done offline." >&2; exit 1; }

clean: ## remove the environment, caches and development data
	rm -rf $(VENV) .chatmesh .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
