"""Compares the twin's outputs with the simulator's on the first images."""

import numpy as np

from lib.npu.build import NPU, USE_TOOLKIT, Agreement
from lib.step.errors import UserError

# Number of images that run on both.
COMPARED = 8
# If one value is rounded the other way, many that depend on it are too, so that outputs differ like those of two
# builds. By how much depends on the model and is measured on the same images. Fewer steps than this always count as
# that.
_TIMES_NOISE = 2.0
_LEAST_STEPS = 0.5


def steps_apart(outputs: list[np.ndarray], others: list[np.ndarray], scales: list[float]) -> list[float]:
    """The mean difference between two results for one image, per output, in the output's steps."""
    pairs = zip(outputs, others, scales, strict=True)
    return [float(np.abs(output - other).mean(dtype=np.float64)) / scale for output, other, scale in pairs]


def agreement(simulator: str, apart: list[list[float]], noise: list[list[float]]) -> Agreement:
    """The agreement, from each image's `steps_apart`: between `simulator` and the toolkit's, and two orders of sums.

    Raises UserError when they differ by more than the noise. The model of the chip may, because it rounds differently.
    """
    off, usual = np.mean(apart, axis=0), np.mean(noise, axis=0)
    worst = int(np.argmax(off))
    same = sum(not any(image) for image in apart)
    result = Agreement(len(apart), same, round(float(off[worst]), 4), round(float(usual[worst]), 4))
    if simulator != NPU and (off > np.maximum(_LEAST_STEPS, _TIMES_NOISE * usual)).any():
        raise UserError(
            f"the twin of the simulator does not agree with it on this model: it is {result}; {USE_TOOLKIT}"
        )
    return result
