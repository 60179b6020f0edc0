# mimplug: `make quickstart` trains on real images in a few minutes,
# `make test` and `make test-full` check the package. `make help` lists all.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
QUICKSTART := configs/quickstart/attmask_vit-quickstart-p8_fashion-mnist.py

# The first interpreter of a supported version; override: make PYTHON=...
ifndef PYTHON
PYTHON := $(firstword $(foreach name,python3.11 python3.12 python3 python,\
	$(shell $(name) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 12) and print(sys.executable)' 2>/dev/null)))
endif

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PINS := -c requirements/constraints.txt
STAMP := $(VENV)/.mimplug-installed
RECIPE := Makefile pyproject.toml requirements.txt \
	$(wildcard requirements/*.txt) tools/misc/ensure_cv2.py

# One process a core, one thread a process.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
JOBS ?= 2
# What the full tests read beyond the repository.
ASSETS := fashion-mnist tuxpaint-stamps mvtb-data skimage-photos \
	efficientnet-lite0 foolbox
PYTEST := $(TEST_ENV) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

.PHONY: help venv quickstart test test-full lint types assets slurm \
	downstream format clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

venv: $(STAMP) ## Create .venv and install the package into it, once.

# torch comes first and alone, so that nothing else picks another build. MMCV
# bypasses pip's cache: it may hold one compiled against another torch.
$(STAMP): $(RECIPE)
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or 3.12 found; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; exit 1; }
	@test -x $(BIN)/python || { echo 'Creating $(VENV) with $(PYTHON)'; "$(PYTHON)" -m venv $(VENV); }
	@echo 'Installing torch (about 3 GB of downloads the first time)'
	@$(PIP) install $(PINS) torch torchvision
	@echo 'Installing mimplug and its dependencies'
	@$(PIP) install $(PINS) --no-cache-dir onedl-mmcv
	@$(PIP) install $(PINS) -e '.[dev]'
	@$(BIN)/python tools/misc/ensure_cv2.py
	@touch $@

# One thread: the network is too small for two, which on a busy machine spend
# their time waiting for each other. The loader has a process of its own.
quickstart: venv ## Pre-train AttMask-iBOT on 2,000 embedded images.
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python tools/train.py $(QUICKSTART)

test: lint types ## Lint, types and the fast tests.
	$(PYTEST) -m 'not full and not asset'

test-full: venv assets slurm ## The tests that `make test` leaves out.
	$(PYTEST) -m 'full or asset'

lint: venv ## Check the style with ruff.
	@$(BIN)/ruff check .

types: venv ## Check the types with mypy.
	@$(BIN)/mypy

assets: venv ## Fetch the files that the full tests use.
	@$(BIN)/python tools/fetch_assets.py $(ASSETS)

slurm: ## Install a SLURM for the full tests where root lacks one.
	@if [ "$$(id -u)" = 0 ] && ! command -v slurmctld >/dev/null; then \
		{ apt-get -qq update && apt-get -qq install -y \
			--no-install-recommends slurm-wlm munge; } >/dev/null 2>&1 || \
		echo 'SLURM could not be installed; its test will be skipped'; \
	fi

downstream: venv ## Add what detection and segmentation need.
	@$(PIP) install $(PINS) -r requirements/downstream.txt
	@$(BIN)/python tools/misc/ensure_cv2.py

format: venv ## Let ruff repair what it can.
	@$(BIN)/ruff check --fix .

clean: ## Remove caches and build products, keep .venv and work_dirs.
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
