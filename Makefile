# The newest Python that fits, as the package's requires-python says. A name on PATH is not enough: it may be a version manager's
# shim for a version that is not selected, or a system's Python without the modules that make virtual environments.
PYTHONS := python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(firstword $(foreach name,$(PYTHONS),$(shell $(name) -c 'import ensurepip, venv' >/dev/null 2>&1 && command -v $(name))))
BIN := .venv/bin
# The processes of a stack start in half the time when Python may keep the bytecode of their modules.
unexport PYTHONDONTWRITEBYTECODE
STAMP := .venv/.ready
UNFINISHED := .venv/.unfinished
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

.PHONY: setup demo analytics-js test coverage clients check wheel sbom laws fuzz bench chaos lock clean

setup: $(STAMP)

$(STAMP): requirements/onefold.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Onefold needs a Python 3.11 to 3.14 that makes virtual environments (on Debian: apt install python3 python3-venv), and none runs from PATH: install one, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c '$(FITS)' || { echo "$(PYTHON) is no Python 3.11 to 3.14 that makes virtual environments: say make PYTHON=/path/to/another" >&2; exit 1; }
	@# What a set-up that failed half way has left would pass for whole, and so would an environment whose Python is gone.
	@if test -d .venv && { test -e $(UNFINISHED) || ! $(BIN)/python -c 'import pip; $(FITS)' >/dev/null 2>&1; }; then \
	  echo "The environment in .venv is not usable: it is made anew" >&2; rm -rf .venv; fi
	@mkdir -p .venv && touch $(UNFINISHED)
	@echo "making the virtual environment .venv with $(PYTHON)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the locked packages into .venv: several hundred megabytes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/onefold.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm $(UNFINISHED)
	@touch $(STAMP)
	@echo "Onefold is set up: $(BIN)/onefold up starts it"

demo: setup  ## the main job, live, for a minute
	$(BIN)/onefold demo

analytics-js: setup  ## fetch analytics.js (needs npm), so that the classic snippet loads from the collector
	$(BIN)/onefold analytics-js

test: setup  ## every test and check that CI runs
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	@# Three workers for two cores: two of them run whole stacks and workers that are killed, and mostly wait for their processes.
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

coverage: setup  ## which lines the quick tests run; not part of `test`, because measuring makes them take more than twice as long
	$(BIN)/pytest --cov --cov-report=term:skip-covered -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/property --ignore tests/e2e

clients: setup  ## the real clients: Python, Node (needs npm) and Chromium at a running collector, Go (needs go) at the embedded ClickHouse
	$(BIN)/python -m tests.clients.install
	ONEFOLD_CLIENTS=required $(BIN)/pytest tests/integration/collector tests/integration/embedded/clickhouse/test_go_client.py -k "test_clients or go_client"

check: setup  ## the quick ones: no service is started
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not stack and not e2e and not kafka and not redis and not clickhouse"

wheel: setup  ## build the package and run the command from it in an empty environment (needs a package index)
	rm -rf dist && mkdir -p dist
	$(BIN)/python -m hatchling build -t wheel -d dist
	$(BIN)/python -m venv dist/empty
	dist/empty/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd dist && for name in $$(empty/bin/onefold --help | sed -n '/^Commands:/,$$ s/^  \([a-z-]\{1,\}\)  .*/\1/p'); do \
	  test $$name = demo || empty/bin/onefold $$name --help >/dev/null || exit 1; done

sbom:  ## list the packages of production with their hashes as CycloneDX, in dist/onefold.cdx.json (needs a package index)
	rm -rf dist/sbom && mkdir -p dist && $(PYTHON) -m venv dist/sbom
	dist/sbom/bin/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0
	dist/sbom/bin/cyclonedx-py requirements --pyproject pyproject.toml --of JSON -o dist/onefold.cdx.json requirements/production.lock
	@echo "dist/onefold.cdx.json is the list of materials"

laws: setup  ## the laws over many more random histories; ROUNDS=10 is 100,000
	ONEFOLD_TEST_ROUNDS=thorough ONEFOLD_LAWS_ROUNDS=$(or $(ROUNDS),10) \
	  $(BIN)/pytest tests/property tests/unit/domain tests/contract/test_profile_store_fencing.py -n auto --timeout 3600

fuzz: setup  ## 300,000 inputs of every shape, and how the time of reading text grows; INPUTS=1000000, SEED=7
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),300000) --seed $(or $(SEED),0)

bench: setup  ## throughput and latency against a floor; writes docs/performance.md
	$(BIN)/python -m tests.bench

chaos: setup  ## longer fault rounds on the real broker, larger inputs, and disks that fill (root, for small file systems)
	ONEFOLD_TEST_ROUNDS=thorough ONEFOLD_CHAOS_ROUNDS=5 $(BIN)/pytest tests/integration/streams tests/integration/ops/imports tests/chaos --timeout 900

# What develops and tests Onefold, what its processes need in production, and what builds the package: the versions are the same in all.
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

lock:  ## resolve pyproject.toml's ranges for every supported Python (needs uv); UPGRADE=--upgrade takes newer versions
	$(COMPILE) --extra embedded --extra demo --group dev --override requirements/overrides.txt pyproject.toml -o requirements/onefold.lock $(UPGRADE)
	$(COMPILE) --constraint requirements/onefold.lock pyproject.toml -o requirements/production.lock
	$(COMPILE) --constraint requirements/onefold.lock --group build -o requirements/build.lock

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
