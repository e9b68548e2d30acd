# Needs Python 3.11 or newer and make, nothing else. `make` alone lists the commands.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $$(sh deploy/find-python.sh)
UV ?= uv
ARGS ?=
LOCK_ARGS ?=
BUILDS := deploy/venv.py pyproject.toml

# A checkout that was moved or copied with its environment: the scripts in it name the old place.
ifneq ($(shell [ -e $(VENV)/pyvenv.cfg ] && ! grep -qF '$(CURDIR)/$(VENV)' $(VENV)/pyvenv.cfg && echo moved),)
BUILDS += moved
endif

.PHONY: moved help run test lint bench clients conformance llmock fuzz recorded prices verify-prices lock lock-clients clean

help:
	@echo 'make run     start the gateway here      ARGS="--port 4001 --data-dir DIR", see: make run ARGS=--help'
	@echo 'make test    run the tests               ARGS="tests/proxy/storage -k pool"'
	@echo 'make lint    style, types, import rules'
	@echo 'make bench   measure against nginx       ARGS="--only plain --rounds 4"; needs nginx, wrk, openssl'
	@echo 'make clients      client libraries through it         ARGS="--only langchain"; downloads them first'
	@echo 'make conformance  tests of openai-python through it   needs OpenAI'"'"'s OpenAPI document: docs/testing.md'
	@echo 'make llmock       it as a client of a provider that breaks'
	@echo 'make fuzz    readers of strangers'"'"' bytes under atheris  ARGS="--only meter --seconds 600"'
	@echo 'make recorded  recorded exchanges compared with genai-prices: what differs, and why; downloads them first'
	@echo 'make prices  price book from genai-prices'
	@echo 'make verify-prices  the price book compared with LiteLLM'"'"'s prices: what differs, and why'
	@echo 'make lock    renew the lock files        needs uv; LOCK_ARGS=--upgrade for newer versions'
	@echo 'make lock-clients  renew the lock files of make clients, conformance, llmock; LOCK=langchain for one'
	@echo 'make clean   remove what was built; the data in .synapscale stays'
	@echo
	@echo 'PYTHON=/path/to/python3.13 chooses the Python for $(VENV).'

run: $(VENV)/.installed
	@exec $(BIN)/synapscale serve $(ARGS)

test: $(VENV)/.installed-dev
	@exec $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.installed-dev
	@exec $(BIN)/python -m bench.run $(ARGS)

# Environments of their own in .clients/; what they measure and need: docs/testing.md
clients: $(VENV)/.installed-dev
	@exec $(BIN)/python -m tests.clients.run $(ARGS)

conformance: $(VENV)/.installed-dev
	@exec $(BIN)/python -m tests.clients.conformance.compare $(ARGS)

llmock: $(VENV)/.installed-dev
	@exec $(BIN)/python -m tests.clients.verdict $(ARGS)

fuzz: $(VENV)/.installed-dev
	@exec $(BIN)/python -m tests.fuzz.run $(ARGS)

# `make test` fetches and compares as well; this one prints what was found.
recorded: $(VENV)/.installed-dev
	@exec $(BIN)/python -m tests.recorded $(ARGS)

prices: $(VENV)/.installed-dev
	@exec $(BIN)/python -m pricing.data.convert $(ARGS)

verify-prices: $(VENV)/.installed-dev
	@exec $(BIN)/synapscale prices verify $(ARGS)

# setuptools builds the project itself, so it is locked too and nothing is fetched for a build.
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) pip compile --quiet --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url $(LOCK_ARGS) --extra embedded pyproject.toml -

lock:
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: pip install uv, or UV=/path/to/uv'; exit 1; }
	echo 'setuptools>=80' | $(COMPILE) --output-file requirements.lock
	echo 'setuptools>=80' | $(COMPILE) --extra dev --output-file requirements-dev.lock
	sed -n 's/^prices = \["\(.*\)"\]$$/\1/p' pyproject.toml | UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) pip compile --quiet --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url $(LOCK_ARGS) --no-deps - --output-file requirements-prices.lock

# LOCK names what `make lock-clients` renews.
LOCK ?= $(basename $(notdir $(wildcard tests/clients/locks/*.in)))

lock-clients: $(VENV)/.installed-dev
	@command -v $(UV) >/dev/null || { echo 'make lock-clients needs uv: pip install uv, or UV=/path/to/uv'; exit 1; }
	set -e; for name in $(LOCK); do UV_CUSTOM_COMPILE_COMMAND='make lock-clients' $(UV) pip compile --quiet --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url $(LOCK_ARGS) tests/clients/locks/$$name.in \
	    --output-file tests/clients/locks/$$name.txt; done
	$(BIN)/python -m tests.clients.environments

clean:
	rm -rf $(VENV) .clients .recorded build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment with the development tools serves `make run` as well: it is not thrown away for a smaller one.
$(VENV)/.installed: requirements.lock $(BUILDS)
	@if [ -e $@-dev ]; then $(MAKE) --no-print-directory $@-dev; \
	else py="$(PYTHON)" && [ -n "$$py" ] && "$$py" deploy/venv.py $(VENV) requirements.lock --editable .; fi
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock requirements-prices.lock $(BUILDS)
	@py="$(PYTHON)" && [ -n "$$py" ] && "$$py" deploy/venv.py $(VENV) requirements-dev.lock --alone requirements-prices.lock --editable .
	@touch $@ $(VENV)/.installed

moved:
