"""A model's files as download_weights.py writes them: FOLDER/NAME with one suffix each; NAME is also the folder's name.

NAME.pt, or NAME.weights and NAME.cfg, or NAME-SIZE.onnx for each export; and NAME.json with the model's settings in the
config, where there are some.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.step.errors import UserError
from lib.step.files import read_text, require
from lib.step.outputs import entries
from lib.step.typed_json import JsonRecord

CHECKPOINT, WEIGHTS, CFG, NAMES, ONNX, SETTINGS = ".pt", ".weights", ".cfg", ".names", ".onnx", ".json"


@dataclass(frozen=True)
class ModelSettings(JsonRecord):
    """What the config says about a model besides its files.

    input: fields of an InputForm. anchors: as lib.graph.anchor_option writes them to an ONNX's metadata.
    """

    input: dict[str, Any]
    anchors: str | None = None


def settings_of(folder: Path) -> ModelSettings:
    """The settings of the model in `folder`; empty where there are none. Raises UserError for a damaged file."""
    path = inside(folder, folder.name, SETTINGS)
    return ModelSettings.read(path) if path.exists() else ModelSettings(input={})


def inside(folder: Path, name: str, suffix: str) -> Path:
    """The path of the model `name`'s file with that suffix."""
    return folder / f"{name}{suffix}"


def model_files(folder: Path) -> list[Path]:
    """All files of a model, sorted. Raises UserError when the folder is missing."""
    # Snakemake leaves a hidden file in each folder that a rule makes.
    return sorted(path for path in require(folder, "weights").iterdir() if path.name[0] != ".")


def has_cfg(folder: Path) -> bool:
    """Whether the folder holds a .cfg with its .weights rather than a checkpoint."""
    return inside(folder, folder.name, CFG).exists()


def export_of_size(folder: Path, name: str, size: str) -> Path:
    """The path of the model `name`'s export of a size, or `dynamic`."""
    return inside(folder, name, f"-{size}{ONNX}")


def exports(folder: Path) -> dict[str, Path]:
    """The exported files in the folder by their size; empty for a model of another kind."""
    start = f"{folder.name}-"
    files = sorted(path for path in folder.iterdir() if path.name.startswith(start) and path.suffix == ONNX)
    return {path.stem.removeprefix(start): path for path in files}


def expected_sha256(checkpoint: Path) -> str:
    """The checksum in CHECKPOINT.sha256, a line as sha256sum prints. Raises UserError when it is missing or empty."""
    path = require(f"{checkpoint}.sha256", "checksum file")
    if not (words := read_text(path).split()):
        raise UserError(f"{path} is empty; a line as `sha256sum {checkpoint.name}` prints it is expected")
    return words[0]


def is_downloaded(folder: Path) -> bool:
    """Whether `folder` holds a model's files as download_weights.py writes them, and nothing else."""
    suffixes = {name.removeprefix(folder.name) for name in entries(folder)} - {SETTINGS}
    checkpoint = {CHECKPOINT, f"{CHECKPOINT}.sha256"}
    if suffixes and all(re.fullmatch(rf"-(dynamic|\d+(x\d+)?){ONNX}", suffix) for suffix in suffixes):
        return True
    return suffixes == checkpoint or {WEIGHTS, CFG} <= suffixes <= {WEIGHTS, f"{WEIGHTS}.sha256", CFG, NAMES}
