# Two commands: `make search` sets everything up and runs the main job, `make test` sets everything up and tests it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Extra arguments for pip's torch install, e.g. TORCH_ARGS="--index-url …" for a wheel index of your choice.
TORCH_ARGS ?=
# Without an NVIDIA GPU take the CPU build of torch: its local version where pip can see one, else the plain release.
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -c GPU)

# Pinned with hashes, all but torch and what it brings (its builds differ by device); LOCK= installs by the ranges alone.
LOCK ?= requirements.lock
UV := $(VENV)-tools/bin/uv

.PHONY: setup search test lint docs mutants notebooks lab figures lock audit licences clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(LOCK)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed (PYTHON=python3.x make …)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifeq ($(filter-out 0,$(GPU)),)
	$(BIN)/python -m pip install -q $(TORCH_ARGS) "torch==2.13.0+cpu" 2>/dev/null || $(BIN)/python -m pip install -q $(TORCH_ARGS) "torch==2.13.0"
else
	$(BIN)/python -m pip install -q $(TORCH_ARGS) "torch>=2.9"
endif
ifneq ($(LOCK),)
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r $(LOCK) 2>$(VENV)/lock.log || { \
	  cat $(VENV)/lock.log >&2; ! grep -q "DO NOT MATCH THE HASHES" $(VENV)/lock.log && \
	  echo "note: some pinned versions are not to be had here; installing by the ranges of pyproject.toml" >&2; }
endif
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

search: setup
	$(BIN)/python -m search.run --group cyclic

test: setup
	$(BIN)/python -m pytest -n auto --dist loadgroup

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: setup
	cd notebooks && ../$(BIN)/jupyter nbconvert --to notebook --execute --inplace *.ipynb

$(UV):
	$(PYTHON) -m venv $(VENV)-tools
	$(VENV)-tools/bin/python -m pip install -q uv pip-audit

lock: $(UV)
	$(UV) pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate -q -o $(VENV)-tools/lock
	awk '/^[A-Za-z0-9]/ { drop = /^(torch|triton|nvidia-|cuda-)/ } !drop' $(VENV)-tools/lock > requirements.lock

audit: $(UV)
	$(VENV)-tools/bin/pip-audit --disable-pip --no-deps -r requirements.lock

licences: setup
	$(BIN)/python .ci/licences.py requirements.lock results/runs/licences.csv

lab: setup
	$(BIN)/jupyter lab notebooks

figures: setup
	$(BIN)/python -m search.figures
	$(BIN)/python -m kernels.bench.figures

clean:
	rm -rf $(VENV) $(VENV)-tools .pytest_cache .mypy_cache .ruff_cache

docs: setup
	$(BIN)/python -m pip install -q "pdoc>=14"
	$(BIN)/python -m pdoc --docformat numpy -o build/api stl_algebra stl_search stl_kernels

mutants: setup
	$(BIN)/python tests/mutants.py
