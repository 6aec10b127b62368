"""Labels that do not count: crowds (COCO) and difficult objects (Pascal VOC).

They are no objects to find, and a detection that finds one, and no labelled object that counts, is neither right nor
wrong; any number of detections may find the same one. Of a crowd the overlap is the share of the detection's box that
lies inside; of a difficult object it is that of any object. Definitions: https://cocodataset.org/#detection-eval,
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/
"""

from collections.abc import Callable

import numpy as np

from lib.detector.instances import IGNORED, IGNORED_CROWD, Instances

Overlap = Callable[[Instances, Instances], np.ndarray]  # of n and m instances, 0..1: float64 [n, m]


def is_ignored(labelled: Instances) -> np.ndarray:
    """Whether each label does not count: bool [n]."""
    return labelled.extras.get(IGNORED, np.zeros(len(labelled), np.uint8)) > 0


def counted(labelled: Instances) -> Instances:
    """The labels that count."""
    return labelled[~is_ignored(labelled)] if IGNORED in labelled.extras else labelled


def with_crowds(overlap: Overlap) -> Overlap:
    """`overlap` of detections and labels, with the share inside in place of it where the label is a crowd."""

    def overlaps(detections: Instances, labelled: Instances) -> np.ndarray:
        values = overlap(detections, labelled)
        crowds = labelled.extras.get(IGNORED, np.zeros(len(labelled))) == IGNORED_CROWD
        if crowds.any():
            values[:, crowds] = share_inside(detections.boxes, labelled.boxes[crowds])
        return values

    return overlaps


def share_inside(boxes: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """The share of each box [n, 4] that lies in each of the `crowds` [m, 4], all x1, y1, x2, y2; 0 of a point."""
    boxes, crowds = boxes.astype(np.float64), crowds.astype(np.float64)
    shared = np.minimum(boxes[:, None, 2:], crowds[:, 2:]) - np.maximum(boxes[:, None, :2], crowds[:, :2])
    inside = np.clip(shared, 0, None).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    return np.divide(inside, area, out=np.zeros_like(inside), where=area > 0)
