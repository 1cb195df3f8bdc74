PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
TAG := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --no-warn-conflicts \
  --constraint constraints.txt
# With LOCKED=1: the releases of requirements.lock and no others, each with its hash.
LOCK := $(if $(LOCKED),requirements.lock)

# Each step leaves a stamp, so that a second run installs nothing.
ENVIRONMENT := $(VENV)/.python-$(TAG)
INSTALLED   := $(VENV)/.installed
CHECKERS    := $(VENV)/.checkers

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format docs lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## install the suite into .venv

demo: $(INSTALLED) ## install, distil students on MovieLens, print the leaderboard
	$(BIN)/bench run --suite demo

test: $(CHECKERS) ## install, run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

lint: $(CHECKERS) ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(CHECKERS) ## mend style where that is mechanical
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(CHECKERS) ## write the pages that are generated
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/pictures.py

# What torch brings depends on the machine, so it and its CUDA packages are in no lock.
UNLOCKED := torch triton $(addprefix cuda-,bindings pathfinder toolkit) $(addprefix nvidia-,cublas \
  cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
  cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

lock: ## write requirements.lock anew: today's newest releases (needs uv)
	printf 'hatchling\neditables\nsetuptools\n' | uv pip compile --quiet pyproject.toml - \
	  --extra text --extra test --extra dev --group recbole --constraint constraints.txt \
	  --universal --python-version 3.10 --generate-hashes --no-annotate --upgrade \
	  --custom-compile-command 'make lock' $(addprefix --no-emit-package ,$(UNLOCKED)) \
	  --output-file requirements.lock

clean: ## remove the environment and all caches (keeps datasets, tocf and results)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find bench methods tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp of another Python is no match: the environment is made anew.
$(ENVIRONMENT):
	@case "$(TAG)" in 3.1[0-3]) ;; *) \
	  echo "$(PYTHON) is Python '$(TAG)', but 3.10 to 3.13 is needed: make PYTHON=python3.11 ..." >&2; \
	  exit 2;; esac
	@echo "1/4 environment $(VENV), Python $(TAG)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# torch first, so that the build found on the configured index (CPU or CUDA) is the one kept.
# RecBole alone, because its requirements exclude current Pythons (see pyproject.toml): hence no
# warnings of conflicts, which would all be about them.
$(INSTALLED): $(ENVIRONMENT) pyproject.toml constraints.txt $(LOCK)
ifdef LOCKED
	@echo "2/4 all but torch, with hashes"
	@$(PIP) --no-deps --require-hashes --requirement $(LOCK)
	@echo "3/4 torch (the largest download)"
	@$(PIP) torch
	@echo "4/4 the suite"
	@$(PIP) --no-deps --no-build-isolation --editable .
else
	@echo "2/4 torch (the largest download)"
	@$(PIP) torch
	@echo "3/4 RecBole, without Ray"
	@$(PIP) --no-deps recbole
	@echo "4/4 the suite and what it needs"
	@$(PIP) --editable '.[text]'
endif
	@touch $@

$(CHECKERS): $(INSTALLED)
ifndef LOCKED
	@echo "tools of the tests and checks"
	@$(PIP) --editable '.[text,test,dev]'
endif
	@touch $@
