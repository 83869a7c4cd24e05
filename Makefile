# Every target that needs .venv creates it, or updates it after a change of the files that it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help compare test lint format test-wheel test-lowest bench fuzz report-cremad docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (takes a few minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "serlab needs Python 3.11 or newer; choose one with make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[augment,demo,listen,media,onnx,opensmile,serve,vad,dev,docs]'
	@touch $@

compare: $(READY) ## train and compare the default recipes on synthetic speech, offline; prints the report's path
	@$(BIN)/serlab compare --keep-models

test: lint ## lint, type-check and test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile --cov --cov-report=term:skip-covered

lint: $(READY) ## run ruff, mypy, the import contracts and the word list
	@$(BIN)/ruff check src tests benchmarks fuzz publication tools
	@$(BIN)/ruff format --check --quiet src tests benchmarks fuzz publication tools
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python tools/words.py

test-wheel: ## build the wheel, install it into a new environment, train on synthetic speech and predict
	@rm -rf build && $(PYTHON) -m venv build/venv
	@build/venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build .
	@build/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$(echo build/serlab-*.whl)[demo]"
	@cd build && export SERLAB_CACHE=cache && venv/bin/serlab --help >/dev/null \
	  && venv/bin/serlab compare --recipes mfcc-svm --folds 1 --limit 4 --keep-models \
	  && venv/bin/serlab predict --model runs/synthetic-limit4/speaker-3/mfcc-svm/fold1-seed0 cache/synthetic-*/voice01_s01_angry.wav

# Development tools are the newest that fit; they have no lower bounds to test.
test-lowest: ## run the fast tests with the lowest supported version of every dependency
	@rm -rf build && $(PYTHON) -m venv build/venv
	@$(PYTHON) -c 'import re, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*(re.sub(r">=([^,]*).*", r"==\1", d) for d in sum((v for k, v in p["optional-dependencies"].items() if k not in ("dev", "docs")), p["dependencies"])), sep="\n")' > build/lowest.txt
	@build/venv/bin/python -m pip install --quiet --disable-pip-version-check -c build/lowest.txt -e '.[augment,demo,listen,media,onnx,opensmile,serve,vad]' httpx hypothesis librosa pytest 'pyvips[binary]'
	@OMP_NUM_THREADS=1 build/venv/bin/python -m pytest -q -p no:cacheprovider -m "not slow and not cremad" tests

format: $(READY) ## format and sort imports
	@$(BIN)/ruff format src tests benchmarks fuzz publication tools
	@$(BIN)/ruff check --fix src tests benchmarks fuzz publication tools

bench: $(READY) ## run the benchmarks quickly (ROW=log-mel one row, FULL=1 everything, FORCE=1 again)
	@$(BIN)/python -m benchmarks $(ROW) $(if $(FULL),--full) $(if $(FORCE),--force)

fuzz: $(READY) ## run damaged and odd inputs for SECONDS=300 with SEED=0 (ONLY=audio,cli); keeps failures in fuzz-failures/
	@$(BIN)/python -m fuzz --seconds $(or $(SECONDS),300) --seed $(or $(SEED),0) $(if $(ONLY),--only $(ONLY)) --failures fuzz-failures

report-cremad: $(READY) ## recompute every published result from the tables in results/ and update the pages that quote it
	@$(BIN)/python -m publication

docs: $(READY) ## build the documentation into site/
	@$(BIN)/mkdocs build --strict

clean: ## remove generated files (but not runs/ and results/)
	@rm -rf $(VENV) build site .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
