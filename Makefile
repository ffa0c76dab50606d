# Two commands are all a new user needs: `make demo` and `make test`. Both install first, into .venv, and only once.

SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
ROOMS := schemas engines graph services lab weights

# The first Python that is new enough; `make PYTHON=/path/to/python3.12` names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
# The exact torch. On Linux its plain wheel brings gigabytes of CUDA, so `install` looks for the CPU build first, in the
# index that TORCH_INDEX names (torch's installation page gives the address) or in pip's own;
# `make install TORCH_ANY=1` on a machine with a GPU takes the plain one.
TORCH := 2.13.0
TORCH_INDEX ?=

.PHONY: help install demo test lint format types schema clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

install: $(STAMP) ## Make .venv with everything that the mini model, its training and the tests need

$(PY):
	@if [ -z "$(PYTHON)" ]; then \
		echo "VOGUE needs Python 3.11 or newer, and none is on PATH. Install one, or say where it is: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
		|| { rm -rf $(VENV); $(PYTHON) -m pip --version >/dev/null 2>&1 && $(PYTHON) -m venv --without-pip $(VENV) \
			&& $(PYTHON) -m pip --python $(PY) install --quiet pip; } \
		|| { rm -rf $(VENV); echo "$(PYTHON) can make no virtual environment (Debian and Ubuntu split it off: apt install python3-venv)" >&2; exit 1; }

$(STAMP): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --upgrade pip
	@$(PY) -c 'import torch, sys; sys.exit(torch.__version__.split("+")[0] != "$(TORCH)")' 2>/dev/null || { \
		echo "installing torch $(TORCH)"; \
		if [ "$$(uname -s)" = Linux ] && [ -z "$(TORCH_ANY)" ]; then \
			$(PY) -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "torch==$(TORCH)+cpu" 2>/dev/null \
				|| { echo "no CPU build of torch found: taking the one with CUDA (name the CPU index with TORCH_INDEX=... to save gigabytes)"; false; }; \
		fi || $(PY) -m pip install --quiet "torch==$(TORCH)"; }
	$(PY) -m pip install --quiet --editable ".[serve,train,dev]"
	@touch $(STAMP)

demo: install ## Start a server, make three clips, write them and a contact sheet to out/, stop the server
	$(PY) -m vogue.lab.demo

test: lint ## Everything that must hold before a change is merged
	$(PY) -m pytest

# 55 MB. The wheel wants NumPy 1, so it is unpacked beside the environment, never installed into it.
TRITON := build/triton/nvidia-pytriton-0.7.0

triton: install $(TRITON) ## Fetch the Triton server that the engine `triton` is tested with

$(TRITON):
	@mkdir -p build/triton
	$(PY) -m pip download --quiet --no-deps --dest build/triton nvidia-pytriton==0.7.0
	$(PY) -c 'import sys; from pathlib import Path; from vogue.engines.compiled.triton_server import unpack_server; unpack_server(*map(Path, sys.argv[1:]))' build/triton/nvidia_pytriton-0.7.0-*.whl build/triton
	@touch $@

lint: install types ## Style, layout, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	MYPYPATH=build/types $(VENV)/bin/mypy -p vogue

# An editable install maps `vogue` to several folders by an import hook, which a type checker cannot follow; links can.
types: # the tree of links that `lint` checks
	@rm -rf build/types && mkdir -p build/types/vogue
	@for path in sdk/*; do ln -s ../../../$$path build/types/vogue/; done
	@for room in $(ROOMS); do ln -s ../../../$$room build/types/vogue/; done

format: install ## Lay the code out, and mend what the linter can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

schema: install ## Write docs/schema.json, the JSON Schema of every contract, for review
	$(PY) -m vogue.lab.schema_snapshot docs/schema.json

clean: ## Remove what can be made again, but not .vogue (jobs and media)
	rm -rf $(VENV) build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
