# What a user types. Needs Linux, Python 3.11 or newer with venv, git, make and a package index.
# Variables: PYTHON (interpreter for .venv), JOBS, ENGINE and OUTPUT (for `make demo`), PYTEST_ARGS, CHAOS_ARGS, BENCH_ARGS.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env swebench demo test chaos lint format lock bench bench-dataset bench-graph bench-images bench-overhead bench-report bench-watch pictures clean

BIN := $(CURDIR)/.venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ENV := .venv/.installed
UV := UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true $(BIN)/uv pip install --quiet --python .venv-swebench/bin/python
SWEBENCH := --require-hashes -r tests/requirements-swebench.txt
SWEBENCH4 := --require-hashes --no-deps --target .venv-swebench/swebench4 -r tests/requirements-swebench4.txt
BUNDLE := trajmake/agents/openhands
JOBS ?= 4
OUTPUT ?= outputs
REPORT := $(OUTPUT)/results/demo/report.html
PAGES := $(OUTPUT)/results/demo/html
PYTEST_ARGS ?=
CHAOS_ARGS ?=
BENCH_ARGS ?=
# By another name, because `make -n` would run a line that holds MAKE itself.
REMAKE := $(MAKE) --no-print-directory

# Snakemake starts `python` and `bash` by name, and would cache sources in the user's home.
# It also wants to know the user's name, which a bare user id does not have.
RUN := PATH="$(BIN):$$PATH" XDG_CACHE_HOME="$(CURDIR)/.cache" LOGNAME="$${LOGNAME:-$$(id -un 2>/dev/null || id -u)}"
SNAKEMAKE := $(RUN) $(BIN)/snakemake
CONFIG := $(if $(ENGINE),engine=$(ENGINE)) $(if $(filter-out outputs,$(OUTPUT)),output_dir=$(OUTPUT))
OVERRIDES := $(if $(strip $(CONFIG)),--config $(CONFIG))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(ENV) ## create .venv from requirements.lock

.venv/.locked: requirements.lock
	@python="$(PYTHON)"; \
	for candidate in $${python:-python3.13 python3.12 python3.11 python3}; do \
	  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python="$$candidate"; found=yes; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "No Python 3.11 or newer with venv found$${python:+ (tried PYTHON=$$python)}." >&2; \
	  echo "Hint: install one (Debian: python3 and python3-venv) or name it: make env PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	echo "Creating .venv with $$("$$python" --version) ($$python)"; \
	"$$python" -m venv --clear .venv
	@# The build back-end first: a package without a wheel would otherwise fetch one unhashed.
	@sed -n '/^setuptools==/,/^ *#/p' requirements.lock > .venv/build-requirements.txt
	$(PIP) --require-hashes -r .venv/build-requirements.txt
	$(PIP) --require-hashes --no-build-isolation -r requirements.lock
	touch $@

$(ENV): .venv/.locked pyproject.toml
	$(PIP) --no-deps --no-build-isolation --editable .
	@# Without byte code every start of Snakemake costs a second more. Templates among the packages do not compile.
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null || true
	touch $@

# uv, because pip takes a minute. Version 4, of which the tables alone are wanted, shares the packages of version 5.
swebench: $(ENV) ## create .venv-swebench, with whose graders the tests compare ours (SWEBENCH_PYTHON)
	$(BIN)/python -m venv --clear --without-pip .venv-swebench
	@# uv does not know what pip is told of indexes and certificates.
	$(UV) --no-config $(SWEBENCH) || $(PIP:install=--python .venv-swebench/bin/python install) $(SWEBENCH)
	$(UV) --no-config $(SWEBENCH4) || $(PIP:install=--python .venv-swebench/bin/python install) $(SWEBENCH4)
	@# As ours is, since benches compare the two.
	@$(BIN)/python -m compileall -q -j 0 .venv-swebench >/dev/null || true

demo: $(ENV) ## run the demo: prepare the instances, run, print the report
	$(RUN) $(BIN)/python -m trajmake.demo --destination demo/data $(if $(ENGINE),--engine $(ENGINE))
	@status=0; \
	echo snakemake -j $(JOBS) --profile hybrid $(OVERRIDES); \
	$(SNAKEMAKE) -j $(JOBS) --profile hybrid $(OVERRIDES) || status=$$?; \
	if [ -e $(OUTPUT)/results/demo/final_report.txt ]; then \
	  $(REMAKE) $(REPORT) || status=$$?; \
	  cat $(OUTPUT)/results/demo/final_report.txt; \
	  echo "Session:     $(CURDIR)/$(PAGES)/index.html"; \
	  echo "In one file: $(CURDIR)/$(PAGES)/session.html"; \
	  echo "HTML report: $(CURDIR)/$(REPORT)"; \
	fi; \
	exit $$status

# Made after the run, and again only when its numbers are newer.
$(REPORT): $(OUTPUT)/results/demo/results.csv $(OUTPUT)/results/demo/final_report.txt $(wildcard $(PAGES)/session.html)
	$(SNAKEMAKE) --profile hybrid $(OVERRIDES) --report $@

test: lint ## lint, then run every test
	$(RUN) $(BIN)/python -m pytest $(PYTEST_ARGS)

chaos: $(ENV) ## kill a session 50 times and compare it with an undisturbed one (CHAOS_ARGS; root, dockerd)
	$(RUN) $(BIN)/python tests/chaos.py $(CHAOS_ARGS)

lint: $(ENV) ## check style, types and workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(SNAKEMAKE) --lint

format: $(ENV) ## put the sources into their house style
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

lock: $(ENV) ## resolve all locked requirements anew
	$(COMPILE) --extra dev --extra cluster --upgrade -o requirements.lock pyproject.toml
	echo 'swebench==5.0.2' | $(COMPILE) --no-annotate --upgrade -o tests/requirements-swebench.txt -
	echo 'swebench==4.1.0' | $(COMPILE) --no-annotate --no-deps -o tests/requirements-swebench4.txt -
	$(BIN)/uv pip compile --quiet --no-config --python-platform linux --python-version 3.12 --generate-hashes --upgrade \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --override $(BUNDLE)/unneeded.txt \
	  -o $(BUNDLE)/requirements.txt $(BUNDLE)/requirements.in

bench: demo ## measure everything (after `make swebench`), write bench/results.json and docs/performance.md (BENCH_ARGS)
	$(RUN) $(BIN)/python bench/all.py $(BENCH_ARGS)

bench-dataset: $(ENV) ## measure what a dataset of 20,000 rows and 2 GB adds to a dry run
	$(RUN) $(BIN)/python bench/dataset_index.py

bench-graph: $(ENV) ## measure dry runs of 300 and 3,000 runs against a bare Snakefile of the same shape
	$(RUN) $(BIN)/python bench/graph.py

bench-images: $(ENV) ## measure S3 to runnable image against downloading the file and `docker load`
	$(RUN) $(BIN)/python bench/images.py
	$(RUN) $(BIN)/python bench/images.py --mbit 1000

bench-overhead: $(ENV) ## measure what a run costs beside the model and the tests, which do nothing
	$(RUN) $(BIN)/python bench/overhead.py

bench-report: $(ENV) ## measure the pages and the reports of 300 runs made of the demo's (after `make demo`)
	$(RUN) $(BIN)/python bench/report.py .

bench-watch: $(ENV) ## measure what `trajmake watch` costs, for 300 and for 4 x 2,300 runs
	$(RUN) $(BIN)/python bench/watch.py
	$(RUN) $(BIN)/python bench/watch.py --instances 2300 --models 4

PICTURES := report demo-fixer-Python-Markdown__markdown-3.6-f serve-picture
pictures: $(ENV) ## draw the README's pictures anew: screenshots of the tests (Chromium)
	mkdir -p .cache/pictures docs/pictures
	TRAJMAKE_PICTURES=$(CURDIR)/.cache/pictures $(RUN) $(BIN)/python -m pytest -q tests/test_html_report.py tests/test_serve.py \
	  tests/test_trajectory_pages.py -k "leads_from_the_table or session_leaves or picture_is_live"
	set -- report run live; for made in $(PICTURES); do cp .cache/pictures/$$made.png docs/pictures/$$1.png && shift; done

clean: ## remove the environments and the tools' caches; never outputs, which cost money
	rm -rf .venv .venv-swebench .cache .mypy_cache .ruff_cache .pytest_cache trajmake.egg-info
