"""Reads the image size as users write it: `WIDTHxHEIGHT`, or one number for a square."""

import argparse
import re
from typing import NamedTuple

from lib.step.errors import UserError

STRIDE = 32  # the coarsest stride of the YOLOv8 family: the network halves the image five times (2 to the power of 5)
LARGEST = 4096


class ImageSize(NamedTuple):
    """Size of the network's input in pixels."""

    width: int
    height: int

    @property
    def area(self) -> int:
        """Number of pixels; sizes are sorted by it."""
        return self.width * self.height

    def __str__(self) -> str:
        """The spelling in file names: `320`, or `416x256`."""
        return f"{self.width}" if self.width == self.height else f"{self.width}x{self.height}"

    def to_json(self) -> str:
        """The spelling in JSON, the same as in file names."""
        return str(self)

    @classmethod
    def from_json(cls, value, where) -> "ImageSize":
        """The size that `to_json` wrote. Raises UserError, which names `where`, when the value is not a size."""
        try:
            return parse_imgsz(value, multiples_of=1)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def parse_imgsz(text, multiples_of: int = STRIDE) -> ImageSize:
    """`"416x256"` (width x height) or `320` as an ImageSize.

    Raises UserError when the text is not of that form, when a side is not a multiple of `multiples_of` pixels (a
    detector's coarsest stride), or when it is absurdly large.
    """
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", str(text))
    if not match:
        raise UserError(f"image size '{text}' is not understood; write WIDTHxHEIGHT (416x256) or one number (320)")
    width = int(match[1])
    height = int(match[2] or match[1])
    unit = multiples_of
    if width % unit or height % unit or max(width, height) > LARGEST:
        near = ImageSize(*(min(max(unit, round(v / unit) * unit), LARGEST) for v in (width, height)))
        raise UserError(f"image size '{text}' must be multiples of {unit} up to {LARGEST}; the nearest is {near}")
    return ImageSize(width, height)


def imgsz_argument(text: str, multiples_of: int = STRIDE) -> ImageSize:
    """`parse_imgsz` as an argparse type."""
    try:
        return parse_imgsz(text, multiples_of)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def any_imgsz_argument(text: str) -> ImageSize:
    """An argparse type for sizes that also a model of an unknown family may have."""
    return imgsz_argument(text, multiples_of=1)
