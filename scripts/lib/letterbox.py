"""Letterbox: fit a picture into the network's input without changing its shape, the rest filled with grey.

As Ultralytics' `LetterBox` does it (ultralytics/data/augment.py): the scale may enlarge, sizes and borders are
rounded to pixels, the picture sits in the middle.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lib.imgsz import ImageSize

GREY = 114


@dataclass(frozen=True)
class Letterbox:
    """How one picture of `source` pixels (width, height) lies in the input: `input = picture * scale + (left, top)`."""

    source: tuple[int, int]
    scale: float
    left: int
    top: int

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes x1, y1, x2, y2 [n, 4] from input pixels to pixels of the picture, cut at its edges."""
        width, height = self.source
        shifted = (boxes - (self.left, self.top, self.left, self.top)) / self.scale
        return np.clip(shifted, 0, (width, height, width, height))

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes x1, y1, x2, y2 [n, 4] from pixels of the picture to input pixels."""
        return boxes * self.scale + (self.left, self.top, self.left, self.top)


def letterbox(picture: np.ndarray, imgsz: ImageSize) -> tuple[np.ndarray, Letterbox]:
    """Fit `picture` (uint8 RGB [h, w, 3]) into uint8 RGB [imgsz.height, imgsz.width, 3]."""
    height, width = picture.shape[:2]
    scale = min(imgsz.width / width, imgsz.height / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    if inner != (width, height):
        picture = cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR)
    # Ultralytics rounds the half border down on the left and top (`dw - 0.1`), the odd pixel goes right and below.
    left = round((imgsz.width - inner[0]) / 2 - 0.1)
    top = round((imgsz.height - inner[1]) / 2 - 0.1)
    fitted = np.full((imgsz.height, imgsz.width, 3), GREY, np.uint8)
    fitted[top : top + inner[1], left : left + inner[0]] = picture
    return fitted, Letterbox((width, height), scale, left, top)
