"""Intersection over union of rotated boxes, as polygons.

This is not Ultralytics' probabilistic IoU (`batch_probiou`, https://arxiv.org/abs/2106.06072), which compares normal
distributions of the same mean and covariance: that one does not depend on the angle of a square, and is larger for
boxes that are slightly apart. NMS uses the probabilistic IoU.
"""

import numpy as np

from lib.detector.instances import Instances
from lib.tasks.obb.rectangles import area_of, iou, shared_area


def overlap(instances: Instances, others: Instances) -> np.ndarray:
    """IoU of the rotated boxes of n instances and m others, float64 [n, m]."""
    return iou(instances.extras["rotated"][:, None], others.extras["rotated"])


def share_inside(instances: Instances, crowds: Instances) -> np.ndarray:
    """The fraction (0..1) of each of n rotated boxes inside each of m crowds, float64 [n, m]; 0 for a point."""
    rotated, others = instances.extras["rotated"][:, None], crowds.extras["rotated"]
    shared, area = shared_area(rotated, others), area_of(rotated)
    return np.divide(shared, area, out=np.zeros_like(shared), where=area > 0)
