"""The config, checked, and what all rules share: where results go and which files a step is made of."""

import json
import math
import re
import shlex
import site
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import min_version, validate

min_version("7.32")
site.addsitedir(str(Path(workflow.basedir, "scripts")))

from lib.results.config_problems import problems
from lib.step.config import with_numbers
from lib.detector.head import HEADS
from lib.data.sources import is_url
from lib.step.step_sources import step_sources
from lib.npu.toolkit import ALGORITHMS

# The commands say `python`, as DVC's stages do; it is the one that runs Snakemake.
shell.prefix(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; ")

# Read by `--sdm conda` alone; by default the rules run in the environment that runs Snakemake.
ENVIRONMENT = "../requirements/conda.yaml"

SCHEMA = Path(workflow.basedir, "config/schema.yaml")


def checked(config: dict) -> dict:
    """The config with numbers as numbers, validated. Raises WorkflowError with one sentence a problem."""
    schema = yaml.safe_load(SCHEMA.read_text())
    config = with_numbers(config, schema)
    if found := problems(config, schema):
        raise WorkflowError("the config is not usable:", *(f"  {each}" for each in found))
    validate(config, str(SCHEMA), set_default=False)
    return config


config = checked(config)


def results(path: str) -> str:
    """A path below this run's folder."""
    return f"results/{config['run']}/{path}"


def step(name: str) -> list[str]:
    """The files a step is made of, so that a changed script runs again and nothing else does."""
    return step_sources(name, Path(workflow.basedir))


def local_files(sources: list[str]) -> list[str]:
    """Those of several sources that are here or made by a rule: their changes count."""
    return [
        source
        for source in sources
        if not is_url(source) and (source == results("drawn") or Path(source).expanduser().exists())
    ]


def cores_a_variant(wildcards) -> int:
    """Processes that detect with one model: its share of the cores, so that one process each runs a large sweep.

    A process beyond the first waits while the first one imports the toolkit and builds the model.
    """
    variants = math.prod(map(len, config["sweep"].values()))
    return max(1, workflow.cores // variants)


def model_options(name: str) -> list[str]:
    """A model's entry in the config as options of download_weights.py: they are called as its keys."""
    words = []
    for key, value in config["models"][name].items():
        if value is not None:
            words += [f"--{key}", *([value] if isinstance(value, str) else value)]
    return words


def model_sources(name: str) -> list[str]:
    """Where a model's files come from."""
    entry = config["models"][name]
    names = entry.get("names", [])
    return [*entry["weights"], *entry.get("cfg", []), *([names] if isinstance(names, str) else [])]


def layers_asked_for() -> list[str]:
    """The per-layer analyses of those variants of the sweep that `layers` names."""
    asked = {name: [str(value) for value in values] for name, values in config["layers"].items()}
    swept = {name: [str(value) for value in values] for name, values in config["sweep"].items()}
    for name, values in asked.items():
        if beside := [value for value in values if value not in swept[name]]:
            logger.warning(f"layers.{name}: not in the sweep, so not analysed: {', '.join(beside)}")
    both = {name: [value for value in values if value in asked[name]] for name, values in swept.items()}
    return expand(rules.analyse_layers.output, **both)


# What the rules that detect, and those that evaluate, have in common.
DETECTION = {
    "images": config["evaluation"]["images"],
    "names": config["dataset"]["names"],
    "folder": lambda w, input: str(Path(input.split).parent),
}
EVALUATION = {
    "resamples": config["evaluation"]["resamples"],
    "seed": config["evaluation"]["seed"],
    "names": config["dataset"]["names"],
    "folder": lambda w, input: str(Path(input.labels).parent),
}
