# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo_output

.PHONY: help demo test coverage lint format typecheck docs clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

demo: $(VENV)/.done  ## find moments in a bundled video and draw them beside the truth
	$(BIN)/python examples/demo.py --output $(DEMO_OUTPUT)

test: $(VENV)/.done lint  ## lint, type-check, run all tests
	$(BIN)/python -m pytest -n auto

coverage: $(VENV)/.done  ## run all tests and measure which lines they run
	$(BIN)/python -m pytest -n auto --cov --cov-report=term

lint: $(VENV)/.done typecheck  ## check style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos

format: $(VENV)/.done  ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/.done  ## check types
	$(BIN)/mypy

docs: $(VENV)/.docs  ## build the documentation in site/ (needs Python 3.11)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	# torch first and by its exact version, so that nothing later pulls another build of it.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,video,viz,published,onnx,serve,app,dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.done
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:  ## remove the environment and all outputs
	rm -rf $(VENV) $(DEMO_OUTPUT) site .mypy_cache .pytest_cache .ruff_cache .coverage*
