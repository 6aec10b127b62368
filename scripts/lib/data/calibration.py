"""Calibration sets: text files that list letterboxed images, one a line, relative to the file."""

from pathlib import Path

from lib.step.errors import UserError
from lib.step.files import require


def calibration_images(listed: Path) -> list[Path]:
    """The images of a calibration set, in its order. Raises UserError when it is empty or an image is missing."""
    lines = require(listed, "calibration list").read_text().splitlines()
    if not lines:
        raise UserError(f"calibration list {listed} is empty")
    return [require(listed.parent / line, "calibration image") for line in lines]
