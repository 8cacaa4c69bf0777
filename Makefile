# Everything happens in .venv, in this folder. Which torch: PIP_CONSTRAINT (pip reads it by itself), or
#   make test TORCH=torch==2.13.0
#   make test TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?=
PYTEST_ARGS ?=

# The first Python that is new enough; `make test PYTHON=/path/to/python` overrules.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Small matrices on many threads are slow; set before Python starts, since plugins of pytest load BLAS first.
test test-fast test-scatter test-newest: export OMP_NUM_THREADS ?= 1

# A stamp is written last, so an interrupted set-up is taken up again. It holds what the set-up was made
# for: another torch or folder, a newer pyproject.toml or constraint file, and pip runs once more.
MADE_FOR := $(strip $(CURDIR) $(TORCH) $(PIP_CONSTRAINT))
stale = $(shell test "`cat .venv/$(1) 2>/dev/null`" = "$(MADE_FOR)" || echo FORCE)
sources = $(BIN)/pip-works pyproject.toml $(wildcard $(PIP_CONSTRAINT)) $(call stale,$(1))
install = $(if $(TORCH),$(PIP) install $(TORCH) &&) $(PIP) install -e '.$(1)' && echo "$(MADE_FOR)" > $@

require_python = @test -n "$(PYTHON)" || { \
	echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
# Debian's Python can lack ensurepip: then the pip of the machine fills the new environment.
new_environment = $(PYTHON) -m venv --clear $(1) || { $(PYTHON) -m venv --clear --without-pip $(1) && \
	$(PYTHON) -m pip --python $(1)/bin/python install pip; }

.DEFAULT_GOAL := help
.NOTPARALLEL:  # pip twice at once in one environment is a race
.PHONY: help quickstart test test-fast test-gpu test-newest check format docs scatter test-scatter clean FORCE

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-16s%s\n", $$1, $$2}' Makefile

quickstart: .venv/installed  ## the whole workflow in minutes: data, fit, test, quench, report
	$(BIN)/lattgnn quickstart

test: .venv/installed-test  ## all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8 $(PYTEST_ARGS)

test-fast: .venv/installed-test  ## all tests but the slow ones, about 3 minutes on 2 cores
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 8 $(PYTEST_ARGS)

test-gpu: .venv/installed-test  ## on a machine with a GPU: its tests and docs/benchmarks/gpu.md (6 minutes)
	$(BIN)/python -m pytest -m gpu tests/test_gpu.py $(PYTEST_ARGS)
	$(BIN)/python scripts/benchmark_gpu.py

# Users get the newest release of everything: this shows in time what one of them breaks. `make test` and CI
# use the versions of PIP_CONSTRAINT; this target ignores them and leaves .venv alone.
test-newest:  ## the fast tests with the newest release of everything, in .venv-newest (minutes, several GB)
	$(call require_python)
	$(call new_environment,.venv-newest)
	unset PIP_CONSTRAINT; .venv-newest/bin/python -m pip install -e '.[test]'
	.venv-newest/bin/python -m pytest -m "not slow" -n auto --maxprocesses 8 $(PYTEST_ARGS)

check: .venv/installed-dev  ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pyright
	$(BIN)/lint-imports

format: .venv/installed-dev  ## fix the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed-docs  ## the documentation site, in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

scatter: .venv/installed-scatter  ## compile torch-scatter against the torch in .venv (5 to 10 minutes)

test-scatter: .venv/installed-test .venv/installed-scatter  ## the aggregation tests with torch-scatter
	$(BIN)/python -m pytest -m aggregation $(PYTEST_ARGS)

clean:  ## remove the environments and caches, never data or runs
	rm -rf .venv .venv-newest build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

FORCE:

$(BIN)/pip-works:
	$(call require_python)
	$(PIP) --version 2>/dev/null || { $(call new_environment,.venv); }
	@touch $@

.venv/installed: $(call sources,installed)
	$(call install)

.venv/installed-test: $(call sources,installed-test)
	$(call install,[test])

.venv/installed-dev: $(call sources,installed-dev)
	$(call install,[dev])

.venv/installed-docs: $(call sources,installed-docs)
	$(call install,[docs])

# torch-scatter comes as source and is compiled against the torch that it finds, hence no build isolation, and
# no cache: a wheel that pip kept may belong to another torch.
.venv/installed-scatter: $(BIN)/pip-works $(call stale,installed-scatter) | .venv/installed
	$(PIP) install setuptools wheel
	printf '[build_ext]\nparallel = 3\n' > .venv/build.cfg
	DIST_EXTRA_CONFIG=$(CURDIR)/.venv/build.cfg $(PIP) install --no-build-isolation --no-cache-dir \
		--force-reinstall --no-deps 'torch-scatter>=2.1.2'
	@echo "$(MADE_FOR)" > $@
