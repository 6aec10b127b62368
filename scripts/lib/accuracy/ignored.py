"""Labels that do not count: crowds (COCO) and difficult objects (Pascal VOC).

They are no objects to find, and a detection that finds one, and no labelled object that counts, is neither right nor
wrong; any number of detections may find the same one. Of a crowd the overlap is the share of the detection that lies
inside; of a difficult object it is that of any object. Definitions: https://cocodataset.org/#detection-eval,
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/
"""

from collections.abc import Callable

import numpy as np

from lib.detector.instances import IGNORED, IGNORED_CROWD, Instances
from lib.tasks.crowds import share_inside

Overlap = Callable[[Instances, Instances], np.ndarray]  # of n and m instances, 0..1: float64 [n, m]


def is_ignored(labelled: Instances) -> np.ndarray:
    """Whether each label does not count: bool [n]."""
    return labelled.extras.get(IGNORED, np.zeros(len(labelled), np.uint8)) > 0


def counted(labelled: Instances) -> Instances:
    """The labels that count."""
    return labelled[~is_ignored(labelled)] if IGNORED in labelled.extras else labelled


def with_crowds(overlap: Overlap, inside: Overlap = share_inside) -> Overlap:
    """`overlap` of detections and labels, with the share `inside` in place of it where the label is a crowd."""

    def overlaps(detections: Instances, labelled: Instances) -> np.ndarray:
        values = overlap(detections, labelled)
        crowds = labelled.extras.get(IGNORED, np.zeros(len(labelled))) == IGNORED_CROWD
        if crowds.any():
            values[:, crowds] = inside(detections, labelled[crowds])
        return values

    return overlaps
