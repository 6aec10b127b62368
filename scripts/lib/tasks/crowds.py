"""How much of a detection is inside a crowd, by boxes; for tasks without a measure of their own."""

import numpy as np

from lib.detector.instances import Instances


def share_inside(instances: Instances, crowds: Instances) -> np.ndarray:
    """The fraction (0..1) of each of n instances' boxes inside each of m crowds' boxes, float64 [n, m]; 0 for a point.

    Definition: `iscrowd` of COCO's evaluation, https://cocodataset.org/#detection-eval
    """
    boxes, others = instances.boxes.astype(np.float64), crowds.boxes.astype(np.float64)
    shared = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    inside = np.clip(shared, 0, None).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    return np.divide(inside, area, out=np.zeros_like(inside), where=area > 0)
