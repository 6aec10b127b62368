"""Compares two decoders' detections in order: boxes, scores and the task's values may differ only by rounding."""

from typing import NamedTuple

import numpy as np

from lib import tasks
from lib.detector.instances import Instances
from lib.step.errors import UserError

BOX_TOLERANCE_PX = 1e-3
SCORE_TOLERANCE = 1e-4


class Rounding(NamedTuple):
    """The number of compared detections, and the largest difference in image pixels and in score.

    extras: the largest difference of the task's values, in the task's unit.
    """

    detections: int
    box_px: float
    score: float
    extras: float = 0.0


def demand_same(expected: Instances, detected: Instances, task: str = tasks.DEFAULT) -> Rounding:
    """Compare two lists of detections of a task one by one. Raises UserError when they differ by more than rounding."""
    part = tasks.get(task).bundle
    if len(expected) != len(detected):
        raise UserError(f"there are {len(detected)} detections, but {len(expected)} are expected")
    if not len(expected):
        return Rounding(0, 0.0, 0.0)
    boxes = np.abs(expected.boxes - detected.boxes).max(axis=1)
    scores = np.abs(expected.scores - detected.scores)
    extras = part.apart(expected, detected) if part else np.zeros(len(expected))
    wrong = (expected.classes != detected.classes) | ~(boxes <= BOX_TOLERANCE_PX) | ~(scores <= SCORE_TOLERANCE)
    wrong |= ~(extras <= (part.tolerance if part else 0))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"detection {first + 1} of {len(wrong)} is {_words(detected, first)}, not {_words(expected, first)}"
            + (f"; {extras[first]:.4g} {part.unit} apart" if part else "")
        )
    return Rounding(len(scores), float(boxes.max()), float(scores.max()), float(extras.max()))


def _words(detections: Instances, row: int) -> str:
    x1, y1, x2, y2 = detections.boxes[row]
    return f"class {detections.classes[row]} {detections.scores[row]:.5f} at {x1:.3f} {y1:.3f} {x2:.3f} {y2:.3f}"
