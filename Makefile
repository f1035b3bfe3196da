# Two commands on a fresh machine (python3 3.11 to 3.13 with venv, and make): `make up` and `make test`.
# Works with GNU make 3.81 and in a folder whose name has spaces: every path here is relative.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
# Tests that start processes wait more than they compute, so they take more jobs than there are cores.
PROCESS_JOBS ?= 6
# Faults need their share of a processor: more jobs than this are slower than the deadlines.
THOROUGH_JOBS ?= 4
# uv installs in seconds; pip, which comes with every venv, does the same where there is no uv.
PIP_INSTALL = $(if $(shell command -v uv),uv pip install -q --compile-bytecode --python $(VENV)/bin/python,\
	$(VENV)/bin/python -m pip --disable-pip-version-check --no-input -qq install)

# Bytecode is kept: without it every process of a fleet compiles all that it imports, twice the work of a start.
unexport PYTHONDONTWRITEBYTECODE

# `make up REPLICAS=20` becomes `fleet up --replicas 20`. Only what stands on the command line counts: a PORT or
# DATA that happens to be in the environment is none of make's business (fleet reads its own variables itself).
given = $(if $(filter command,$(origin $(1))),$(2) "$($(1))")
UP_FLAGS = $(call given,CONFIG,--config) $(call given,REPLICAS,--replicas) $(call given,RATE,--rate) \
	$(call given,SEED,--seed) $(call given,PREFIX,--prefix) $(call given,DATA,--data) \
	$(call given,IDENTITIES,--identities) $(call given,FOR,--for) $(call given,START,--start) $(call given,RESUME,--resume) \
	$(call given,HOST,--host) $(call given,PORT,--port)

.PHONY: help up install test test-process test-thorough test-slow test-browser chaos soak fuzz check format bench image clean FORCE

help: ## list these targets
	@echo "usage: make TARGET [NAME=VALUE ...]"
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'
	@echo
	@echo "make up takes CONFIG REPLICAS RATE SEED PREFIX DATA IDENTITIES FOR START RESUME HOST PORT, and FLAGS=\"...\" for the"
	@echo "rest of what \`fleet up --help\` lists:    make up REPLICAS=20 RATE=5 FOR=30s"
	@echo "PYTHON=python3.12 chooses the interpreter that .venv is made with, VENV another folder for it."

up: $(VENV)/.run ## start a fleet; Ctrl-C ends it
	@exec "$(VENV)/bin/fleet" up $(UP_FLAGS) $(FLAGS)

install: $(VENV)/.test ## make .venv with the project in it and what the tests need
	@echo "installed: $(VENV)/bin/fleet"

test: $(VENV)/.test ## the in-process tests, in under two minutes (ARGS="-k name" to choose)
	@exec "$(VENV)/bin/python" -m pytest -n $(JOBS) $(ARGS)

test-process: $(VENV)/.test ## the tests that start fleets, servers and other processes; those that measure one at a time
	@"$(VENV)/bin/python" -m pytest -n $(PROCESS_JOBS) --dist worksteal -m "process and not (thorough or slow or timed)" $(ARGS)
	@$(if $(ARGS),true,exec "$(VENV)/bin/python" -m pytest -m timed)

test-thorough: $(VENV)/.test ## kills, hangs, broken disks, statistics of millions of readings
	@exec "$(VENV)/bin/python" -m pytest -n $(THOROUGH_JOBS) --dist worksteal -m "thorough and not (slow or timed)" $(ARGS)

test-slow: $(VENV)/.test ## the tests that measure, one at a time
	@exec "$(VENV)/bin/python" -m pytest -m slow $(ARGS)

test-browser: $(VENV)/.test ## the dashboard in chromium, where there is one
	@exec "$(VENV)/bin/python" -m pytest -m browser $(ARGS) tests/browser

chaos: $(VENV)/.test ## six minutes of faults on three fleets, and the proof that nothing was lost (SECONDS EACH KILLS SENSORS)
	@exec "$(VENV)/bin/python" -m tests.process.faults.chaos $(call given,SECONDS,--seconds) $(call given,EACH,--each) \
	    $(call given,KILLS,--kills) $(call given,SENSORS,--sensors) $(call given,SEED,--seed)

soak: $(VENV)/.test ## the same for MINUTES=30, with as many faults as come
	@exec "$(VENV)/bin/python" -m tests.process.faults.chaos --seconds $$(($(or $(MINUTES),30) * 60)) --each 0 --kills 0 \
	    $(call given,SENSORS,--sensors) $(call given,SEED,--seed)

fuzz: $(VENV)/.test ## the fuzz tests with many examples (FUZZ_EXAMPLES=1000)
	@FUZZ_EXAMPLES="$(or $(FUZZ_EXAMPLES),1000)" exec "$(VENV)/bin/python" -m pytest -n $(JOBS) -m "not slow" --timeout 3600 tests/fuzz

check: $(VENV)/.dev ## ruff, formatting, mypy
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/mypy"

format: $(VENV)/.dev ## put the code into the form that check wants
	"$(VENV)/bin/ruff" check --fix .
	"$(VENV)/bin/ruff" format .

bench: $(VENV)/.test ## the benchmarks (benchmarks/)
	@for bench in benchmarks/*.py; do \
	    echo "== $$bench" && "$(VENV)/bin/python" "$$bench" || exit 1; \
	done

image: ## build the container image and run it once (as root, on Debian: see scripts/build_image.sh)
	@exec bash scripts/build_image.sh

clean: ## remove the environment, caches and builds; data stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per layer of the environment: nothing is installed again until the pins change.
$(VENV)/.run: $(VENV)/.made pyproject.toml scripts/pins.py
	@echo "installing sensor-fleet and its dependencies ..."
	@"$(VENV)/bin/python" scripts/pins.py constraints > $(VENV)/constraints.txt
	@$(PIP_INSTALL) -c $(VENV)/constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "installing what the tests need ..."
	@"$(VENV)/bin/python" scripts/pins.py test > $(VENV)/test.txt
	@$(PIP_INSTALL) -c $(VENV)/constraints.txt -r $(VENV)/test.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@echo "installing the linters ..."
	@"$(VENV)/bin/python" scripts/pins.py dev > $(VENV)/dev.txt
	@$(PIP_INSTALL) -c $(VENV)/constraints.txt -r $(VENV)/dev.txt
	@touch $@

# The file holds the version that the environment was made with. Asking for another interpreter (PYTHON=...) makes
# it again; a plain `make` takes what is there.
$(VENV)/.made: $(if $(filter file,$(origin PYTHON)),,FORCE)
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	    echo "make: $(PYTHON) is not Python 3.11, 3.12 or 3.13; name one that is: make ... PYTHON=python3.12" >&2; \
	    exit 1; }
	@version="$$("$(PYTHON)" -c 'import sys; print(sys.version)')" && \
	[ "$$version" = "$$(cat $@ 2>/dev/null)" ] || { \
	    rm -rf "$(VENV)" && { "$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; exit 1; }; } && \
	    echo "$$version" > $@; }
