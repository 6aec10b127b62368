"""Intersection over union of boxes."""

import numpy as np

from lib.detector.instances import Instances


def overlap(instances: Instances, others: Instances) -> np.ndarray:
    """Intersection over union of the boxes of n instances and m others, float64 [n, m]."""
    return box_iou(instances.boxes, others.boxes)


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union float64 [n, m] of boxes [n, 4] and others [m, 4], all x1, y1, x2, y2; 0 for two points.

    Computed from x, y, w, h and rounded as in faster-coco-eval, so that matches for resampling are those of its mAP.
    """
    (low, size), (other_low, other_size) = (
        (corners[:, :2].astype(np.float64), (corners[:, 2:] - corners[:, :2]).astype(np.float64))
        for corners in (boxes, others)
    )
    high, other_high = low + size, other_low + other_size
    shared = np.minimum(high[:, None], other_high) - np.maximum(low[:, None], other_low)
    inside = np.clip(shared, 0, None).prod(axis=2)
    union = size.prod(axis=1)[:, None] + other_size.prod(axis=1) - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
