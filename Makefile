# From a fresh clone to every figure: `make`. The other targets: `make help`.
.DEFAULT_GOAL := repro
.PHONY: repro train-all setup test unit notebooks lint format strip lab clean distclean help FORCE

# --- What may be set on the command line -----------------------------------------------------
# PROFILE      smoke, toy, camvid, ...: written to params.yaml before the run; empty leaves it alone.
# STAGES       names of dvc.yaml, to run only those and what they need; empty runs everything.
# WORKERS      tasks of train-all at a time, DOMAINS its domains, MINUTES its time; empty: cores, all, no limit.
# TORCH_BUILD  cpu or cuda; auto takes cuda where nvidia-smi finds a GPU.
# PYTHON       interpreter the environment is made from, 3.11 or newer.
PROFILE ?=
STAGES ?=
TORCH_BUILD ?= auto
# The base interpreter is asked for, since an activated .venv cannot rebuild itself.
PROBE := import sys; print(getattr(sys, "_base_executable", sys.executable) if sys.version_info >= (3, 11) else "")
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,\
            $(shell command -v $(p) >/dev/null 2>&1 && $(p) -c '$(PROBE)' 2>/dev/null)))

# --- Environment of every recipe -------------------------------------------------------------
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# DVC stages and their kernels find this environment first; nobody has to activate it.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export JUPYTER_PREFER_ENV_PATH := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_USER := 0
# Where it is set, torch and transformers are compiled anew in every process of every stage: ten seconds each.
export PYTHONDONTWRITEBYTECODE :=

# --- Run --------------------------------------------------------------------------------------
repro: setup ## run the pipeline (PROFILE=smoke, STAGES="fig3_process fig8_kmeans")
	@# Without a profile: only the resolved files of params/ that DVC tracks are brought up to date.
	@$(PY) -m gcdp.experiments.selection $(PROFILE)
	@# A copy without git history, from an archive say, is run all the same.
	@[ -e .git ] || $(PY) -m dvc config --local core.no_scm true
	$(if $(STAGES),$(PY) -m dvc repro $(STAGES),$(PY) tools/repro.py)

# In a clone beside the working copy it may go on for days: stop it and start it as you like.
train-all: setup ## train and score what PROFILE lacks, resumable, on all cores or one GPU (WORKERS, DOMAINS, MINUTES)
	$(PY) -m gcdp.experiments.train_all --profile $(or $(PROFILE),toy-scratch) $(addprefix --workers ,$(WORKERS)) \
	    $(if $(DOMAINS),--domains $(DOMAINS)) $(addprefix --deadline-minutes ,$(MINUTES))

lab: setup ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks

# --- Environment ------------------------------------------------------------------------------
setup: $(STAMP) ## make .venv with the versions of requirements.lock

# A copied .venv still points to the folder it was made in: then it is made anew.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif

CPU_INDEX := https://download.pytorch.org/whl/cpu
# Modules are compiled as they are imported: most of the files installed never are.
PIP := $(PY) -m pip install -qq --progress-bar off --no-compile

# torch first. Its default build brings gigabytes of CUDA libraries, wasted without a GPU, so the
# index of CPU builds is asked there, if it answers within seconds. If it does not, or fails on
# the way (a firewall, a mirror), pip's own sources decide: either build runs on a CPU.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found: install one, or name it with make PYTHON=/path/to/python3." >&2; exit 1; }
	@if [ "$$(cat $(VENV)/.folder 2>/dev/null)" != "$(CURDIR)" ]; then \
	    echo "Making $(VENV) with $(PYTHON)"; \
	    "$(PYTHON)" -m venv --clear $(VENV) && echo "$(CURDIR)" > $(VENV)/.folder; \
	fi
	@build="$(TORCH_BUILD)"; extra=; \
	if [ "$$build" = auto ]; then \
	    if nvidia-smi -L >/dev/null 2>&1; then build=cuda; else build=cpu; fi; \
	fi; \
	if [ "$$build" = cpu ] && timeout 10 $(PY) -c \
	    'import urllib.request as u; u.urlopen("$(CPU_INDEX)/torch/", timeout=5)' 2>/dev/null; then \
	    extra="--extra-index-url $(CPU_INDEX)"; \
	fi; \
	echo "Installing torch for $$build"; \
	{ [ -n "$$extra" ] && $(PIP) $$extra -c requirements.lock torch; } || $(PIP) -c requirements.lock torch
	@echo "Installing the other packages of requirements.lock"
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@echo "$(CURDIR)" > $@

# --- Checks -----------------------------------------------------------------------------------
PYTEST := HF_HUB_OFFLINE=1 $(PY) -m pytest
# Two processes: one runs the pipeline of the smoke profile, the other tests everything else.
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder

test: setup ## everything: unit tests, and beside them the smoke pipeline with the checked cells of every notebook
	$(PYTEST) tests $(BESIDE)

unit: setup ## unit tests alone
	$(PYTEST) tests -n 2 --ignore=tests/pipeline

notebooks: setup ## the smoke pipeline in a copy of the checkout, then every notebook by nbval
	$(PYTEST) tests/pipeline

lint: setup ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup ## apply ruff's format and safe fixes
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

strip: setup ## empty the source notebooks, save for checked outputs
	$(PY) tools/strip_notebooks.py notebooks/*.ipynb

# --- Cleaning ---------------------------------------------------------------------------------
# Only what a program made in minutes: real datasets, long training runs and released weights stay.
clean: ## remove the smoke and toy runs, and caches
	rm -rf data/smoke data/toy results/smoke results/toy .pytest_cache .ruff_cache .hypothesis .dvc/tmp
	find src tests tools notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV) src/gcdp.egg-info

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | while IFS="	" read -r name text; do \
	    printf '  %-10s %s\n' "$$name" "$$text"; done
