"""The config, checked, and what all rules share: where results go and which files a step is made of."""

import fcntl
import inspect
import json
import math
import os
import re
import socket
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import min_version, update_config, validate

min_version("7.32")

# This workflow's folder. Results go to the working folder, which may be another one (`-s`, `--directory`, `module`).
HOME = Path(inspect.currentframe().f_code.co_filename).resolve().parent.parent
sys.path.insert(0, str(HOME / "scripts"))


def end(*lines: str):
    """End Snakemake with a message and nothing else: a WorkflowError would add lines of Python's about this file."""
    logger.error("\n".join(lines))
    sys.exit(1)


if not (HOME / "scripts" / "lib").is_dir():
    end(f"{HOME} holds no scripts/lib; clone this workflow and name the Snakefile of the clone")
import lib

if Path(lib.__path__[0]).resolve() != HOME / "scripts" / "lib":
    end(f"another package is called 'lib', as this workflow's own is: {lib.__path__[0]}; rename it")

from lib.results.config_problems import problems
from lib.step.config import repeated_keys, with_numbers
from lib.detector.head import HEADS
from lib.data.sources import DRAWN, is_url
from lib.step.step_sources import step_sources
from lib.npu.toolkit import ALGORITHMS

# Held while this process lives, whatever ends it; profiles/default switches Snakemake's own lock off, which stays behind.
RUNNING = []


def keep_others_out():
    """End Snakemake when another run works in the same results folder on this machine, or on one that shares its disk."""
    path = Path(results(".running"))
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        end(
            f"another run works in {path.parent}: {file.read().strip()}; wait for its end, or choose another `run`"
        )
    except OSError as error:
        logger.warning(
            f"{path.parent}: its disk keeps no locks ({error}), so a second run in it would not be noticed"
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    RUNNING.append(file)


# The commands say `python`, as DVC's stages do; it is the one that runs Snakemake. In UTF-8, since torch can open a path
# with other letters than ASCII's in no other encoding, whatever the locale.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]), PYTHONUTF8="1"
)

# Read by `--sdm conda` alone; by default the rules run in the environment that runs Snakemake.
ENVIRONMENT = "../requirements/conda.yaml"
os.environ.update(RV1106_HOME=str(HOME))

SCHEMA = HOME / "config" / "schema.yaml"
DEFAULTS = HOME / "config" / "config.yaml"


def checked(given: dict) -> dict:
    """This workflow's config with `given` laid over it, numbers as numbers, validated. Ends with a sentence a problem."""
    if found := [each for path in {*map(str, workflow.configfiles)} for each in repeated_keys(Path(path))]:
        end("the config is not usable:", *(f"  {each}" for each in sorted(found)))
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    config = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
    update_config(config, given)
    config = with_numbers(config, schema)
    if found := problems(config, schema):
        end("the config is not usable:", *(f"  {each}" for each in found))
    validate(config, str(SCHEMA), set_default=False)
    return config


def of_workflow(path: str):
    """A file of this workflow; in its own folder by a relative path, so that folder and results can move together."""
    return local(path if Path.cwd() == HOME else str(HOME / path))


def located(path: str) -> str:
    """A path of the config as it is, or, where only this workflow's folder holds it, that one (config/coco.names)."""
    return path if Path(path).expanduser().exists() or not (HOME / path).exists() else str(HOME / path)


def with_files_found(config: dict) -> dict:
    """The config with each path that it names as `located` gives it."""
    config = json.loads(json.dumps(config))
    for block in (config["dataset"], *config["models"].values()):
        for key in {"archive", "weights", "cfg"} & block.keys():
            block[key] = [
                source if is_url(source) or source == DRAWN else located(source) for source in block[key]
            ]
        if isinstance(block.get("names"), str):
            block["names"] = located(block["names"])
            if not Path(block["names"]).is_file():
                end(
                    f"the config is not usable:\n  names: there is no file {block['names']}; name one, or give a list"
                )
    config["verdict"]["measured"] = located(config["verdict"]["measured"])
    return config


config = checked(config)
# For the report: the paths in it mean the same in another folder.
CONFIG_AS_GIVEN = json.dumps(config, sort_keys=True)
config = with_files_found(config)


def results(path: str) -> str:
    """A path below this run's folder."""
    return f"results/{config['run']}/{path}"


def step(name: str) -> list[str]:
    """The files a step is made of, the command first; a changed one runs again and nothing else does."""
    return [of_workflow(path) for path in step_sources(name, HOME)]


def local_files(sources: list[str]) -> list[str]:
    """Those of several sources that are here or made by a rule: their changes count."""
    drawn = results("drawn")
    paths = [drawn if source == DRAWN else source for source in sources if not is_url(source)]
    return [path for path in paths if path == drawn or Path(path).expanduser().exists()]


def cores_a_variant(wildcards) -> int:
    """Processes that detect with one model: its share of the cores, so that one process each runs a large sweep.

    A process beyond the first waits while the first one imports the toolkit and builds the model.
    """
    variants = math.prod(map(len, config["sweep"].values()))
    try:
        return max(1, workflow.cores // variants)
    except WorkflowError:
        return 1  # on a cluster nobody says how many cores there are; --set-threads does


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
