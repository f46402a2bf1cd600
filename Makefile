# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo_output

.PHONY: demo test lint clean

demo: $(VENV)/.done
	$(BIN)/python examples/demo.py --output $(DEMO_OUTPUT)

test: $(VENV)/.done lint
	$(BIN)/python -m pytest -n auto --cov --cov-report=term --cov-fail-under=90

lint: $(VENV)/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/typos

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	# torch first and by its exact version, so that nothing later pulls another build of it.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,video,viz,dev]"
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_OUTPUT) .pytest_cache .ruff_cache .coverage*
