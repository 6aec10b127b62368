"""Where a run's figures come from: versions, checksums, and the config that reproduces them."""

import hashlib
import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from lib.step.files import require, sha256

# Packages that the figures in the report depend on.
PACKAGES = (
    "rknn-toolkit2",
    "ultralytics",
    "torch",
    "onnx",
    "onnxslim",
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
    "faster-coco-eval",
    "matplotlib",
    "snakemake",
    "dvc",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the figures depend on."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}


def commit() -> str | None:
    """The commit of this workflow's files, with `-dirty` when they differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass(frozen=True)
class FileChecksum:
    """A file's name below the run's folder, its size in bytes and its SHA-256 in hex."""

    name: str
    bytes: int
    sha256: str


def checksums(run: Path, files: list[Path]) -> list[FileChecksum]:
    """Name, size and SHA-256 of each file below the folder `run`. Raises UserError when one is missing."""
    return [
        FileChecksum(path.relative_to(run).as_posix(), path.stat().st_size, sha256(path))
        for path in (require(path, "file") for path in files)
    ]


def dataset_checksum(dataset: Path) -> tuple[int, str]:
    """Number of files in a data set's `images` and `labels`, and the SHA-256 of `sha256sum`'s output for them."""
    files = [path for part in ("images", "labels") for path in require(dataset / part, "folder").iterdir()]
    # Snakemake leaves a hidden file in each folder that a rule makes.
    listed = sorted((path.relative_to(dataset).as_posix(), path) for path in files if path.name[0] != ".")
    lines = "".join(f"{sha256(path)}  {name}\n" for name, path in listed)
    return len(listed), hashlib.sha256(lines.encode()).hexdigest()


# Keys of the config's `board` that say how one board is reached from one machine.
PRIVATE = ("host", "options", "sdk", "runtime", "launcher")


def portable_config(config: dict) -> str:
    """A run's config as YAML that reproduces the run, without models that it does not use and without absolute paths.

    An absolute path is reduced to the file's name: its folder concerns only this machine, and its contents are shown by
    a checksum. How a board is reached concerns only its owner and is left empty.
    """
    used = {name: config["models"][name] for name in config["sweep"]["model"]}
    portable = _without_folders(config | {"models": used})
    if "board" in config:
        portable["board"] = config["board"] | dict.fromkeys(PRIVATE, "")
    return yaml.safe_dump(portable, default_flow_style=None, allow_unicode=True, width=100)


def _without_folders(value):
    if isinstance(value, dict):
        return {name: _without_folders(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_without_folders(member) for member in value]
    if isinstance(value, str) and value.startswith(("/", "~")):
        return Path(value).name
    return value
