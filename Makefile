# One command a job; CI calls the same ones. Needs Python 3.11 or newer and make, nothing else.
# To choose the interpreter: make PYTHON=/path/to/python3.12 setup

VENV := .venv
BIN := $(VENV)/bin
DEMO := likewise-demo
WORKERS := 2
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test setup check format docs bench torture readme clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     set up, then the main job on real data: likewise demo"
	@echo "make test     set up for development, then all tests"
	@echo "make setup    set up for development in $(VENV)"
	@echo "make check    format, lint, types"
	@echo "make format   put the files into the form that 'check' asks for"
	@echo "make docs     the documentation's examples, run"
	@echo "make bench    the benchmarks, as a table and JSON lines"
	@echo "make torture  kills, mutations, hostile input: the promises of reliability, at length"
	@echo "make readme   write the README's picture, figures and file tree again"
	@echo "make clean    remove $(VENV), $(DEMO) and what tools left behind"

demo: $(VENV)/.runtime
	@$(BIN)/likewise demo -o $(DEMO)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS)

setup: $(VENV)/.dev

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	$(BIN)/python -m pytest -q src tests/test_readme.py tests/test_readme_story.py

bench: $(VENV)/.dev
	@set -e; for script in $$(grep -l '^def main' benchmarks/*.py); do \
	  echo "== $$script"; $(BIN)/python "$$script"; done

torture: $(VENV)/.dev
	$(BIN)/python tests/torture/program.py --out docs/results/reliability.md

readme: $(VENV)/.runtime
	$(BIN)/python docs/refresh_readme.py

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The first interpreter that answers and is new enough; a shim that fails is passed over.
$(BIN)/python:
	@found=; for candidate in $(PYTHON) python3 python python3.13 python3.12 python3.11 python3.14; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "make: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python" >&2; \
	  exit 1; fi; \
	echo "Setting up $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: '$$found -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing likewise and what it runs on (PyTorch is the large one)"
	@$(PIP) setuptools
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing what development needs"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@
