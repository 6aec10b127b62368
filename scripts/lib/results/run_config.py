"""The whole config of a run, as a step gets it: a file from DVC, or JSON text from Snakemake."""

import yaml

from lib.npu.boards import board_problem
from lib.step import yaml_text
from lib.step.errors import UserError
from lib.step.files import require


def read_config(given: str) -> dict:
    """A config from a YAML file, or from JSON text. Raises UserError when it is neither."""
    text = given if given.startswith("{") else require(given, "config").read_text(encoding="utf-8")
    try:
        config = yaml_text.load(text)
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict) or "sweep" not in config:
        raise UserError(f"--config {given[:80]} is not a complete config; give the file that the run was made with")
    if problem := board_problem(config):
        raise UserError(problem)
    return config
