# WebXen's front door. `make` alone lists what there is.
# What each target installs, and how, stands in .ci/install; the gates in .ci/gates.py.

.DEFAULT_GOAL := help
.PHONY: help install up down test lab-test check chaos requirements attacks model bench format clean placement

PYTHON := .venv/bin/python

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## install everything that development needs
	@.ci/install python-dev node tests lab

up: ## boot the Xen lab and start WebXen (DOM0=fake: the stand-in xl; HOSTS=2; PORT=8000)
	@.ci/install python $(if $(filter fake,$(DOM0)),,lab)
	@exec $(PYTHON) -m devtools.lab.portal up

down: ## stop what `make up` started; machines keep their disks
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) -m devtools.lab.portal down; else echo "Nothing is installed, so nothing runs."; fi

test: ## run every test that needs no lab, PostgreSQL included
	@.ci/install python-dev tests
	@exec $(PYTHON) .ci/gates.py test

lab-test: ## run the tests against real Xen, booting the lab if it is not up (HOSTS=2: moves, too)
	@.ci/install python-dev tests lab
	@exec $(PYTHON) -m pytest --lab -p no:randomly tests/lab tests/contract tests/browser/test_story.py \
	  $(if $(filter 2,$(HOSTS)),,--ignore=tests/lab/test_shared.py --ignore=tests/lab/test_move.py --ignore=tests/lab/test_portal.py --ignore=tests/lab/test_cold.py)

check: ## everything that CI asks: format, lint, types, walls, house rules, front end, then make test
	@.ci/install python-dev node tests
	@exec $(PYTHON) .ci/gates.py check

chaos: ## do harm to the whole product and see what holds; long (CHAOS="--rounds 1 --position-rounds 1", "--only moves --rounds 20")
	@.ci/install python-dev tests
	@exec $(PYTHON) -m tests.chaos $(CHAOS)

requirements: ## write packaging/requirements-worker.txt anew from uv.lock
	@exec $(PYTHON) packaging/worker_requirements.py

attacks: ## try every attack of docs/faults.md and print what answered
	@.ci/install python-dev tests
	@exec $(PYTHON) -m tests.chaos.attacks

model: ## long campaigns over the model, its mutants and the API's document; minutes (MODEL="-k mutants")
	@.ci/install python-dev tests
	@exec $(PYTHON) -m pytest --model -n 2 --dist worksteal tests/model tests/api/test_schemathesis.py \
	  tests/approvals/test_fuzz_credentials.py tests/console/test_fuzz_frames.py $(MODEL)

placement: ## place, balance and count room beside Ganeti's htools; long (HOSTS=20,200,1000)
	@.ci/install python-dev bench
	@exec $(PYTHON) -m tests.bench.placement --hosts $(or $(HOSTS),20,200,1000)

bench: ## run the benchmarks and print a table
	@.ci/install python-dev tests
	@exec $(PYTHON) -m tests.bench

format: ## put Python, templates and the front end into their format
	@.ci/install python-dev node
	@exec $(PYTHON) .ci/gates.py format

clean: ## remove what was built (not .webxen, where your machines are)
	rm -rf .venv node_modules frontend/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
