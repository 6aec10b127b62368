"""The versions of rknn-toolkit2 that this project supports, where they are, and which one a board's runtime can read.

The environment contains DEFAULT. `make toolkit VERSION=…` installs another one in a folder of its own; it runs with the
packages of the environment. A runtime reads models of its own version and of older ones; for a newer one it reports
`failed to decode config data` (airockchip/rknn_model_zoo#153, #154, #185; airockchip/rknn-toolkit2#465).
"""

import argparse
import importlib.metadata
import re
import sys
from pathlib import Path

from lib.step.errors import UserError

DEFAULT = "2.3.2"
VERSIONS = ("2.2.0", "2.3.0", DEFAULT, "2.5.0")  # oldest first
# The version that needs an attention's scale after its first product (lib.npu.attention_scale).
SCALE_BEHIND = "2.5.0"
# The version whose hybrid_quantization_step2 fails on graphs with attention, so that it cannot be given ranges.
OWN_RANGES = "2.5.0"
# The folders that scripts/set_up.py makes. A wheel is for one version of Python.
FOLDERS = Path(__file__).resolve().parents[3] / ".toolkits"


def add_toolkit_option(parser: argparse.ArgumentParser) -> None:
    """Add --toolkit; call `use` with its value before anything is built."""
    parser.add_argument(
        "--toolkit", choices=VERSIONS, default=DEFAULT, help="version of rknn-toolkit2 (default: %(default)s)"
    )


def folder_of(version: str) -> Path | None:
    """The folder of a version of the toolkit for this Python; None for the environment itself."""
    if version == DEFAULT:
        return None
    return FOLDERS / f"{version}-py{sys.version_info[0]}{sys.version_info[1]}"


def missing_sentence(version: str) -> str | None:
    """What to do if a version of the toolkit is not installed for this Python; None if it is."""
    folder = folder_of(version)
    if folder is None or (folder / "rknn").is_dir():
        return None
    return f"rknn-toolkit2 {version} is not installed; run: make toolkit VERSION={version}"


def use(version: str) -> None:
    """Build with this version from here on; with DEFAULT nothing changes.

    One process builds with one version, because a module is loaded only once. Raises UserError when the version is not
    installed, or when another one was already loaded.
    """
    if version == in_use():
        return
    if sentence := missing_sentence(version):
        raise UserError(sentence)
    if "rknn.api" in sys.modules:
        raise UserError(
            f"this process has already loaded rknn-toolkit2 {in_use()}; start another process for {version}"
        )
    others = [path for path in sys.path if Path(path).parent != FOLDERS]
    folder = folder_of(version)
    sys.path[:] = others if folder is None else [str(folder), *others]


def in_use() -> str:
    """The version that this process builds with."""
    return importlib.metadata.version("rknn-toolkit2")


def version_numbers(text: str) -> tuple[int, ...] | None:
    """The numbers at the start of a version: (2, 3, 2) for "2.3.2 (429f97ae6b)"; None if there are none."""
    match = re.match(r"\d+(\.\d+)+", text)
    return tuple(map(int, match[0].split("."))) if match else None


def version_for(runtime: str) -> str | None:
    """The version to build with for a board's runtime: the default, or the newest that it can read; None if none is."""
    numbers = version_numbers(runtime) or ()
    readable = [version for version in VERSIONS if (version_numbers(version) or ()) <= numbers]
    if DEFAULT in readable:
        return DEFAULT
    return readable[-1] if readable else None
