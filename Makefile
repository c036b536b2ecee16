# Every command a person needs. `make help` lists them.
VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help install demo test models families fuzz faults soak check serve bench protos client docs gpu clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-9s %s\n", $$1, $$2 }'

install: $(INSTALLED) ## set up .venv with the tested versions

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED) ## explain a photograph and a drawing by a server that starts and stops, and leave report.html
	$(VENV)/bin/striate demo

test: $(INSTALLED) check ## all tests, two files at a time: most wait for servers to start
	$(PYTHON) -m pytest -n 2 --dist loadfile

models: $(INSTALLED) ## load all of torchvision's networks, with random weights (half an hour, 10 GB)
	ALL_MODELS=1 $(PYTHON) -m pytest -s tests/unit/test_all_models.py

families: $(INSTALLED) ## measure a network of every family against plain torch, and write the table of docs/models.md
	FAMILIES=$(or $(FAMILIES),all) $(PYTHON) -m pytest -s tests/integration/test_families.py

fuzz: $(INSTALLED) ## send CASES spoilt requests (100,000 unless given) to a real server, and as many spoilt image files; SEED chooses others
	CASES=$(or $(CASES),100000) $(PYTHON) -m pytest -s tests/hostile tests/unit/test_image_files.py

faults: $(INSTALLED) ## the tests of faults and others, with those that take long; CONNECTIONS at once (5,000 unless given)
	LONG=1 CONNECTIONS=$(or $(CONNECTIONS),5000) $(PYTHON) -m pytest tests/faults tests/integration/test_targets.py \
		tests/integration/test_demo.py

soak: $(INSTALLED) ## mixed traffic on a real server for MINUTES (30 unless given): memory, descriptors, threads; then overload
	MINUTES=$(or $(MINUTES),30) $(PYTHON) -m pytest -s tests/faults/test_soak.py

check: $(INSTALLED) ## style, types, architecture, fresh stubs and docs; with npm, the page's scripts too
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy client service
	$(VENV)/bin/lint-imports
	PATH="$(abspath $(VENV)/bin):$$PATH" $(PYTHON) scripts/protos.py --check
	$(PYTHON) scripts/sync_client.py --check
	$(PYTHON) scripts/metrics_docs.py --check
	$(PYTHON) scripts/reliability_docs.py --check
	scripts/lint_page.sh

serve: $(INSTALLED) ## serve the embedded model on port 50051
	$(VENV)/bin/striate serve

bench: $(INSTALLED) ## the headline figures: ours, the peer's, the ratio
	for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(PYTHON) $$benchmark || exit 1; done

protos: $(INSTALLED) ## regenerate client/striate/v1 from protos/
	PATH="$(abspath $(VENV)/bin):$$PATH" $(PYTHON) scripts/protos.py

client: $(INSTALLED) ## regenerate client/striate/_sync, the client that blocks, from _async
	$(PYTHON) scripts/sync_client.py

docs: $(INSTALLED) ## regenerate docs/metrics.md from the code, docs/reliability.md from the tests
	$(PYTHON) scripts/metrics_docs.py
	$(PYTHON) scripts/reliability_docs.py

gpu: $(INSTALLED) ## the tests that need a GPU
	$(PYTHON) -m pytest tests/gpu

clean: ## remove what the other commands made
	rm -rf $(VENV) node_modules build dist report.html .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
