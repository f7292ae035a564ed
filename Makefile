PY := .venv/bin/python
UV := .venv/bin/uv

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-vllm try-install lint format chaos chaos-quick rebalances soak-properties soak-simulation bench-quick bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.done ## install everything into .venv, once

.venv/.done: requirements.lock pyproject.toml
	@python3 -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(UV) || (python3 -m venv .venv && .venv/bin/pip install -q uv)
	@echo "installing into .venv (once) ..."
	@$(UV) pip install -q --python $(PY) --no-deps -r requirements.lock
	@$(UV) pip install -q --python $(PY) --no-deps -e .
	@touch $@

demo: setup ## start everything on this machine, ask one question, stop everything; ENGINE=vllm: on real vLLM
	@$(if $(filter vllm,$(ENGINE)),$(PY) tools/vllm.py demo,.venv/bin/alto-streams demo $(if $(ENGINE),--engine $(ENGINE)))

up: setup ## start everything on this machine and keep it running until Ctrl-C
	@.venv/bin/alto-streams up

test: setup ## everything: lint, types, import contracts, all tests
	@$(PY) tools/check.py all

test-vllm: setup ## the suite of engines against real vLLM on this CPU; it installs itself into .cache/vllm, once
	@$(PY) tools/vllm.py test

try-install: ## install the wheel into an empty environment and run its demo there; minutes, most of it downloads
	@python3 tools/try_install.py

lint: setup ## style, types and import contracts only
	@$(PY) tools/check.py lint

format: setup ## put the style right where a tool can
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

chaos: setup ## kill, pause and restart the parts of a running system for half an hour: what its clients lose
	@$(PY) -m loadtest chaos

chaos-quick: setup ## the same within two minutes
	@$(PY) -m loadtest chaos --quick

rebalances: setup ## a hundred workers leave their groups and come back, under load
	@$(PY) -m loadtest rebalances

soak-properties: setup ## a million interleavings of scopes, calls, joins and whole pipelines (SOAK="-j 2 --seed 7")
	@nice -n 10 $(PY) -m tests.properties.soak $(SOAK)

soak-simulation: setup ## ten thousand fault schedules of the shells on a simulated log (SCHEDULES=10000)
	@nice -n 10 $(PY) -m tests.simulation $(or $(SCHEDULES),10000)

bench-quick: setup ## the load test in a minute: ratios to the limit, against the table in docs/performance.md
	@$(PY) -m loadtest continuous --json bench-quick.json

bench: setup ## the whole load test beside the limit and LangGraph, 50 minutes; drawn into bench/
	@$(PY) -m loadtest compare --json bench.json && $(PY) -m loadtest report bench.json --out bench

clean: ## remove what tools leave behind (not .venv, nor what is in .cache)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist var
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
