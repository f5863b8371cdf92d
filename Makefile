# The front door: every verb of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
BIN := .venv/bin

.PHONY: help
help: ## list every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/bin/python:
	python3 -m venv .venv

# uv installs exactly what uv.lock pins, hashes checked; it is bootstrapped with the venv's own pip.
.venv/bin/uv: | .venv/bin/python
	@command -v uv >/dev/null && ln -sf "$$(command -v uv)" .venv/bin/uv || $(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"

.venv/.installed: pyproject.toml uv.lock | .venv/bin/uv
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv sync --locked --inexact --active --quiet --compile-bytecode
	@touch $@

.venv/.installed-dev: pyproject.toml uv.lock | .venv/bin/uv
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv sync --locked --inexact --active --quiet --compile-bytecode --group dev
	@touch $@ .venv/.installed

.PHONY: install
install: .venv/.installed ## install what running needs into .venv

.PHONY: dev
dev: .venv/.installed-dev ## install what developing needs into .venv

.PHONY: run
run: .venv/.installed ## start the embedded stack (Ctrl-C stops it)
	@exec $(BIN)/python -m keyrail_embedded

.PHONY: demo
demo: .venv/.installed-dev ## see it work: answers, streams, fallback, weights, costs
	@$(BIN)/python scripts/demo.py

.PHONY: test
test: .venv/.installed-dev ## run the test suite
	$(BIN)/pytest -m "not proof" -n 3 --dist loadfile

.PHONY: openbao
openbao: .venv/.installed-dev ## build a real server with Vault's API for the tests, once
	@$(BIN)/python scripts/openbao.py

.PHONY: proof
proof: .venv/.installed-dev ## run the long proofs in full: kill rounds, soaks, big loads
	$(BIN)/pytest -m proof --timeout 1800

.PHONY: bench
bench: .venv/.installed-dev ## measure against direct calls and, where installed, LiteLLM and Portkey
	@$(BIN)/python -m bench.run $(BENCH)

DATA ?= ../shared/data/routing
.PHONY: eval-routing
eval-routing: .venv/.installed-dev ## measure smart routing on recorded answers (DATA=folder)
	@$(BIN)/python -m bench.routing.run --data $(DATA)

.PHONY: compatibility
compatibility: .venv/.installed-dev ## try every face with every provider and write the matrix again
	@PYTHONPATH=tests $(BIN)/python -m support.compatibility

.PHONY: schemas
schemas: .venv/.installed-dev ## write the JSON schemas of the events, and the admin API's OpenAPI, again
	$(BIN)/python scripts/export_schemas.py
	$(BIN)/python scripts/export_admin_api.py

.PHONY: golden
golden: .venv/.installed-dev ## write the goldens of all providers again
	$(BIN)/python scripts/provider_goldens.py

.PHONY: dashboards
dashboards: .venv/.installed-dev ## write Grafana's dashboards again
	$(BIN)/python -m scripts.dashboards

.PHONY: dashboards-test
dashboards-test: .venv/.installed-dev ## run every query of every dashboard and alert on a seeded ledger
	$(BIN)/pytest tests/unit/grafana tests/integration/ledger/test_ledger_dashboards.py \
		tests/integration/ledger/test_ledger_alert_rules.py

.PHONY: lint
lint: .venv/.installed-dev ## ruff, formatting and file sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/check_sizes.py

.PHONY: format
format: .venv/.installed-dev ## let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: typecheck
typecheck: .venv/.installed-dev ## pyright, strict
	$(BIN)/pyright

.PHONY: imports
imports: .venv/.installed-dev ## import-linter: arrows point one way
	$(BIN)/lint-imports

.PHONY: check
check: lint typecheck imports test ## all that CI runs

.PHONY: clean
clean: ## remove the environment and caches (never .keyrail)
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache
