"""Whether two decoders found the same: the same boxes and scores, to rounding, in the same order."""

from typing import NamedTuple

import numpy as np

from lib.detector.instances import Instances
from lib.step.errors import UserError

BOX_TOLERANCE_PX = 1e-3
SCORE_TOLERANCE = 1e-4


class Rounding(NamedTuple):
    """How many detections were compared, and the largest differences: in pixels of the image, and in scores."""

    detections: int
    box_px: float
    score: float


def demand_same(expected: Instances, detected: Instances) -> Rounding:
    """Compare two lists of detections one by one. Raises UserError when they differ by more than rounding."""
    if len(expected) != len(detected):
        raise UserError(f"{len(detected)} detections where {len(expected)} are expected")
    if not len(expected):
        return Rounding(0, 0.0, 0.0)
    boxes = np.abs(expected.boxes - detected.boxes).max(axis=1)
    scores = np.abs(expected.scores - detected.scores)
    wrong = (expected.classes != detected.classes) | ~(boxes <= BOX_TOLERANCE_PX) | ~(scores <= SCORE_TOLERANCE)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"detection {first + 1} of {len(wrong)} is {_words(detected, first)}, expected is {_words(expected, first)}"
        )
    return Rounding(len(scores), float(boxes.max()), float(scores.max()))


def _words(detections: Instances, row: int) -> str:
    x1, y1, x2, y2 = detections.boxes[row]
    return f"class {detections.classes[row]} {detections.scores[row]:.5f} at {x1:.3f} {y1:.3f} {x2:.3f} {y2:.3f}"
