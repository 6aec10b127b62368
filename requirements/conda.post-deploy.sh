#!/usr/bin/env bash
# Snakemake runs this in the working folder after it made the environment of conda.yaml; rules/common.smk sets RV1106_HOME.
set -euo pipefail
uv pip install --python "$CONDA_PREFIX/bin/python" --no-deps --require-hashes -r "$RV1106_HOME/requirements/py311.txt"
