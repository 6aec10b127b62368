# `make help` lists the targets.
PYTHON ?= python3
# Without Ultralytics and torch: make setup LIGHT=1
LIGHT ?=
IS_LIGHT := $(filter-out 0 no false,$(LIGHT))
# A further version of rknn-toolkit2, beside the environment: make toolkit VERSION=2.2.0
VERSION ?=
READY := .venv/.ready-$(if $(IS_LIGHT),light-)$(shell cat requirements/*.txt | sha256sum | cut -c1-12)
DOCS_READY := .venv-docs/.ready-$(shell cat requirements/docs.txt requirements/uv.txt | sha256sum | cut -c1-12)
BIN := .venv/bin
# The columns of a table.md that fit into a terminal.
SHOWN := model|imgsz|head|max_images|map50_95_(fp32|int8)|retention|rknn_mb|verdict|ms_(low|high)
SOME_COLUMNS := awk -F'|' 'NR == 1 { for (i = 2; i < NF; i++) if ($$i ~ /^ *($(SHOWN)) *$$/) shown[++n] = i } \
	{ row = "|"; for (k = 1; k <= n; k++) row = row $$shown[k] "|"; print row }'
LOCK := uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup slurm toolkit demo demo-tasks test lint format docs lock screenshot clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/'

setup: $(READY)  ## build the environment in .venv from the lock; LIGHT=1: without Ultralytics and torch

$(READY):
	$(PYTHON) scripts/set_up.py $(if $(IS_LIGHT),--light)
	touch $@

slurm: setup  ## add Snakemake's executor for a Slurm cluster to the environment
	uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/slurm.txt

toolkit: setup  ## add another version of rknn-toolkit2 beside the environment: make toolkit VERSION=2.2.0
	$(BIN)/python scripts/set_up.py --toolkit '$(VERSION)'

demo: setup  ## run the bundled example, print some columns of its table, make its report
	snakemake --cores all --configfile config/demo.yaml
	@echo; $(SOME_COLUMNS) results/demo/table.md; echo; echo 'report, to open in a browser: results/demo/report.html'

demo-tasks: setup  ## the same for keypoints, masks and oriented boxes, one run per task
	for task in pose segment obb; do \
		snakemake --cores all --configfile config/demo_tasks.yaml \
			--config task=$$task run=demo-$$task sweep="{model: [parts4-$$task]}" || exit 1; \
	done
	@for task in pose segment obb; do \
		echo; $(SOME_COLUMNS) results/demo-$$task/table.md; \
		echo; echo "report, to open in a browser: results/demo-$$task/report.html"; \
	done

test: setup  ## run linters and all tests
	$(MAKE) --no-print-directory lint
	@# Each file runs in one process, so that what its tests share is made once; conftest.py orders the files.
	pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

format: setup  ## format Python and Snakemake files
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules

docs: $(DOCS_READY)  ## build the documentation into site/; a broken link fails
	@# Without --quiet, because --strict counts only warnings that are shown.
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo 'documentation, to open in a browser: site/index.html'

$(DOCS_READY):
	$(PYTHON) scripts/set_up.py --docs
	touch $@

lock: setup  ## resolve pyproject.toml into requirements/ again
	@# aarch64 gets the versions of x86-64.
	for version in 3.10 3.11 3.12; do \
		lock=requirements/py$$(echo $$version | tr -d .); \
		project="pyproject.toml --group dev --python-version $$version"; \
		$(LOCK) $$project --python-platform x86_64-manylinux_2_28 --output-file $$lock.txt && \
		$(LOCK) $$project --python-platform aarch64-manylinux_2_28 --constraints $$lock.txt \
			--output-file $$lock-aarch64.txt || exit 1; \
	done
	$(LOCK) --no-deps --group slurm --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--output-file requirements/slurm.txt
	for version in 2.2.0 2.3.0 2.5.0; do \
		echo "rknn-toolkit2==$$version" | $(LOCK) --no-deps --python-version 3.11 - \
			--output-file requirements/toolkits/$$version.txt || exit 1; \
	done
	$(LOCK) --group docs --universal --python-version 3.10 --output-file requirements/docs.txt

screenshot: demo  ## make docs/report.png from the bundled example (needs Chromium)
	chromium --headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars --window-size=1280,1500 \
		--user-data-dir=$$(mktemp -d) --screenshot=docs/report.png file://$(CURDIR)/results/demo/report.html

clean:  ## remove the environments, the documentation and all results
	rm -rf .venv .venv-docs .toolkits site results .snakemake
