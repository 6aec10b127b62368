"""How much of a detection lies inside a crowd, where a task says nothing else: by boxes."""

import numpy as np

from lib.detector.instances import Instances


def share_inside(instances: Instances, crowds: Instances) -> np.ndarray:
    """The share of the box of each of n instances that lies in that of each of m crowds, float64 [n, m]; 0 of a point.

    Definition: `iscrowd` of COCO's evaluation, https://cocodataset.org/#detection-eval
    """
    boxes, others = instances.boxes.astype(np.float64), crowds.boxes.astype(np.float64)
    shared = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    inside = np.clip(shared, 0, None).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    return np.divide(inside, area, out=np.zeros_like(inside), where=area > 0)
