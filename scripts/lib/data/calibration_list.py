"""The files of calibration sets: text files that list letterboxed images, one per line, relative to the file.

The first line is a comment with their number, so that a truncated list is noticed.
"""

import re
from pathlib import Path

from lib.data.manifest import check_manifest
from lib.step.errors import UserError
from lib.step.files import read_text, require


def calibration_images(listed: Path) -> list[Path]:
    """The images of a calibration set, in its order.

    Raises UserError when the list is empty or truncated, or an image is missing or was changed after its step wrote it.
    """
    lines = read_text(require(listed, "calibration list")).splitlines()
    header = re.fullmatch(r"# (\d+) images", lines[0]) if lines else None
    names = lines[bool(header) :]
    if not names:
        raise UserError(f"calibration list {listed} is empty")
    if header and int(header[1]) != len(names):
        raise UserError(f"{listed} lists {len(names)} of {header[1]} images; delete it and run again")
    images = [require(listed.parent / name, "calibration image") for name in names]
    if others := [name for name, image in zip(names, images) if not image.is_file()]:
        raise UserError(f"{listed} lists '{others[0]}', which is not a file; list one image per line")
    for folder in sorted({image.parent for image in images}):
        check_manifest(folder, [image.name for image in images if image.parent == folder])
    return images


def calibration_list(names: list[str]) -> str:
    """The text of a calibration set's file."""
    return "".join(f"{line}\n" for line in (f"# {len(names)} images", *names))
