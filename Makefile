# Two commands: `make search` sets everything up and runs the main job, `make test` sets everything up and tests it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Extra arguments for pip's torch install, e.g. TORCH_ARGS="--index-url …" for a wheel index of your choice.
TORCH_ARGS ?=
# Without an NVIDIA GPU take the CPU build of torch: its local version where pip can see one, else the plain release.
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -c GPU)

.PHONY: setup search test lint docs mutants notebooks lab figures clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed (PYTHON=python3.x make …)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifeq ($(filter-out 0,$(GPU)),)
	$(BIN)/python -m pip install -q $(TORCH_ARGS) "torch==2.13.0+cpu" 2>/dev/null || $(BIN)/python -m pip install -q $(TORCH_ARGS) "torch==2.13.0"
else
	$(BIN)/python -m pip install -q $(TORCH_ARGS) "torch>=2.9"
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

lab: setup
	$(BIN)/jupyter lab notebooks

figures: setup
	$(BIN)/python -m search.figures
	$(BIN)/python -m kernels.bench.figures

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

docs: setup
	$(BIN)/python -m pip install -q "pdoc>=14"
	$(BIN)/python -m pdoc --docformat numpy -o build/api stl_algebra stl_search stl_kernels

mutants: setup
	$(BIN)/python tests/mutants.py
