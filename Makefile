# Two commands do everything: `make demo` shows the product, `make test` proves it.
# Both need nothing but Python 3.11 or later with pip; the rest comes from requirements.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test oldest bundles soak peer lint checkov format schema cli reference diagrams docs lock clean

demo: $(VENV)/installed
	$(BIN)/wukong demo

# Most tests wait for functions and servers, so more of them run at once than there are cores.
AT_ONCE ?= 4
test: $(VENV)/installed
	$(BIN)/pytest --numprocesses $(AT_ONCE) --dist loadfile

# The engine with the oldest Dask instead of the newest, which is put before it on the path.
OLDEST := $(VENV)/oldest
oldest: $(OLDEST)/installed
	PYTHONPATH=$(CURDIR)/$(OLDEST) $(BIN)/pytest --numprocesses $(AT_ONCE) --dist loadfile \
		tests/graph tests/client tests/test_versions.py

$(OLDEST)/installed: $(VENV)/installed requirements-oldest.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--require-hashes --target $(OLDEST) -r requirements-oldest.lock
	@touch $@

# Dask-ML from its overflow bundle. It is put before everything else on the path, here only: with it
# every import of dask.array would take a third longer, as Dask then imports sparse and Numba. By its
# folder's name it is known for what is installed, and not taken along as the user's own modules.
DASK_ML := $(VENV)/dask-ml/site-packages
bundles: $(DASK_ML)/installed
	PYTHONPATH=$(CURDIR)/$(DASK_ML) $(BIN)/pytest tests/embedded/test_bundles.py \
		tests/examples -k "bundle or dask_ml"

$(DASK_ML)/installed: $(VENV)/installed requirements-dask-ml.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--require-hashes --target $(DASK_ML) -r requirements-dask-ml.lock
	@touch $@

# More random histories of a run than CI plays.
SEEDS ?= 50000
soak: $(VENV)/installed
	WUKONG_SEEDS=$(SEEDS) $(BIN)/pytest tests/simulation --timeout 86400

# Dask's own tests with Wukong as the scheduler: make peer SUITES="bag delayed".
SUITES ?=
peer: $(VENV)/installed
	$(BIN)/python -m tests.peer $(SUITES)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cfn-lint template-bootstrap.yaml template-network.yaml

# The templates against checkov's rules, in an environment of its own, as it wants other versions of
# what we use. Exceptions are in the templates, with their reasons. It asks no other host.
CHECKOV := $(VENV)/checkov
checkov: $(CHECKOV)/installed
	$(CHECKOV)/bin/checkov --framework cloudformation --compact --quiet --skip-download \
		$(foreach template,$(wildcard template-*.yaml),--file $(template))

$(CHECKOV)/installed: $(VENV)/installed requirements-checkov.lock
	$(PYTHON) -m venv --clear $(CHECKOV)
	$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--require-hashes -r requirements-checkov.lock
	@touch $@

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The JSON Schema of what is sent to the bootstrap by hand; a test compares it with the code.
schema: $(VENV)/installed
	$(BIN)/python -c 'import json; from bootstrap.manual import manual_schema; \
		print(json.dumps(manual_schema(), indent=2))' > docs/manual-event.schema.json

# The verbs in docs/cli.md, from the app itself; a test compares them.
cli: $(VENV)/installed
	$(BIN)/python -m wukong.cli.reference docs/cli.md

# docs/reference.md, from the docstrings; a test compares them.
reference: $(VENV)/installed
	$(BIN)/python -m tests.docs.reference

# The drawings of docs/images/*.mmd; needs npm and Chromium. A test sees that none is out of date.
diagrams: $(VENV)/installed
	npm install --silent --no-save --prefix build/mermaid @mermaid-js/tiny@11.17.2
	$(BIN)/python -m tests.docs.diagrams build/mermaid/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js

# The site, into site/: open site/index.html, or serve it, which the search needs.
docs: $(VENV)/installed
	$(BIN)/zensical build --clean --strict

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Wukong needs Python 3.11 or later; say which: make PYTHON=python3.13 demo")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Newer pins: needs uv. One lock for all supported Pythons; no registry address is written into it.
# What only benchmarks need is not in it.
EXTRAS := --extra embedded --extra svc --extra dataframe --extra docs --extra dev
lock:
	uv pip compile pyproject.toml $(EXTRAS) --universal --python-version 3.11 \
		--generate-hashes --no-annotate --upgrade --quiet -o requirements.lock
	echo checkov | uv pip compile - --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-header --upgrade --quiet -o requirements-checkov.lock
	uv pip compile pyproject.toml --extra dask-ml --constraints requirements.lock --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
		$$(sed -n 's/==.*//p' requirements.lock | sort -u | sed 's/^/--no-emit-package /') \
		-o requirements-dask-ml.lock

clean:
	rm -rf $(VENV) dist build site .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
