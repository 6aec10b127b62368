"""How the twin's outputs compare with the simulator's on the first images."""

import numpy as np

from lib.npu.build import NPU, Agreement
from lib.step.errors import UserError

# Images that run on both.
COMPARED = 8
# Where one rounding falls the other way, many that depend on it do, so that outputs differ as two builds' do. How far
# that is depends on the model, and is measured on the same images. Less than this many steps are always taken for it.
_TIMES_NOISE = 2.0
_LEAST_STEPS = 0.5


def steps_apart(outputs: list[np.ndarray], others: list[np.ndarray], scales: list[float]) -> list[float]:
    """The mean difference between two results for one image, of each output, in its steps."""
    pairs = zip(outputs, others, scales, strict=True)
    return [float(np.abs(output - other).mean(dtype=np.float64)) / scale for output, other, scale in pairs]


def agreement(simulator: str, apart: list[list[float]], noise: list[list[float]]) -> Agreement:
    """From what `steps_apart` says of each image: of `simulator` and the toolkit's, and of two orders of sums.

    Raises UserError where they are further apart than noise makes them. The model of the chip may be: it rounds
    otherwise.
    """
    off, usual = np.mean(apart, axis=0), np.mean(noise, axis=0)
    worst = int(np.argmax(off))
    same = sum(not any(image) for image in apart)
    found = Agreement(len(apart), same, round(float(off[worst]), 4), round(float(usual[worst]), 4))
    if simulator != NPU and (off > np.maximum(_LEAST_STEPS, _TIMES_NOISE * usual)).any():
        raise UserError(
            f"the twin of the simulator is not like it on this model: it is {found}; set evaluation.simulator to "
            "toolkit"
        )
    return found
