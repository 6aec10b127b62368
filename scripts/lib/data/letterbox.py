"""Letterbox: fit an image into the network's input with its proportions kept and the rest filled with grey.

As Ultralytics' `LetterBox` does it (ultralytics/data/augment.py): the scale may enlarge, sizes and borders are rounded
to pixels, and the image is centred. A model's InputForm may ask for another place, for the image stretched, or for
its middle, as classifiers do.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm


@dataclass(frozen=True)
class Letterbox:
    """How one image of `source` pixels (width, height) lies in the input: `input = image * scale + (left, top)`.

    `scale_y` is the scale of y where it differs from that of x: for a stretched image.
    """

    source: tuple[int, int]
    scale: float
    left: int
    top: int
    scale_y: float | None = None

    @property
    def scales(self) -> tuple[float, float]:
        """The scales of x and y, in input pixels per image pixel."""
        return self.scale, self.scale if self.scale_y is None else self.scale_y

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height that the image has in the input."""
        width, height = (max(1, round(side * scale)) for side, scale in zip(self.source, self.scales))
        return width, height

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes x1, y1, x2, y2 [n, 4] from input pixels to image pixels, cut at the image's edges."""
        width, height = self.source
        shifted = (boxes - (self.left, self.top, self.left, self.top)) / (*self.scales, *self.scales)
        return np.clip(shifted, 0, (width, height, width, height))


def fit_of(source: tuple[int, int], imgsz: ImageSize, form: InputForm | None = None) -> Letterbox:
    """How an image of `source` pixels (width, height) is fitted into the input of a model of that form."""
    place = (form or InputForm()).letterbox
    across, down = imgsz.width / source[0], imgsz.height / source[1]
    if place == "crop":
        width, height = _covering(source, imgsz)
        return Letterbox(source, max(across, down), -_half(width - imgsz.width), -_half(height - imgsz.height))
    if place == "stretch":
        return Letterbox(source, across, 0, 0, down)
    fit = Letterbox(source, min(across, down), 0, 0)
    if place == "top_left":
        return fit
    width, height = fit.resized
    # Ultralytics rounds the half border down on the left and top (`dw - 0.1`), the odd pixel goes right and below.
    return Letterbox(source, fit.scale, (imgsz.width - width) // 2, (imgsz.height - height) // 2)


def letterbox(image: np.ndarray, imgsz: ImageSize, form: InputForm | None = None) -> tuple[np.ndarray, Letterbox]:
    """Fit `image` (uint8 RGB [h, w, 3]) into uint8 [imgsz.height, imgsz.width, C] as the form of a model says.

    The channels are in the network's order: only the normalization is missing from what the network gets.
    """
    form = form or InputForm()
    height, width = image.shape[:2]
    fit = fit_of((width, height), imgsz, form)
    if form.letterbox == "crop":
        return in_channels(_middle(image, imgsz, fit), form), fit
    inner = fit.resized
    if inner != (width, height):
        image = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    fitted = np.full((imgsz.height, imgsz.width, form.depth), form.fill, np.uint8)
    fitted[fit.top : fit.top + inner[1], fit.left : fit.left + inner[0]] = in_channels(image, form)
    return fitted, fit


def _middle(image: np.ndarray, imgsz: ImageSize, fit: Letterbox) -> np.ndarray:
    """The middle of an image, uint8 [imgsz.height, imgsz.width, 3], scaled until it covers the input.

    Pillow's bilinear filter averages all pixels that it shrinks, as the `Resize` of torchvision does before its
    `CenterCrop`; OpenCV's does not.
    """
    width, height = _covering(fit.source, imgsz)
    scaled = Image.fromarray(image)
    # Columns first. Given both at once, Pillow 13 begins with either, by the size; then some pixels differ by 1.
    for size in ((width, scaled.height), (width, height)):
        scaled = scaled.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(scaled)[-fit.top : imgsz.height - fit.top, -fit.left : imgsz.width - fit.left]


def _covering(source: tuple[int, int], imgsz: ImageSize) -> tuple[int, int]:
    """Width and height of an image scaled until it covers the input; the longer one is rounded down, as in `Resize`."""
    width, height = source
    if imgsz.width * height >= imgsz.height * width:
        return imgsz.width, max(imgsz.height, int(imgsz.width * height / width))
    return max(imgsz.width, int(imgsz.height * width / height)), imgsz.height


def _half(pixels: int) -> int:
    """Half of what is cut off, rounded as `CenterCrop` does (halves to even)."""
    return round(pixels / 2)


def in_channels(image: np.ndarray, form: InputForm) -> np.ndarray:
    """An image uint8 RGB [h, w, 3] with the channels of `form`; grey is weighted as in OpenCV (ITU-R BT.601)."""
    if form.channels == "grey":
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[:, :, None]
    return image[:, :, ::-1] if form.channels == "bgr" else image
