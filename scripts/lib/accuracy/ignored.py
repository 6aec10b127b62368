"""Labels that do not count: crowds and objects without a labelled keypoint (COCO), difficult objects (Pascal VOC).

They are not objects to find, and a detection that matches one of them, and no label that counts, is neither right nor
wrong. Any number of detections may match the same one, but an object without a labelled keypoint is matched only once.
The overlap with a crowd is the fraction of the detection inside it; with others it is as with any object. Definitions:
https://cocodataset.org/#detection-eval, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lib.detector.instances import IGNORED, IGNORED_CROWD, IGNORED_UNLABELLED, Instances
from lib.tasks.crowds import share_inside

Overlap = Callable[[Instances, Instances], np.ndarray]  # of n and m instances, 0..1: float64 [n, m]


def is_ignored(labelled: Instances) -> np.ndarray:
    """Whether each label does not count: bool [n]."""
    return labelled.extras.get(IGNORED, np.zeros(len(labelled), np.uint8)) > 0


def counted(labelled: Instances) -> Instances:
    """The labels that count."""
    return labelled[~is_ignored(labelled)] if IGNORED in labelled.extras else labelled


def is_found_once(labelled: Instances) -> np.ndarray:
    """Whether one detection alone can find each label: bool [n]."""
    marks = labelled.extras.get(IGNORED, np.zeros(len(labelled), np.uint8))
    return (marks == 0) | (marks == IGNORED_UNLABELLED)


def as_boxes(labelled: Instances) -> Instances:
    """The labels as labels of boxes: an object without a labelled keypoint counts as a box."""
    marks = labelled.extras.get(IGNORED)
    if marks is None:
        return labelled
    return replace(labelled, extras=labelled.extras | {IGNORED: np.where(marks == IGNORED_UNLABELLED, 0, marks)})


def with_crowds(overlap: Overlap, inside: Overlap = share_inside) -> Overlap:
    """`overlap` of detections and labels, replaced by the fraction `inside` where the label is a crowd."""

    def overlaps(detections: Instances, labelled: Instances) -> np.ndarray:
        values = overlap(detections, labelled)
        crowds = labelled.extras.get(IGNORED, np.zeros(len(labelled))) == IGNORED_CROWD
        if crowds.any():
            values[:, crowds] = inside(detections, labelled[crowds])
        return values

    return overlaps
