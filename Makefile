# `make demo` and `make test` work from nothing but python3 (with venv) and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help demo test test-extra check format wheel clean

help:
	@echo "make demo        compile and run the trained text-direction classifier, in every precision"
	@echo "make test        the quick tests"
	@echo "make test-extra  the slow tests and those that need torch, Chromium, Ray or perfetto"
	@echo "make check       ruff, mypy, and the wheel in an empty environment"
	@echo "make format      let ruff rewrite the sources"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

$(VENV)/.extra: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[torch,browser,cluster,perfetto]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/flexc demo -o demo-out

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 -q -m "not slow and not torch and not browser and not perfetto"

test-extra: $(VENV)/.installed $(VENV)/.extra
	$(BIN)/python -m pytest -n 2 -q -m "slow or torch or browser or perfetto"

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) wheel

wheel: $(VENV)/.installed
	rm -rf dist build/wheel-venv
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip install --quiet dist/flexc-*.whl
	cd build && wheel-venv/bin/python ../tests/check_wheel.py ../dist

format: $(VENV)/.installed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) dist build demo-out
