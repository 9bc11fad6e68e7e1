PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BUILDING := $(VENV)/.building

# Where demo-class is to be found.
PORT ?= 8866
# What of a GPU's results is small, to carry away.
OUT ?= runs/gpu-out
# Long tests may take as long as they need (pyproject.toml times the others).
UNTIMED := -o faulthandler_timeout=0
# Tests run side by side, a thread each; "make test WORKERS=" runs them one after the other.
WORKERS ?= -n auto --maxprocesses 4
DOCUMENTED := dfkd_lab dfkd_lab.spec dfkd_lab.primitives dfkd_lab.engine dfkd_lab.methods dfkd_lab.nets \
	dfkd_lab.teachers dfkd_lab.data dfkd_lab.runs dfkd_lab.export dfkd_lab.bench

.DEFAULT_GOAL := help
.PHONY: abuse setup demo demo-scenes demo-class gpu speed check test test-long compile-check lab lint docs clean help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

setup: $(READY)  ## build .venv with everything in it; does nothing when nothing changed

# The stamp is written last, so a failed set-up is tried again. .building outlives a pip that was killed:
# what that left cannot be trusted, so the environment then starts from nothing. A pip that refuses by
# itself (status 1 or 2: no network, a conflict) rolls back, and the working environment stays.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "dfkd_lab needs Python 3.11 or newer: name one, as in 'make setup PYTHON=python3.12'." >&2; exit 1; }
	@if [ -e $(BUILDING) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); fi
	@rm -f $@ && touch $(BUILDING)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,voila]' || { [ $$? -gt 2 ] || rm -f $(BUILDING); exit 1; }
	@rm -f $(BUILDING)
	$(BIN)/python -m dfkd_lab check
	@touch $@

demo: setup  ## distil a small network without data, in a minute
	$(BIN)/python -m dfkd_lab demo

demo-scenes: setup  ## the same where every pixel has a class, in three minutes
	$(BIN)/python -m dfkd_lab demo --data scenes

demo-class: setup  ## serve the workbench as an app for a class, in large type, on 127.0.0.1:$PORT
	$(BIN)/voila notebooks/00_workbench.ipynb --no-browser --Voila.ip=127.0.0.1 --port=$(PORT) --theme=light

# Without set-up where there is no .venv: a lent machine has a Python of its own.
gpu:  ## measure on a GPU, for nine minutes, what RESULTS.md lacks; again until it lacks nothing
	$$([ -x $(BIN)/python ] && echo $(BIN)/python || echo $(PYTHON)) benchmarks/gpu.py --minutes 9 --out $(OUT)

# Likewise. The field's loop runs on the CPU only, and takes twenty minutes a seed.
speed:  ## measure the loop here, beside the bare passes of its networks (RESULTS.md)
	$$([ -x $(BIN)/python ] && echo $(BIN)/python || echo $(PYTHON)) benchmarks/speed.py

check: lint  ## lint, types and the quick tests: before every commit
	$(BIN)/python -m pytest $(WORKERS) -m "not slow and not long"

test: lint  ## lint, types and all tests but the long ones, as CI does
	$(BIN)/python -m pytest $(WORKERS)

test-long: setup  ## the tests that take minutes each
	$(BIN)/python -m pytest $(UNTIMED) -m long

abuse: setup  ## damaged files, full disks and killed processes: an hour, and benchmarks/results/abuse.json
	$(BIN)/python -m tests.abuse --mutations 10000 --exports 1000 --limits 500 --kills 200 --processes 2 --out benchmarks/results/abuse.json

compile-check: setup  ## every method as a compiled run through the seal, the compiler's cache cold: half an hour
	$(BIN)/python -m pytest $(WORKERS) $(UNTIMED) -m "slow or long" tests/runs/test_compiled_runs.py

lint: setup  ## ruff and mypy, notebooks too
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/nbqa mypy notebooks

docs: setup  ## the API reference from the docstrings, into docs/api/
	$(BIN)/pdoc --docformat google --no-show-source -o docs/api $(DOCUMENTED)

# As a page of its own (/doc) the workbench has the whole width; the folder at its left edge lists the files.
lab: setup  ## open the workbench in JupyterLab; runs/ can be opened beside it
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/doc/tree/notebooks/00_workbench.ipynb

clean:  ## remove caches and build products; .venv and runs/ stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
