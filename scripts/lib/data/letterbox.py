"""Letterbox: fit an image into the network's input without changing its shape, the rest filled with grey.

As Ultralytics' `LetterBox` does it (ultralytics/data/augment.py): the scale may enlarge, sizes and borders are
rounded to pixels, the image sits in the middle.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lib.data.imgsz import ImageSize

GREY = 114


@dataclass(frozen=True)
class Letterbox:
    """How one image of `source` pixels (width, height) lies in the input: `input = image * scale + (left, top)`."""

    source: tuple[int, int]
    scale: float
    left: int
    top: int

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height that the image has in the input."""
        width, height = self.source
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes x1, y1, x2, y2 [n, 4] from input pixels to pixels of the image, cut at its edges."""
        width, height = self.source
        shifted = (boxes - (self.left, self.top, self.left, self.top)) / self.scale
        return np.clip(shifted, 0, (width, height, width, height))


def fit_of(source: tuple[int, int], imgsz: ImageSize) -> Letterbox:
    """How an image of `source` pixels (width, height) is fitted into the input."""
    scale = min(imgsz.width / source[0], imgsz.height / source[1])
    inner = Letterbox(source, scale, 0, 0).resized
    # Ultralytics rounds the half border down on the left and top (`dw - 0.1`), the odd pixel goes right and below.
    return Letterbox(source, scale, (imgsz.width - inner[0]) // 2, (imgsz.height - inner[1]) // 2)


def letterbox(image: np.ndarray, imgsz: ImageSize) -> tuple[np.ndarray, Letterbox]:
    """Fit `image` (uint8 RGB [h, w, 3]) into uint8 RGB [imgsz.height, imgsz.width, 3]."""
    height, width = image.shape[:2]
    fit = fit_of((width, height), imgsz)
    inner = fit.resized
    if inner != (width, height):
        image = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    fitted = np.full((imgsz.height, imgsz.width, 3), GREY, np.uint8)
    fitted[fit.top : fit.top + inner[1], fit.left : fit.left + inner[0]] = image
    return fitted, fit
