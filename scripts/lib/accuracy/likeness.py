"""How like FP32's the raw outputs of a model in INT8 are, whatever they mean."""

import math
from dataclasses import dataclass

import numpy as np

from lib.step.typed_json import JsonRecord

MOST_DB = 99.9  # where there is no noise at all; FP32 itself has some 140


@dataclass(frozen=True)
class ImageLikeness:
    """One output for one image: its cosine to FP32's, and sums of squares, of FP32's values and of the differences."""

    cosine: float
    signal: float
    noise: float


@dataclass(frozen=True)
class OutputLikeness(JsonRecord):
    """One output over many images: the mean of the cosines, and the ratio of signal to noise of all values in dB."""

    name: str
    cosine: float
    snr_db: float


def image_likeness(fp32: np.ndarray, int8: np.ndarray) -> ImageLikeness:
    """Compare an output of the same number of values."""
    a, b = (output.ravel().astype(np.float64) for output in (fp32, int8))
    cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
    return ImageLikeness(cosine, float(a @ a), float((a - b) @ (a - b)))


def output_likeness(name: str, images: list[ImageLikeness]) -> OutputLikeness:
    """One output over many images."""
    signal, noise = (sum(getattr(image, part) for image in images) for part in ("signal", "noise"))
    ratio = 10 * math.log10(signal / noise) if signal and noise else MOST_DB if signal or not noise else -MOST_DB
    cosine = float(np.mean([image.cosine for image in images]))
    return OutputLikeness(name, cosine, min(max(ratio, -MOST_DB), MOST_DB))
