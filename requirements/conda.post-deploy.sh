#!/usr/bin/env bash
# Snakemake runs this from the project's folder after it made the environment of conda.yaml.
set -euo pipefail
uv pip install --python "$CONDA_PREFIX/bin/python" --no-deps --require-hashes -r requirements/py311.txt
