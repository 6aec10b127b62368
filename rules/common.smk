"""The checked config, and what all rules share: the paths of results, and the source files of each step."""

import inspect
import json
import math
import os
import re
import sys
from pathlib import Path

import yaml
from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import min_version, validate

min_version("7.32")

# This workflow's folder. Results go to the working folder, which may be another one (`-s`, `--directory`, `module`).
HOME = Path(inspect.currentframe().f_code.co_filename).resolve().parent.parent
sys.path.insert(0, str(HOME / "scripts"))


def end(message: str):
    """End Snakemake with only this message; a WorkflowError would add lines about this file."""
    logger.error(message)
    sys.exit(1)


if not (HOME / "scripts" / "lib").is_dir():
    end(f"{HOME} has no scripts/lib; clone this workflow and name the Snakefile of the clone")
import lib

if Path(lib.__path__[0]).resolve() != HOME / "scripts" / "lib":
    end(f"another package is called 'lib', like this workflow's own: {lib.__path__[0]}; rename it")

from lib.data.config_files import (
    dataset_sources,
    has_parts,
    local_files,
    model_sources,
    own_dataset,
    with_files_found,
)
from lib.data.preview import looked_at
from lib.data.published import with_published
from lib.detector.head import CLASSIFY, SINGLE, TASK_OF_SINGLE
from lib.npu.algorithms import OF_TOOLKIT, RANGED
from lib.npu.boards import with_board
from lib.results.config_problems import (
    checkpoint_problems,
    export_problems,
    keypoint_problems,
    names_problems,
    problems,
    toolkit_problems,
)
from lib.results.sweep import analysed, built, studied, variants
from lib.results.taken_away import damaged
from lib.step.console import QUIET
from lib.step.errors import UserError
from lib.step.step_sources import step_sources
from lib.step.watch import asks_for_chatter, is_old, watch
from lib.step.workflow import (
    beside,
    checked_config,
    judge_behind_ancient,
    look_at_memory_less_often,
    options,
    plan_without_timers,
    refuse,
    sole_run,
)

# As in DVC's stages, the commands call `python`; it is the one that runs Snakemake. It uses UTF-8, whatever the locale,
# because otherwise torch cannot open a path with letters that are not ASCII.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]), PYTHONUTF8="1"
)

# The terminal shows the progress and the errors; Snakemake's lines about jobs and the steps' own lines are in logs. If
# this workflow is used as a module, the terminal is not changed.
IS_MODULE = Path(workflow.main_snakefile).resolve().parent != HOME
FOLLOWED, BEGIN = watch(logger, IS_MODULE or asks_for_chatter(logger, workflow))
if FOLLOWED.terminal:
    os.environ[QUIET] = "1"

# Used only with `--sdm conda`; by default the rules run in the environment that runs Snakemake.
ENVIRONMENT = "../requirements/conda.yaml"
os.environ.update(RV1106_HOME=str(HOME))

judge_behind_ancient(DAG)

if not os.access(Path.cwd(), os.W_OK):
    end(
        f"{Path.cwd()} is read-only, but results are written to the working folder; name another: --directory FOLDER"
    )

SCHEMA = HOME / "config" / "schema.yaml"
DEFAULTS = HOME / "config" / "config.yaml"
# By libyaml, which most installations of PyYAML have: otherwise this takes longer than all rules.
schema = yaml.load(SCHEMA.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
# Read from there, not from the modules that implement them, which are slow to import.
HEADS, ALGORITHMS = (
    schema["properties"]["sweep"]["properties"][key]["items"]["enum"] for key in ("head", "algorithm")
)

# In the order in which they are laid over each other: Snakemake lists the Snakefile's own after the command line's.
LAST_FILES = list(map(Path, workflow.overwrite_configfiles))
CONFIG_FILES = [
    DEFAULTS,
    *(path for path in map(Path, workflow.configfiles) if path not in LAST_FILES),
    *LAST_FILES,
]


def tidied(merged: dict) -> dict:
    """The config with the values for a board's and published models' names, and with keys of only one data set."""
    layers = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in CONFIG_FILES]
    layers = [layer for layer in layers if isinstance(layer, dict)]
    return with_published(with_board(own_dataset(merged, layers), layers))


try:
    config = checked_config(config, CONFIG_FILES[1:], DEFAULTS, schema, problems, tidied)
    validate(config, str(SCHEMA), set_default=False)
    # For the report, so that the paths in it mean the same in another folder.
    CONFIG_AS_GIVEN = json.dumps(config, sort_keys=True)
    config = with_files_found(config, HOME)
    refuse(toolkit_problems(config) + export_problems(config) + checkpoint_problems(config))
    NAMES, DATASET_FILES, KEYPOINTS = looked_at(config)
    refuse(names_problems(config, NAMES) + keypoint_problems(config, KEYPOINTS))
except UserError as error:
    end(str(error))
except OSError as error:  # a name of 3000 letters, a folder without read permission
    end(f"a file that the config names: {error.strerror}: {str(error.filename)[:100]}")

# Parts of paths that distinguish files: a model at one size, its graph with one head, that graph quantized; a
# calibration set.
SIZE = "{model}/{imgsz}"
GRAPH = "{model}/{imgsz}/{head}"
VARIANT = "{model}/{imgsz}/{head}/{algorithm}-{max_images}"
SAMPLE = "{imgsz}/{max_images}"


def results(*parts: str) -> str:
    """A path below this run's folder."""
    return str(Path("results", config["run"], *parts))


def logs(*parts: str) -> str:
    """The log of a rule: first its name, then what distinguishes its jobs."""
    return f"{results('logs', *parts)}.log"


def benchmarks(*parts: str) -> str:
    """The file for time and memory of a rule's jobs; named like its log."""
    return f"{results('benchmarks', *parts)}.tsv"


def of_workflow(path: str):
    """A file of this workflow; by a relative path if run in its own folder, so that folder and results can be moved."""
    return local(path if Path.cwd() == HOME else str(HOME / path))


def step(name: str) -> list[str]:
    """The source files of a step, the command first, so that a changed file makes only its steps run again."""
    return [of_workflow(path) for path in step_sources(name, HOME)]


if DAMAGED := damaged(Path(results())):
    end("\n".join(DAMAGED))

# Held while this process lives; profiles/default switches off Snakemake's own lock, which would be left after a crash.
RUNNING = []


def keep_others_out():
    """End Snakemake when another run works in the same results folder."""
    try:
        RUNNING.append(sole_run(Path(results()), logger.warning))
    except UserError as error:
        end(str(error))


def show_failures():
    """End Snakemake with the error messages of the failed steps."""
    FOLLOWED.close()
    if FOLLOWED.terminal and is_old(logger):
        logger.error(FOLLOWED.failures())  # nothing of Snakemake's own follows
    elif FOLLOWED.terminal:
        end(FOLLOWED.failures())


def show_results():
    """Print the results of the run, and what to do next."""
    FOLLOWED.close()
    # Imported here: pandas takes a second, and each start of Snakemake would wait for it.
    from lib.results.closing import closing

    for line in closing(Path(results()), config, FOLLOWED.rules, sys.argv[1:]):
        print(line, flush=True)


# Variants outside the sweep that `collect: all` keeps in table and report.
ALSO = built(Path(results()), config["sweep"], config["models"]) if config["collect"] == "all" else []
ALSO_OPTION = ["--also", *(variant.path().as_posix() for variant in ALSO)] if ALSO else []


def collected(pattern: str) -> list[str]:
    """A file of each variant that is in table and report."""
    paths = expand(pattern, **config["sweep"])
    for variant in ALSO:
        paths += expand(pattern, **variant.to_json())
    return list(dict.fromkeys(paths))


def every_core(wildcards) -> int:
    """As many processes as there are cores."""
    try:
        return workflow.cores
    except WorkflowError:
        return 1  # on a cluster nobody says how many there are; --set-threads does


def cores_a_variant(wildcards) -> int:
    """Number of processes that detect with one model: its share of the cores; in a large sweep one process each.

    A process beyond the first waits while the first one imports the toolkit and builds the model.
    """
    return max(1, every_core(wildcards) // math.prod(map(len, config["sweep"].values())))


def ranges_of_single(wildcards) -> list[str]:
    """The ranges of the head `single`, for other heads: its graph often has all of their tensors.

    Those that are there count even if `single` is no longer in the sweep, so that a smaller sweep runs nothing again.
    """
    if wildcards.head == SINGLE or config["task"] != TASK_OF_SINGLE:
        return []
    [path] = expand(rules.measure_ranges.output.ranges, **{**wildcards, "head": SINGLE})
    swept = all(getattr(wildcards, key) in map(str, config["sweep"][key]) for key in ("model", "imgsz"))
    return [path] if (swept and SINGLE in config["sweep"]["head"]) or Path(path).exists() else []


def measured(wildcards) -> list[str]:
    """The ranges of a variant's graph, for an algorithm that is built from them.

    As an input they are `ancient`: the step could measure them itself, from its other inputs. So it does not run again
    where a further head in the sweep makes another table the source of the same ranges.
    """
    return expand(rules.measure_ranges.output.ranges, **wildcards) if wildcards.algorithm in RANGED else []


def ranges_option(wildcards, input) -> list[str]:
    """The option that names the ranges in a rule's input, if it has any."""
    return ["--ranges", *input.ranges] if input.ranges else []


def layers_asked_for() -> list[str]:
    """The per-layer analyses of those variants that `layers` names."""
    if others := beside(config["layers"], config["sweep"]):
        listed = "; ".join(f"{name} {', '.join(values)}" for name, values in others.items())
        logger.warning(f"layers: not in the sweep, so not analysed: {listed}")
    asked = analysed([*variants(**config["sweep"]), *ALSO], config["layers"])
    return [path for variant in asked for path in expand(rules.analyse_layers.output, **variant.to_json())]


# Parameters that the rules for detection, and those for evaluation, share.
DETECTION = {
    "part": config["evaluation"]["images"],
    "folder": lambda w, input: str(Path(input.split).parent),
}
EVALUATION = {
    "resamples": config["evaluation"]["resamples"],
    "seed": config["evaluation"]["seed"],
    "oks_sigmas": config["evaluation"]["oks_sigmas"],
    "operating": config["evaluation"]["operating"],
    "folder": lambda w, input: str(Path(input.labels).parent),
}
