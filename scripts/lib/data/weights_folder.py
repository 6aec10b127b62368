"""A model's files as download_weights.py lays them: FOLDER/NAME with one suffix each, NAME being the folder's."""

from pathlib import Path

from lib.step.errors import UserError
from lib.step.files import read_text, require
from lib.step.outputs import entries

CHECKPOINT, WEIGHTS, CFG, NAMES = ".pt", ".weights", ".cfg", ".names"


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


def expected_sha256(checkpoint: Path) -> str:
    """What CHECKPOINT.sha256, a line of sha256sum's, says. Raises UserError when it is missing or says nothing."""
    path = require(f"{checkpoint}.sha256", "checksum file")
    if not (words := read_text(path).split()):
        raise UserError(f"{path} is empty; a line as `sha256sum {checkpoint.name}` prints it is expected")
    return words[0]


def is_downloaded(folder: Path) -> bool:
    """Whether `folder` holds a model's files as download_weights.py lays them, and nothing else."""
    suffixes = {name.removeprefix(folder.name) for name in entries(folder)}
    checkpoint = {CHECKPOINT, f"{CHECKPOINT}.sha256"}
    return suffixes == checkpoint or {WEIGHTS, CFG} <= suffixes <= {WEIGHTS, f"{WEIGHTS}.sha256", CFG, NAMES}
