# Every target sets up .venv by itself when it is missing or older than what it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help compare test lint format bench fuzz report-cremad docs clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (some minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "serlab needs Python 3.11 or newer; name one with make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[augment,demo,media,opensmile,dev,docs]'
	@touch $@

compare: $(READY) ## train and compare the default recipes on synthetic speech, offline; prints the report's path and how to try a model
	@$(BIN)/serlab compare --keep-models

test: lint ## lint, type-check and test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile --cov --cov-report=term:skip-covered

lint: $(READY) ## ruff, mypy and the arrows between the rooms
	@$(BIN)/ruff check src tests benchmarks fuzz publication
	@$(BIN)/ruff format --check --quiet src tests benchmarks fuzz publication
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## format and sort imports
	@$(BIN)/ruff format src tests benchmarks fuzz publication
	@$(BIN)/ruff check --fix src tests benchmarks fuzz publication

bench: $(READY) ## time what users wait for, as ratios: a quick pass (ROW=log-mel one row, FULL=1 all there is, FORCE=1 anew)
	@$(BIN)/python -m benchmarks $(ROW) $(if $(FULL),--full) $(if $(FORCE),--force)

fuzz: $(READY) ## try damaged and odd inputs for SECONDS=300 with SEED=0: audio, models, tables, corpora, cli (ONLY=audio,cli); keeps what fails in fuzz-failures/
	@$(BIN)/python -m fuzz --seconds $(or $(SECONDS),300) --seed $(or $(SEED),0) $(if $(ONLY),--only $(ONLY)) --failures fuzz-failures

report-cremad: $(READY) ## compute every published figure again from the tables in results/, and write it where it is quoted
	@$(BIN)/python -m publication

docs: $(READY) ## build the documentation into site/
	@$(BIN)/mkdocs build --strict

clean: ## remove what can be made again (not runs/ and results/)
	@rm -rf $(VENV) site .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
